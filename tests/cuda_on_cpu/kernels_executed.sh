#!/usr/bin/env bash
# Fails if a kernel that the library holds was executed by none of the tests that ran with CUDA_ON_CPU_EXECUTED=FOLDER.
#
#   kernels_executed.sh LIBRARY FOLDER SOURCE...
#
# The sources say which names are kernels' (__global__), the library's symbols which instances of them there are, the folder which
# addresses of which programs were executed. Needs nm. A program that was built anew since counts for nothing.
set -euo pipefail
library=$1 folder=$2
shift 2

# "NAME" for every __global__ function; template arguments and launch bounds are no part of it.
names=$(sed 's,//.*,,' "$@" | tr '\n' ' ' |
    grep -oE '__global__ +void +(__launch_bounds__\(([^()]|\([^()]*\))*\) +)?[A-Za-z_0-9]+\(' | sed -E 's/\($//; s/.*[ )]//')
declared=$(sed 's,//.*,,' "$@" | grep -c __global__)
if [ "$(wc -w <<<"$names")" -ne "$declared" ]; then
    echo "of $declared __global__ functions the names of $(wc -w <<<"$names") were found"
    exit 1
fi

# "ADDRESS INSTANCE" for every symbol that is an instance of a kernel.
instances() { # FILE
    nm -C "$1" 2>/dev/null | awk -v names="$(tr '\n' ' ' <<<"$names")" '
        BEGIN { split(names, list, " "); for (i in list) kernel[list[i]] = 1 }
        $2 ~ /^[tTwW]$/ && !/\[clone/ {
            address = $1
            sub(/^[^ ]+ [^ ]+ /, "")
            whole = $0
            gsub(/\(anonymous namespace\)::/, "")
            sub(/^void /, "")
            sub(/[<(].*/, "")
            sub(/.*::/, "")
            if ($0 in kernel) print address, whole
        }'
}

executed() {
    local file program
    for file in "$folder"/*; do
        [ -s "$file" ] || continue
        program=$(head -n 1 "$file" | cut -d ' ' -f 2-)
        if [ "$(stat -c %Y "$program" 2>/dev/null)" != "${file##*.}" ]; then
            rm -f "$file"
            continue
        fi
        awk 'NR == FNR { ran[$1] = 1; next } $1 in ran { sub(/^[^ ]+ /, ""); print }' "$file" <(instances "$program")
    done
}

all=$(instances "$library" | cut -d ' ' -f 2- | sort -u)
missing=$(comm -23 <(echo "$all") <(executed | sort -u))
echo "$(wc -l <<<"$all") kernels, $(grep -c . <<<"$missing" || true) of them executed by no test"
if [ -n "$missing" ]; then
    echo "$missing"
    exit 1
fi
[ -n "$all" ]
