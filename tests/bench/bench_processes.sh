#!/usr/bin/env bash
# How training scales from one process to two, one thread each: the same steps of the same global batch (stage 2 of the tiny world, LoRA,
# 64 conversations), by turns. Prints the median time of a step in every run, and the efficiency t1 / (2 t2) of the medians. For a machine
# where nothing else runs.
#
#   tests/bench/bench_processes.sh [--runs N] [--steps N] [--stage 1|2] [BUILD]     (3 runs of each, 40 steps, stage 2, build/)
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=3 steps=40 stage=2 build=build
while [ $# -gt 0 ]; do
    case $1 in
    --runs) runs=${2:?--runs needs a number} && shift 2 ;;
    --steps) steps=${2:?--steps needs a number} && shift 2 ;;
    --stage) stage=${2:?--stage needs 1 or 2} && shift 2 ;;
    -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0" && exit 0 ;;
    *) build=$1 && shift ;;
    esac
done
[ "$(nproc)" -ge 2 ] || { echo "two cores are needed" >&2 && exit 1; }
folder=$(mktemp -d "${TMPDIR:-/tmp}/difflmm-bench-XXXXXX")
trap 'rm -rf "$folder"' EXIT
"$build/data/tiny/make_tiny_world" "$folder/world" --seed 7 --train 400 --test 2 --quiet
data=$([ "$stage" = 1 ] && echo blip_laion_cc_sbu_558k || echo llava_v1_5_mix665k)

median() { sort -n | awk '{ value[NR] = $1 } END { print NR % 2 ? value[(NR + 1) / 2] : (value[NR / 2] + value[NR / 2 + 1]) / 2 }'; }

# train PROCESSES: the median time of a step in milliseconds, without the first five.
train() {
    rm -rf "$folder/run"
    "$build/difflmm" train "configs/tiny_stage$stage.yaml" model.adapters=null data.eval=null \
        "data.train=$folder/world/train/$data.json" "data.image_folder=$folder/world/train" \
        "training.output_dir=$folder/run" "training.max_steps=$steps" training.save_steps=0 training.tensorboard=false \
        training.device=cpu training.threads=1 "training.per_device_train_batch_size=$((64 / $1))" \
        --processes "$1" >"$folder/log" 2>&1 || { cat "$folder/log" >&2 && return 1; }
    sed -n 's/.*"kind": "train".*"seconds": \([^,]*\),.*/\1/p' "$folder/run/metrics.jsonl" |
        awk 'NR > 5 { printf "%.2f\n", 1000 * ($1 - before) } { before = $1 }' | median
}

for ((i = 1; i <= runs; i++)); do
    for processes in 1 2; do
        time=$(train $processes)
        echo "$time" >>"$folder/times-$processes"
        echo "run $i, $processes process(es): $time ms per step"
    done
done
one=$(median <"$folder/times-1") two=$(median <"$folder/times-2")
awk -v one="$one" -v two="$two" 'BEGIN { printf "1 process %.1f ms, 2 processes %.1f ms per step of 64: efficiency %.3f\n", one, two, one / (2 * two) }'
