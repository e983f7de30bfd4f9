#!/usr/bin/env bash
# What preparing training data takes: processor time and peak memory for data of several sizes, and what opening them takes, as JSON and
# packed. The data are the tiny world's conversations again and again (some 330 bytes a sample), whose pictures are 128 pixels wide.
#
#   tests/bench/bench_prepare.sh [SAMPLES ...]      (10000 100000; build/)
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
build=${BUILD:-$here/build}
folder=$(mktemp -d "${TMPDIR:-/tmp}/difflmm-bench-XXXXXX")
trap 'rm -rf "$folder"' EXIT
[ $# -gt 0 ] || set -- 10000 100000
export OMP_WAIT_POLICY=passive
"$build/data/tiny/make_tiny_world" "$folder/world" --seed 5 --train 1000 --test 2 --quiet
source=$folder/world/train/llava_v1_5_mix665k.json
count=$(grep -o '"id"' "$source" | wc -l)

for samples in "$@"; do
    data=$folder/$samples.json
    for ((i = 0; i < (samples + count - 1) / count; i++)); do sed -e 's/^\[//' -e 's/\]$/,/' "$source"; done | sed -e '1s/^/[/' -e '$s/,$/]/' >"$data"
    begun=$(date +%s%N)
    "$build/difflmm" prepare "$here/configs/tiny_stage2.yaml" "data.train=$data" "data.image_folder=$folder/world/train" data.eval=null \
        --out "$folder/packs" >"$folder/log" 2>&1 &
    pid=$!
    peak=0
    while kill -0 $pid 2>/dev/null; do
        peak=$(sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$pid/status" 2>/dev/null | grep . || echo "$peak")
        sleep 0.1
    done
    wait $pid || { cat "$folder/log" && exit 1; }
    echo "$(sed -n 's/.*: \([0-9]* samples\), .*/\1/p' "$folder/log"): prepared in $((($(date +%s%N) - begun) / 1000000)) ms, $((peak / 1024)) MiB at most"
    for file in "$data" "$folder/packs/$samples.pack.h5"; do
        echo "  ${file##*.}: $("$build/tests/bench/bench_dataset" "$file" "$folder/world/train")"
    done
    rm "$data" "$folder/packs/$samples.pack.h5"
done
