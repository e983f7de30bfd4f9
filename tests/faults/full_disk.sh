#!/usr/bin/env bash
# A disk that is full while a checkpoint is saved: a warning, nothing lost, training goes on; exit 1 only if the last checkpoint could not be
# written. With a limit on the size of files in place of the disk, for micro-batches of samples and for rows of a budget of tokens, and,
# where the system lets us mount one, on a small disk in memory.
#
#   tests/faults/full_disk.sh [BUILD]
set -euo pipefail
export BUILD=${1:-}
steps=30
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"

for processes in 1 2; do finish $processes reference-$processes; done
limit=$(($(stat -c %s "$folder/reference-1/checkpoint-$steps.h5") / 2048)) # half a checkpoint, in blocks of 1024 bytes

# start PROCESSES RUN [SETTING ...]: begins to train where no file may be larger than half a checkpoint.
start() {
    prepare "$@"
    (
        trap '' XFSZ # so that writing fails, as on a full disk
        ulimit -S -f $limit
        exec "${command[@]}"
    ) >"$folder/$2.log" 2>&1 &
    pid=$!
}

warnings() { grep -c 'a checkpoint could not be written, training goes on' "$folder/$1.log" || true; }
warned() { [ "$(warnings "$1")" -ge "$2" ]; }

finish 1 reference-rows data.tokens_per_batch=400
for tokens in 0 400; do
    packed=data.tokens_per_batch=$tokens reference=reference-1 never=never-$tokens later=later-$tokens
    [ $tokens = 0 ] || reference="reference-rows"

    start 1 $never $packed
    code=0
    wait $pid || code=$?
    [ $code -eq 1 ] || fail "exit code $code where no checkpoint could be written"
    says $never "the last checkpoint was not written" || fail "it does not say that the last checkpoint was not written"
    warned $never 10 || fail "no warnings"
    [ "$(losses $never | wc -l)" = "$steps" ] || fail "training did not go on"
    [ "$(grep -c 'training goes on: .*: File too large$' "$folder/$never.log")" = "$(warnings $never)" ] ||
        fail "a warning does not end with the reason"
    strangers=$(grep -vcE '^(computing on|step |training |tokens +[0-9]+%|warning: a checkpoint|difflmm train: the last checkpoint)|: images: ' "$folder/$never.log" || true)
    [ "$strangers" = 0 ] || fail "a library speaks for itself"
    [ -z "$(find "$folder/$never" -name 'checkpoint-*')" ] || fail "half a checkpoint was left"
    finish 1 $never $packed
    same $reference $never
    echo "no checkpoint could be written ($packed): trained to the end with warnings, exit 1"

    start 1 $later $packed
    wait_for 60 "no warning" warned $later 3
    prlimit --pid $pid --fsize=unlimited:unlimited
    wait $pid || fail "exit code $? though the last checkpoint could be written"
    same $reference $later
    echo "the first checkpoints could not be written ($packed): $(warnings $later) warnings, exit 0, same bits"
done

mkdir "$folder/disk"
if ! mount -t tmpfs -o size=12m tmpfs "$folder/disk" 2>/dev/null; then
    echo "no disk may be mounted here: the rest is left out"
    exit 0
fi
trap 'umount -l "$folder/disk"; clean_up' EXIT

fill() { cat /dev/zero >"$folder/disk/filler" 2>/dev/null || true; }

# begin PROCESSES RUN: trains on the disk until it has saved, and fills the disk.
begin() {
    prepare "$1" "disk/$2"
    "${command[@]}" >"$folder/$2.log" 2>&1 &
    pid=$!
    ln -s "disk/$2" "$folder/$2"
    wait_for 60 "no checkpoint" has_step "$2/" 3
    fill
}

for processes in 1 2; do
    run=full-$processes
    begin $processes $run
    wait_for 60 "no warning" warned $run 2
    : >"$folder/disk/filler"
    wait $pid || fail "exit code $?"
    same reference-$processes $run
    echo "a disk that was full for a while, $processes process(es): $(warnings $run) warnings, exit 0, same bits"

    run=stays-$processes
    begin $processes $run
    code=0
    wait $pid || code=$?
    [ $code -eq 1 ] || fail "exit code $code on a disk that stays full"
    says $run 'training goes on: .*: No space left on device$' || fail "no warning says why"
    saved=$(newest $run/)
    if [ "$saved" -lt 3 ] || [ "$saved" -ge "$steps" ]; then fail "checkpoints were lost: step $saved is the newest"; fi
    : >"$folder/disk/filler"
    finish $processes $run
    says $run "going on from .*step $saved" || fail "it does not go on from step $saved"
    same reference-$processes $run
    echo "a disk that stays full, $processes process(es): exit 1, resumed from step $saved when there was room, same bits"
    rm -rf "$folder"/disk/*
done
