# Prints the commands of a README, one a line: FILE:LINE, "block" or "inline", "dated" or "undated", the command; tab-separated.
#
# A command stands in an indented or fenced block, a line each, or between backquotes; a comment behind it is left out. LINE is that of its
# paragraph, block or table. It is dated if that one, or the one above or below it, says when it was last run, or that it was not.

function end_of_block() {
    if (text != "") { texts[++count] = text; kinds[count] = kind; lines[count] = line }
    text = ""
}

# Paragraphs, tables and headings come to one line, of which a sentence may need two.
function add(as) {
    if (text == "") { kind = as; line = FNR }
    text = text == "" ? $0 : text (as == "block" ? "\n" : " ") $0
}

/^ *```/ { end_of_block(); fenced = !fenced; next }
fenced { add("block"); next }
/^[ \t]*$/ { end_of_block(); next }
/^(    |\t)/ && (text == "" || kind == "block") { add("block"); next }
/^#/ { end_of_block(); add("inline"); end_of_block(); next }
{ if (kind == "block") end_of_block(); add("inline") }

function is_dated(i) {
    return i >= 1 && i <= count && (tolower(texts[i]) ~ /(last run|measured|figures of)[^.|]* 20[0-9][0-9]/ || tolower(texts[i]) ~ /not run yet/)
}

function tell(i, command) {
    sub(/^[ \t]+/, "", command)
    sub(/[ \t]+#.*$/, "", command)
    sub(/   +[a-z].*$/, "", command) # what it does, in a column of its own
    sub(/[ \t]+$/, "", command)
    if (command != "")
        printf "%s:%d\t%s\t%s\t%s\n", FILENAME, lines[i], kinds[i], is_dated(i - 1) || is_dated(i) || is_dated(i + 1) ? "dated" : "undated", command
}

END {
    end_of_block()
    for (i = 1; i <= count; i++) {
        n = split(texts[i], parts, kinds[i] == "block" ? "\n" : "`")
        for (k = 1; k <= n; k++)
            if (kinds[i] == "block" || k % 2 == 0) tell(i, parts[k])
    }
}
