#!/usr/bin/env bash
# How training scales from one process to two, one processor thread each: the same global batch of the tiny world, stage 2 with LoRA, images
# encoded in every step. Needs two cores that nothing else uses.
#
#   tests/bench/bench_processes.sh [ROUNDS] [STEPS]      default: 3 rounds of one and two processes in turn, 16 steps each
#
# Prints samples per second of each run (the first 4 steps left out) and the efficiency: median rate of two processes over twice the
# median rate of one.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-3} steps=${2:-16} build=${BUILD:-build}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$build/data/tiny/make_tiny_world" "$folder/world" --seed 11 --train 600 --test 10 >/dev/null

train() { # PROCESSES: samples per second
    local run=$folder/run batch=$((64 / $1))
    rm -rf "$run"
    "$build/difflmm" train configs/tiny_stage2.yaml --processes "$1" model.adapters=null data.eval=null \
        data.train="$folder/world/train/llava_v1_5_mix665k.json" data.image_folder="$folder/world/train" data.cache_features=false \
        data.dataloader_num_workers=1 training.output_dir="$run" training.max_steps="$steps" training.threads=1 training.device=cpu \
        training.tensorboard=false training.per_device_train_batch_size=$batch >"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }
    # samples so far = samples_per_second * seconds, both since the start
    sed -n 's/.*"samples_per_second": \([0-9.e+]*\).*"seconds": \([0-9.e+]*\).*/\1 \2/p' "$run/metrics.jsonl" |
        awk 'NR == 4 { samples = $1 * $2; seconds = $2 } END { printf "%.2f\n", ($1 * $2 - samples) / ($2 - seconds) }'
}
median() { sort -n | awk '{ x[NR] = $1 } END { print NR % 2 ? x[(NR + 1) / 2] : (x[NR / 2] + x[NR / 2 + 1]) / 2 }'; }

for ((i = 0; i < rounds; i++)); do
    for processes in 1 2; do
        rate=$(train $processes)
        echo "$processes process(es): $rate samples/s"
        echo "$rate" >>"$folder/rates$processes"
    done
done
awk -v one="$(median <"$folder/rates1")" -v two="$(median <"$folder/rates2")" \
    'BEGIN { printf "median: %.2f and %.2f samples/s, efficiency %.1f%%\n", one, two, 100 * two / (2 * one) }'
