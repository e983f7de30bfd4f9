#!/usr/bin/env bash
# Files that change while they are in use, rewritten in place instead of replaced: exit 1 with the file's name, no bus error. Where it is the
# data set, what was learned is saved, and the run goes on from there when the file is what it was. Where it is one of weights that are
# mapped, its name is all that can be said.
#
#   tests/faults/changed_file.sh [BUILD]
set -euo pipefail
export BUILD=${1:-}
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"

data=$folder/world/train/llava_v1_5_mix665k.json
cp "$data" "$folder/original.json"
changed='the file was changed while it was in use'

# change PROCESSES RUN HOW [SETTING ...]: a run without checkpoints whose data set is changed by the function HOW.
change() {
    local processes=$1 run=$2 how=$3 code=0 saved
    shift 3
    prepare "$processes" "$run" training.save_steps=1000000 training.max_steps=1000000 "$@"
    "${command[@]}" >"$folder/$run.log" 2>&1 &
    pid=$!
    wait_for 60 "no steps" has_losses "$run" 3
    $how
    wait $pid || code=$?
    [ $code -eq 1 ] || fail "exit code $code after the data set was changed"
    [ "$(grep -c '^difflmm train:' "$folder/$run.log")" = 1 ] || fail "not one error"
    says "$run" "^difflmm train: .*$data: $changed" || fail "it does not say that the data set was changed"
    wait_for 10 "processes are left behind" is_quiet
    saved=$(newest "$run")
    [ "$saved" = "$(losses "$run" | wc -l)" ] || fail "the newest checkpoint is of step $saved"
    echo "$run, $processes process(es): $how: exit 1, step $saved is saved"
}
cut() { echo '[]' >"$data"; }
rewrite() { tr aeiou eioua <"$folder/original.json" >"$data"; } # of the same length
change 1 cut-1 cut
cp "$folder/original.json" "$data"
change 2 cut-2 cut
cp "$folder/original.json" "$data"
change 1 rewritten-1 rewrite
cp "$folder/original.json" "$data"

cp "$data" "$folder/trained.json"
change 1 held-out-1 cut "data.train=$folder/trained.json" "data.eval=$data" training.eval_steps=4 training.eval_samples=2
cp "$folder/original.json" "$data"

prepare 1 cut-1 training.save_steps=1000000 training.max_steps=1000000
"${command[@]}" >"$folder/on.log" 2>&1 &
pid=$!
wait_for 60 "no steps" has_losses cut-1 $(($(newest cut-1) + 2))
kill -TERM $pid
wait $pid || fail "exit code $? when the run goes on with the file as it was"
says on "going on from .*cut-1" || fail "the run does not go on"
echo "with the file as it was the run goes on from there"

# A gigabyte of zeros that is no gigabyte on the disk, so that reading it takes a while.
weights=$folder/weights.safetensors
header='{"w":{"dtype":"F32","shape":[268435456],"data_offsets":[0,1073741824]}}'
printf '\x47\0\0\0\0\0\0\0%s' "$header" >"$weights"
[ ${#header} -eq 71 ] || fail "the header has ${#header} bytes"
truncate -s $((8 + 71 + 1073741824)) "$weights"
"$difflmm" inspect "$weights" --checksums >"$folder/inspect.log" 2>&1 &
pid=$!
wait_for 10 "the weights are not mapped" grep -q "$weights" "/proc/$pid/maps"
kill -STOP $pid
truncate -s 4096 "$weights"
kill -CONT $pid
code=0
wait $pid || code=$?
[ $code -eq 1 ] || fail "exit code $code after weights were cut off"
says inspect "^difflmm: $weights: $changed" || fail "it does not say that the weights were changed"
echo "weights that are cut off while they are read: exit 1 with the file's name"
