#!/usr/bin/env bash
# Bytes that are not UTF-8: refused before anything is loaded or made where they are text for the model, escaped in records where they are
# in a path or an argument; and arguments of any length are recorded whole.
#
#   tests/faults/not_utf8.sh [BUILD]
set -euo pipefail
export BUILD=${1:-}
steps=1
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"

bad=$(printf 'b\377d')
mkdir "$folder/$bad"
cd "$folder/$bad"
cp "$folder/empty.yaml" "$bad.yaml"
image=$(ls "$folder"/world/test/images/*.jpg | head -n 1)

# refuse WHAT VERB ...: exit 2 with one message, and nothing made.
refuse() {
    local what=$1 code=0
    shift
    "$difflmm" "$@" "${settings[@]}" >"$folder/refused.log" 2>&1 || code=$?
    [ $code -eq 2 ] || fail "$1 with $what that is not UTF-8: exit code $code"
    says refused "$what is not UTF-8" || fail "$1 does not say that $what is not UTF-8"
    [ "$(wc -l <"$folder/refused.log")" = 1 ] || fail "more than one message"
    [ ! -e made ] || fail "$1 made something"
}
refuse PROMPT ground "$bad.yaml" "$image" "say $bad" --out made
refuse "--words" ground "$bad.yaml" "$image" --words "ring,$bad" --out made
refuse "--text" features "$bad.yaml" "$image" --text "$bad" --out made
refuse "--out" prepare "$bad.yaml" --out "made/$bad"
refuse "the value of training.output_dir" train "$bad.yaml" "training.output_dir=$bad"
echo "text that is not UTF-8 is refused with exit 2"

# In files: the line is named, and lines of data do not end at one.
printf 'sweep:\n  train: [empty.yaml]\n  output_dir: made\n  variants: {%s: {}}\n' "$bad" >sweep.yaml
code=0
"$difflmm" sweep sweep.yaml --dry-run >"$folder/sweep.log" 2>&1 || code=$?
[ $code -eq 2 ] || fail "sweep with a variant's name that is not UTF-8: exit code $code"
says sweep '^difflmm sweep: sweep.yaml:4:15: not valid YAML: invalid leading UTF-8 octet$' || fail "sweep does not name the line"
line_of() { printf '{"id": "%s", "conversations": [{"from": "human", "value": "%s"}, {"from": "gpt", "value": "yes"}]}\n' "$1" "$2"; }
{ line_of 0 good; line_of "$bad" good; line_of 2 "$bad"; line_of 3 good; } >"$folder/data.jsonl"
code=0
"$difflmm" prepare "$bad.yaml" "${settings[@]}" "data.train=$folder/data.jsonl" --leave-out >"$folder/data.log" 2>&1 || code=$?
[ $code -eq 0 ] || fail "prepare with ids and texts that are not UTF-8: exit code $code"
says data '4 samples, 2 of them can be used' || fail "prepare does not read the lines that are UTF-8"
[ "$(grep -c '^{"kind":"json",.*unable to decode byte 0xff' "$folder/data.pack.h5.problems.jsonl")" = 2 ] || fail "prepare does not report the lines that are not UTF-8"
echo "lines that are not UTF-8 are named, in configurations, sweeps and data"

# A prompt of 100,000 quotes is 400,000 bytes as a shell reads it.
quotes=$(printf '%100000s' '' | tr ' ' "'")
prepare 1 run "eval.prompt=$quotes"
command[2]=$bad.yaml
SLURM_TEST=$bad "${command[@]}" >"$folder/run.log" 2>&1 || fail "exit code $? with names that are not UTF-8"
grep -q '"folder":"[^"]*/b\\\\xffd"' "$folder/run/runs.jsonl" || fail "the working directory is not in the record"
grep -q "'b\\\\\\\\xffd.yaml'" "$folder/run/runs.jsonl" || fail "the configuration's path is not in the record"
grep -q '"SLURM_TEST":"b\\\\xffd"' "$folder/run/runs.jsonl" || fail "the environment is not in the record"
"$difflmm" report "$folder/run" >"$folder/report.log" 2>&1 || fail "no report"
! grep -q warning "$folder/report.log" || fail "the record is no JSON"
cd /
"$folder/run/command.sh" >"$folder/again.log" 2>&1 || fail "command.sh does not run"
says again "is trained: step 1 of 1" || fail "command.sh does not repeat the command"
echo "names that are not UTF-8 and long arguments are recorded, and command.sh repeats them"
