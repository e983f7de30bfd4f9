#!/usr/bin/env bash
# From a fresh Debian machine to a trained DiffLMM and its grounding, on CPU, in one command. Safe to run twice; needs no Python.
#
#   train/quickstart.sh              installs, builds, draws the tiny world, trains both stages, evaluates, reports
#   train/quickstart.sh --seed 1     another seed
#   train/quickstart.sh --llava      the CLIP-only baseline instead (LLaVA-1.5)
#   train/quickstart.sh --fresh      forget an earlier run of the same name first
#
# Results: runs/tiny/report/index.html and runs/tiny/report/summary.json (runs/tiny-seed1, runs/tiny-llava, ... for the others).
set -euo pipefail
cd "$(dirname "$0")/.."

started=$(date +%s)
seed=42
model=difflmm
fresh=false
while [ $# -gt 0 ]; do
    case $1 in
    --seed) seed=${2:?--seed needs a number} && shift 2 ;;
    --llava) model=llava && shift ;;
    --fresh) fresh=true && shift ;;
    -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0" && exit 0 ;;
    *) echo "quickstart.sh: unknown argument '$1' (see --help)" >&2 && exit 2 ;;
    esac
done

run=runs/tiny
[ "$model" = difflmm ] || run=$run-$model
[ "$seed" = 42 ] || run=$run-seed$seed
world=runs/tiny-world
! $fresh || rm -rf "$run"

bar() { # bar DONE TOTAL WHAT: the quickstart as a whole
    local width=30 filled=$(($1 * 30 / $2))
    printf '\n[%s%s] %d/%d  %s\n' "$(printf '%*s' "$filled" '' | tr ' ' '#')" "$(printf '%*s' $((width - filled)) '' | tr ' ' '.')" "$1" "$2" "$3"
}

bar 0 7 "Debian packages"
. train/install_packages.sh
# shellcheck disable=SC2086
install_packages $BUILD_PACKAGES

bar 1 7 "Build"
cmake --preset release >/dev/null
cmake --build --preset release -j "$(nproc)" --target difflmm make_tiny_world
difflmm=build/difflmm

bar 2 7 "The tiny world: scenes, captions, conversations"
mkdir -p runs
[ -d "$world" ] || build/data/tiny/make_tiny_world "$world" --seed 7 --train 4000 --test 200

[ "$model" = difflmm ] && prefix=tiny || prefix=tiny_llava
settings=("training.seed=$seed" "eval.seed=$seed")

bar 3 7 "Stage 1: adapters between frozen networks"
$difflmm train configs/${prefix}_stage1.yaml "${settings[@]}" "training.output_dir=$run/stage1"

bar 4 7 "Stage 2: adapters and LoRA"
$difflmm train configs/${prefix}_stage2.yaml "${settings[@]}" "training.output_dir=$run/stage2" "model.adapters=$run/stage1" \
    "eval.tasks=[configs/${prefix}_eval.yaml]"

bar 5 7 "Evaluation: where does it look when it names something?"
evaluate() { # evaluate NAME CHECKPOINT SETTING...: points, and the published tasks, with region growing and with the true mask
    local name=$1 checkpoint=$2 test=$world/test task
    shift 2
    local eval=("$difflmm" eval "configs/${prefix}_eval.yaml" "${settings[@]}" "eval.checkpoint=$checkpoint" "$@")
    # of the published tasks 100 images; in this small language the word behind "is" is an article, so that the first eight count
    local -A files=(
        [gcg]="eval.annotations=$test/gcg/test_gcg_coco_caption_gt.json eval.masks=$test/gcg/test_gcg_coco_mask_gt.json"
        [res]="eval.annotations=$test/refcoco/refs(unc).p eval.sentences=first eval.referring_tokens=first_eight"
        [png]="eval.annotations=$test/png/png_coco_val2017.json eval.segments=$test/png/panoptic_val2017.json eval.masks=$test/png/panoptic_val2017"
        [instances]="eval.annotations=$test/instances.json")
    "${eval[@]}" "eval.output_dir=$run/eval/$name"
    for task in gcg res png instances; do
        # shellcheck disable=SC2086
        "${eval[@]}" "eval.task=$task" ${files[$task]} eval.samples=100 eval.pictures=0 "eval.output_dir=$run/eval/$name-$task"
        # shellcheck disable=SC2086
        "${eval[@]}" "eval.task=$task" ${files[$task]} eval.samples=100 eval.pictures=0 "eval.output_dir=$run/eval/$name-$task-truth" \
            "eval.answers=$run/eval/$name-$task/answers" eval.segmenter=truth
    done
}
evaluate untrained null eval.pictures=0 lora.lora_enable=false
evaluate stage1 "$run/stage1" eval.pictures=0 lora.lora_enable=false
evaluate trained "$run/stage2"

bar 6 7 "Report"
$difflmm report "$run" --started "$started"
bar 7 7 "Done: $run/report/index.html"
