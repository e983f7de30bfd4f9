#!/usr/bin/env bash
# How long evaluations of the tiny world take: gcg, res (first sentences) and png of 1,000 images, asked, judged and counted.
#
#   tests/bench/bench_evaluation.sh [CHECKPOINT] [IMAGES] [KEY=VALUE ...]     default: adapters untrained, 1000 images
#
# Of every task: seconds by the clock and processor seconds (user and system), in all and of judging alone (the same answers once more).
# On a machine that is busy otherwise, training.threads=1 tells what the work is: with more, threads wait for each other, which counts as
# processor time. Half of that is then the least that two idle cores need.
set -euo pipefail
cd "$(dirname "$0")/../.."
checkpoint=${1:-null} images=${2:-1000} build=${BUILD:-build}
settings=("${@:3}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$build/data/tiny/make_tiny_world" "$folder/world" --seed 13 --train 1 --test "$images" >/dev/null
world=$folder/world/test

evaluate() { # TASK OUTPUT KEY=VALUE...: clock and processor seconds
    local task=$1 output=$2
    TIMEFORMAT='%R %U %S'
    { time "$build/difflmm" eval configs/tiny_eval.yaml lora.lora_enable=false eval.checkpoint="$checkpoint" eval.task="$task" \
        eval.image_folder="$world/images" eval.output_dir="$folder/$output" "${settings[@]}" "${@:3}" >"$folder/log" 2>&1 ||
        { cat "$folder/log" >&2; exit 1; }; } 2>&1 | awk '{ printf "%.1f %.1f\n", $1, $2 + $3 }'
}

bench() { # TASK KEY=VALUE...
    local task=$1 all judging
    all=$(evaluate "$task" "$task" "${@:2}")
    judging=$(evaluate "$task" "$task-again" eval.answers="$folder/$task/answers" "${@:2}")
    echo "$task $all $judging" | tee -a "$folder/table" |
        awk '{ printf "%-4s %7.1f s, processor %7.1f s; of these judging %6.1f s, processor %6.1f s\n", $1, $2, $3, $4, $5 }'
}

bench gcg eval.annotations="$world/gcg/test_gcg_coco_caption_gt.json" eval.masks="$world/gcg/test_gcg_coco_mask_gt.json"
bench res eval.annotations="$world/refcoco/refs(unc).p" eval.sentences=first eval.split=val
bench png eval.annotations="$world/png/png_coco_val2017.json" eval.segments="$world/png/panoptic_val2017.json" \
    eval.masks="$world/png/panoptic_val2017"
awk '{ clock += $2; processor += $3 } END { printf "in all %.1f s; processor %.1f s, on two cores at least %.1f s\n", clock, processor, processor / 2 }' "$folder/table"
