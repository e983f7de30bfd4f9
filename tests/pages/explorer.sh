#!/usr/bin/env bash
# The explorer of attention in a browser: explorer.sh BUILD [FOLDER]. Pages of made-up examples are opened in headless Chromium; a
# script in a copy of each points at words, presses keys, filters, and looks at what comes of it. With FOLDER the pages and
# screenshots (wide, narrow, dark) stay there. Exit code 77 (skipped) where there is no Chromium, or where it does not start.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$1
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
[ -n "$browser" ] || { echo "skipped: there is no chromium"; exit 77; }

scratch=$(mktemp -d /tmp/difflmm-explorer-XXXXXX)
trap 'rm -rf "$scratch"' EXIT
folder=${2:-$scratch}
mkdir -p "$folder"
fail() { echo "FAILED: $*" >&2; exit 1; }

# chromium ARGUMENT...: as a fresh user, without anything that it would do by itself
chromium() {
    timeout 300 "$browser" --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-extensions \
        --disable-background-networking --disable-component-update --disable-sync --host-resolver-rules="MAP * ~NOTFOUND" \
        --user-data-dir="$scratch/profile" --enable-logging=stderr --hide-scrollbars "$@" 2>>"$scratch/log"
}

# with_driver PAGE COPY: the page, with the script that drives it; the page's policy is told of that script alone
with_driver() {
    local driver=$here/explorer_driver.js hash
    # shellcheck disable=SC2059
    hash=$(printf "$(sha256sum <"$driver" | cut -c 1-64 | sed 's/../\\x&/g')" | base64)
    awk -v hash="$hash" -v driver="$driver" '
        !done && /Content-Security-Policy/ {
            sub(/script-src/, "script-src '\''sha256-" hash "'\''"); print
            printf "<script>"
            while ((getline line < driver) > 0) printf "%s\n", line
            print "</script>"; done = 1; next
        }
        { print }' "$1" >"$2"
}

# verdict_of PAGE WIDTH: what the script in it found
verdict_of() {
    : >"$scratch/log"
    chromium --window-size="$2",900 --virtual-time-budget=3000000 --dump-dom "file://$1" >"$scratch/dom" || fail "chromium: $(tail -5 "$scratch/log")"
    # (the answer's own text stands before the script's verdict)
    sed -n 's/.*<p id="verdict">\([^<]*\)<.*/\1/p' "$scratch/dom" | tail -1
    ! grep CONSOLE "$scratch/log" >&2 || echo "and there are messages on the console"
}

# in_frame PAGE WIDTH: a page that shows it in a frame, narrower than the browser makes its window, and says what it says
in_frame() {
    cat <<PAGE
<!DOCTYPE html><meta charset="utf-8"><iframe width="$2" height="740" src="$1"></iframe>
<script>addEventListener("message", ({data}) => {
  document.body.append(Object.assign(document.createElement("p"), {id: "verdict", textContent: data}));
});</script>
PAGE
}

echo '<!DOCTYPE html><p id="plain">a page</p>' >"$scratch/plain.html"
: >"$scratch/log"
if ! chromium --dump-dom "file://$scratch/plain.html" | grep -q 'id="plain"'; then
    echo "skipped: chromium does not start here: $(tail -n 3 "$scratch/log")"
    exit 77
fi

"$build/tests/pages/make_explorer" "$folder"
for page in one two; do
    ! grep -qE '(src|href|action)[[:space:]]*=[[:space:]]*.?(https?:)?//|@import|url\(' "$folder/$page.html" ||
        fail "$page.html refers to something outside of it"
    with_driver "$folder/$page.html" "$scratch/driven-$page.html"
    in_frame "driven-$page.html" 360 >"$scratch/framed.html"
    for shown in "driven-$page" framed; do
        verdict=$(verdict_of "$scratch/$shown.html" 1280)
        [ "$verdict" = "ALL AS IT SHOULD BE" ] || fail "$page.html, $shown: ${verdict:-no verdict}"
    done
    echo "$page.html, 1280 and 360 pixels wide: as it should be"
    # by itself, without the driver; on a busy machine the visit may end before the first map is unpacked
    is_drawn=false
    for _ in 1 2 3 4 5; do
        : >"$scratch/log"
        chromium --virtual-time-budget=10000 --dump-dom "file://$folder/$page.html" >"$scratch/dom"
        ! grep CONSOLE "$scratch/log" || fail "$page.html: messages on the console"
        ! grep -q 'data-peak="[0-9]*,[0-9]*"' "$scratch/dom" || { is_drawn=true; break; }
    done
    $is_drawn || fail "$page.html: no map is drawn"
done

# what is wrong is noticed: a picture from elsewhere, a script that is not the page's own, a map that is another's
broken() { # broken NAME SED EXPECTED
    sed "$2" "$scratch/driven-one.html" >"$scratch/broken.html"
    ! cmp -s "$scratch/driven-one.html" "$scratch/broken.html" || fail "$1: nothing was broken"
    verdict=$(verdict_of "$scratch/broken.html" 1280)
    [[ $verdict == *$3* ]] || fail "$1 goes unnoticed: ${verdict:-no verdict}"
    echo "$1: noticed"
}
broken "a picture from elsewhere" 's|<noscript>|<img src="http://127.0.0.1:1/x.png"><noscript>|' "refused: http://127.0.0.1:1/x.png"
broken "a strange script" 's|<noscript>|<script>document.title = 1</script><noscript>|' "refused: inline"
broken "a map that is another's" 's|"grid":\[8,8\]|"grid":[4,16]|' "the map is highest at"
broken "a script that was changed" 's|onpointerenter: choose|onpointerout: choose|' "page is not defined"

[ $# -lt 2 ] || for page in one two; do
    chromium --window-size=1280,1000 --virtual-time-budget=10000 --screenshot="$folder/$page-wide.png" "file://$folder/$page.html"
    chromium --window-size=500,1500 --virtual-time-budget=10000 --screenshot="$folder/$page-narrow.png" "file://$folder/$page.html"
    chromium --window-size=1280,1000 --virtual-time-budget=10000 --blink-settings=preferredColorScheme=0 \
        --screenshot="$folder/$page-dark.png" "file://$folder/$page.html"
done
