#!/usr/bin/env bash
# A folder of frozen features: training with it, empty, half filled by a killed run, full, damaged, on a full disk, by one process or two, ends
# with the bits of training without it.
#
#   tests/faults/feature_folder.sh [BUILD]
set -euo pipefail
export BUILD=${1:-}
steps=2
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"

# Samples of 512 images, by as many names of the world's twenty: 16 blocks.
images=512
{
    echo '['
    for ((i = 0; i < images; i++)); do
        path=
        for bit in {0..8}; do if ((i >> bit & 1)); then path+=./; else path+=.//; fi; done
        printf '{"id": "%d", "image": "%simages/%012d.jpg", "conversations": [{"from": "human", "value": "<image>\\nWhat?"}, {"from": "gpt", "value": "This."}]}' \
            "$i" "$path" $((i * i % 19))
        ((i == images - 1)) || echo ,
    done
    echo ']'
} >"$folder/many.json"
settings+=("data.train=$folder/many.json" data.cache_features=true training.save_steps=0)

kept() { find "$folder/$1" -name 'features-*.h5' 2>/dev/null | wc -l; }
# read_from RUN: of how many images features were read.
read_from() { sed -n 's/^features of \([0-9]*\) of .* images were read from .*/\1/p' "$folder/$1.log"; }
has_kept() { [ "$(kept "$1")" -ge "$2" ]; }

# A folder that cannot be one is refused before anything is made.
code=0
prepare 1 refused "data.feature_folder=$folder/many.json"
"${command[@]}" >"$folder/refused.log" 2>&1 || code=$?
[ $code -eq 2 ] || fail "exit code $code where the folder is a file"
says refused 'data.feature_folder: .*many.json is a file, not a folder' || fail "it does not say that the folder is a file"
[ ! -e "$folder/refused" ] || fail "a refused run has made its folder"

for processes in 1 2; do
    into=features-$processes
    finish $processes reference-$processes

    prepare $processes killed-$processes "data.feature_folder=$folder/$into"
    "${command[@]}" >"$folder/killed-$processes.log" 2>&1 &
    pid=$!
    wait_for 60 "nothing is kept" has_kept $into 2
    # shellcheck disable=SC2046
    kill -KILL $pid $(running) 2>/dev/null || true
    wait $pid 2>/dev/null || true
    wait_for 30 "processes are left behind" is_quiet
    half=$(kept $into)
    [ "$half" -lt 16 ] || fail "the run was killed too late"
    rm -rf "$folder/killed-$processes"

    finish $processes filling-$processes "data.feature_folder=$folder/$into"
    same reference-$processes filling-$processes
    [ "$(kept $into)" = 16 ] || fail "$(kept $into) of 16 blocks are kept"
    [ "$(read_from filling-$processes)" = $((32 * half)) ] || fail "$half blocks were there, and features of $(read_from filling-$processes) images were read"
    finish $processes full-$processes "data.feature_folder=$folder/$into"
    same reference-$processes full-$processes
    [ "$(read_from full-$processes)" = $images ] || fail "not all was read"
    echo "$processes process(es): killed after $half of 16 blocks, filled, read: same bits"
done

# What one process kept is what two would: the folder does not know ranks.
finish 2 shared data.feature_folder="$folder/features-1"
same reference-2 shared
[ "$(read_from shared)" = $images ] || fail "two processes do not read what one has kept"

damaged=$(find "$folder/features-1" -name 'features-*.h5' | sort | head -n 1)
printf x | dd of="$damaged" bs=1 seek=$(($(stat -c %s "$damaged") / 2)) conv=notrunc status=none
finish 1 damaged data.feature_folder="$folder/features-1"
same reference-1 damaged
says damaged "^warning: data.feature_folder: 1 file(s) are damaged and their features are computed anew; the first: $damaged" || fail "a damaged file is not told"
[ "$(read_from damaged)" = $((images - 32)) ] || fail "other blocks than the damaged one were computed"
echo "a damaged file: a warning, computed anew, same bits"

# Made ready before there is a training: killed, gone on with by two processes, and read by a training that computes nothing.
ready() { "$difflmm" prepare "$folder/empty.yaml" "${settings[@]}" --out "$folder/packs" "data.feature_folder=$folder/ready" "$@" >"$folder/ready.log" 2>&1; }
code=0
(
    trap '' XFSZ
    ulimit -S -f $(($(stat -c %s "$damaged") / 2048))
    ready
) || code=$?
[ $code -eq 1 ] || fail "exit code $code where features cannot be kept"
says ready '^difflmm prepare: data.feature_folder: features cannot be kept: .*File too large$' || fail "it does not say why"
[ "$(find "$folder/ready" -type f 2>/dev/null | wc -l)" = 0 ] || fail "half a file is left"
ready &
pid=$!
wait_for 60 "nothing is kept" has_kept ready 2
# shellcheck disable=SC2046
kill -KILL $pid $(running) 2>/dev/null || true
wait $pid 2>/dev/null || true
wait_for 30 "processes are left behind" is_quiet
half=$(kept ready)
[ "$half" -lt 16 ] || fail "making ready was killed too late"
ready --processes 2 || fail "exit code $? after a kill"
[ "$(kept ready)" = 16 ] || fail "$(kept ready) of 16 blocks are made ready"
says ready "^features of $((32 * half)) of 512 images were read" || fail "$half blocks were there, and others were computed"
says ready ": features of 512 images are in $folder/ready$" || fail "it does not say how many there are"
for data in "$folder/many.json" "$folder/packs/many.pack.h5"; do
    finish 1 prepared "data.feature_folder=$folder/ready" "data.train=$data"
    same reference-1 prepared
    [ "$(read_from prepared)" = $images ] || fail "training with $data computes features"
    rm -rf "$folder/prepared"
done
echo "made ready: killed after $half of 16 blocks, gone on with by 2 processes, and training computes nothing"

# Features are read while a run goes on: where the folder goes meanwhile, it saves what was learned and ends, and the same command goes on.
steps=60 # of which the last is compared
settings+=(training.max_steps=60 data.dataloader_prefetch_factor=1)
for processes in 1 2; do
    finish $processes long-$processes
    prepare $processes removed-$processes "data.feature_folder=$folder/features-$processes"
    "${command[@]}" >"$folder/removed-$processes.log" 2>&1 &
    pid=$!
    wait_for 60 "no step" has_losses removed-$processes 5
    mv "$folder/features-$processes" "$folder/away-$processes"
    code=0
    wait $pid || code=$?
    [ $code -eq 1 ] || fail "exit code $code where the folder went"
    says removed-$processes 'features-.*cannot be opened: No such file' || fail "the file that went is not named"
    saved=$(newest removed-$processes)
    if [ "$saved" -lt 5 ] || [ "$saved" -ge $steps ]; then fail "step $saved was saved where the folder went"; fi
    finish $processes removed-$processes "data.feature_folder=$folder/features-$processes"
    "$build/tests/faults/compare_checkpoints" "$folder/long-$processes/checkpoint-$steps.h5" "$folder/removed-$processes/checkpoint-$steps.h5" ||
        fail "a folder that went has changed the run"
    echo "$processes process(es): the folder goes after step $saved: exit 1, saved, resumed with the same bits"
done
steps=2
settings+=(training.max_steps=2)

# A limit on the size of files in place of a full disk, lifted before the checkpoint is written. Under such a limit HDF5 may keep a file open that
# it could not write, and then refuses a checkpoint that the system gives the same number: losses are compared in any case, weights where there are some.
limit=$(($(stat -c %s "$damaged") / 2048))
prepare 1 full_disk data.feature_folder="$folder/features-none"
(
    trap '' XFSZ
    ulimit -S -f $limit
    exec "${command[@]}"
) >"$folder/full_disk.log" 2>&1 &
pid=$!
wait_for 60 "no warning" says full_disk '^warning: data.feature_folder: features cannot be kept there from now on, and training goes on: .*File too large$'
prlimit --pid $pid --fsize=unlimited:unlimited
code=0
wait $pid || code=$?
[ "$(losses full_disk)" = "$(losses reference-1)" ] || fail "the losses on a full disk are others"
if [ $code -eq 0 ]; then
    same reference-1 full_disk
else
    says full_disk 'the last checkpoint was not written.*already open' || fail "exit code $code"
fi
[ "$(kept features-none)" = 0 ] || fail "something is kept on a full disk"
[ "$(find "$folder/features-none" -type f | wc -l)" = 0 ] || fail "half a file is left"
[ "$(grep -c 'features cannot be kept' "$folder/full_disk.log")" = 1 ] || fail "more than one warning"
echo "a full disk: one warning, same bits"
