#!/usr/bin/env bash
# Feeds the verbs of the program, and its parsers by themselves, with random command lines,
# configurations and damaged files.
#
#   tests/fuzz/run.sh                                   some of everything, a minute
#   tests/fuzz/run.sh --seconds 3600 --seed 7           longer, other cases
#   tests/fuzz/run.sh --verb plan --cases 10000         one verb, or one parser
#   tests/fuzz/run.sh --verb plan --seed 17 --case 123  one case again: what it is, says, comes to
#   tests/fuzz/run.sh [--cases N] --saved FILE ...      cases that were kept, before N others
#   BUILD=build-sanitize tests/fuzz/run.sh ...          another build; the sanitizers find leaks
#
# A case is a function of verb, seed and number (and of the program that made the seeds: weights
# differ between processors in their last bits). Judged are signals, time, leaks, exit codes other
# than 0, 1, 2, failures without a message, with a long one or with control bytes, files that a
# failed run leaves behind, names of files that are not complete, JSON that is none, a configuration
# that does not read back. What is found is printed and kept as
# <folder>/work/found/<verb>-<seed>-<number>/case; the folder is /tmp/difflmm-fuzz-<user>, or
# $FOLDER, or with --once, which comes first, a temporary one that is removed if nothing was found.
#
# Exit codes: 0 nothing was found, 1 something was, 2 the folder is in use.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "${BUILD:-$here/build}" && pwd)
once=false
if [ "${1:-}" = --once ]; then
    once=true
    shift
    FOLDER=$(mktemp -d "${TMPDIR:-/tmp}/difflmm-fuzz-XXXXXX")
    chmod 755 "$FOLDER"
fi
folder=${FOLDER:-/tmp/difflmm-fuzz-$(id -u)}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
exec 9>"$folder/lock"
if ! flock -n 9; then
    echo "$folder is in use by another run; choose another FOLDER" >&2
    exit 2
fi
arguments=("$@")
[ $# -gt 0 ] || arguments=(--seconds 60)

# The seeds are made by the program itself; another one may make others.
stamp=$(stat -c '%n %Y' "$build/difflmm" "$build/tests/fuzz/make_seeds")
if [ "$(cat "$folder/stamp" 2>/dev/null)" != "$stamp" ]; then
    rm -rf "$folder/seeds" "$folder/stamp"
    "$here/tests/fuzz/make_seeds.sh" "$build" "$folder/seeds"
    echo "$stamp" >"$folder/stamp"
fi
unset ASAN_OPTIONS UBSAN_OPTIONS LSAN_OPTIONS # the harness has its own
code=0
export OMP_NUM_THREADS=1
"$build/tests/fuzz/fuzz_verbs" "$folder/seeds" "$folder/work" "${arguments[@]}" || code=$?
if $once && [ $code -eq 0 ]; then rm -rf "$folder"; fi
exit $code
