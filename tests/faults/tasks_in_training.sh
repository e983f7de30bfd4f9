#!/usr/bin/env bash
# Tasks that are evaluated during training (eval.tasks): training has the bits that it has without them, figures are those of 'difflmm eval',
# on any number of processes, and after kills, signals, a full disk and pictures that go away; the best checkpoint goes by one of them. What is
# wrong with a task is one clear line before anything is made.
#
#   tests/faults/tasks_in_training.sh [BUILD]
set -euo pipefail
export BUILD=${1:-}
steps=4
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"

"$build/data/tiny/make_tiny_world" "$folder/scenes" --seed 5 --train 1 --test 6 --quiet
world=$folder/scenes/test
fault=$build/tests/faults/libdisk_fault.so
# write_task NAME LINE...: a configuration whose section eval is these lines and what all share.
write_task() {
    local file=$folder/$1.yaml
    shift
    printf 'eval:\n  image_folder: %s/images\n  max_new_tokens: 12\n' "$world" >"$file"
    printf '  %s\n' "$@" >>"$file"
}
write_task refer 'task: res' 'samples: 2' "annotations: \"$world/refcoco/refs(unc).p\""
write_task narratives 'task: png' 'samples: 4' "annotations: $world/png/png_coco_val2017.json" "segments: $world/png/panoptic_val2017.json" \
    "masks: $world/png/panoptic_val2017"
write_task gcg-test 'task: gcg' 'samples: 3' "annotations: $world/gcg/test_gcg_coco_caption_gt.json" "masks: $world/gcg/test_gcg_coco_mask_gt.json"
# Steps large enough to change what it says.
settings+=(data.model_max_length=512 training.learning_rate=1e-2 training.eval_steps=2 "eval.annotations=$world/instances.json"
    "eval.image_folder=$world/images" eval.max_new_tokens=12 eval.samples=3)
all="eval.tasks=[points, instances, $folder/refer.yaml, $folder/narratives.yaml, $folder/gcg-test.yaml]"
few="eval.tasks=[points, $folder/narratives.yaml]"
held_out=("data.eval=$folder/world/test/llava_v1_5_mix665k.json" "data.eval_image_folder=$folder/world/test" training.eval_samples=4)

# hurt FAULT AT PROCESSES RUN [SETTING ...]: trains with a fault (disk_fault.c) at change AT to metrics.jsonl.
hurt() {
    local kind=$1 at=$2
    shift 2
    prepare "$@"
    # In a subshell: the shell speaks of a program that is killed.
    (DISK_FAULT=$kind DISK_FAULT_PATH=metrics.jsonl DISK_FAULT_AT=$at LD_PRELOAD=$fault "${command[@]}" >"$folder/$2.log" 2>&1 || exit) 2>/dev/null
}

figures() { grep '"kind": "eval' "$folder/$1/metrics.jsonl"; }
# same_figures A B: the runs have measured the same, to the last digit.
same_figures() { cmp -s <(figures "$1") <(figures "$2") || fail "the figures of $2 are not those of $1"; }
# value RUN STEP FIGURE
value() { figures "$1" | sed -n "s/^{\"step\": $2, .*\"$3\": \([^,}]*\).*/\1/p"; }

# --- training is as it is without tasks, and figures are those of an evaluation

finish 1 plain
finish 1 tasks "$all"
same plain tasks
[ "$(figures tasks | wc -l)" = 20 ] || fail "tasks: not five tasks at two evaluations, each with intervals"
[ "$(grep -c '^step 4: \(points\|instances\|refer\|narratives\|gcg_test\): ' "$folder/tasks.log")" = 5 ] || fail "tasks: a line is missing"
varying=0
for figure in narratives.average_recall_all gcg_test.miou refer.giou points.noun_precision; do
    [ "$(value tasks 2 $figure)" = "$(value tasks "$steps" $figure)" ] || varying=$((varying + 1))
done
[ $varying -gt 0 ] || fail "no figure changes while it is trained"
for name in refer narratives gcg-test; do
    "$difflmm" eval "$folder/$name.yaml" "${settings[@]:0:19}" "eval.checkpoint=$folder/tasks/checkpoint-$steps.h5" "eval.output_dir=$folder/eval-$name" \
        >"$folder/eval-$name.log" 2>&1 || fail "eval of $name ended with $?"
    while read -r figure value _; do
        there=$(value tasks "$steps" "${name/-/_}.$figure")
        [ "$(printf %.4f "$there")" = "$value" ] || fail "$name: $figure is $value, in training '$there'"
    done < <(grep '(.* to .*)$' "$folder/eval-$name.log")
done
echo "five tasks: the same losses and weights as without, the figures of 'difflmm eval'"

# --- processes: with weights that are the same, for on other processes they differ by rounding

for processes in 1 2 3; do
    prepare 1 fixed-$processes "$all" training.learning_rate=0 training.max_steps=1
    command+=(training.per_device_train_batch_size=$((6 / processes)) --processes "$processes")
    "${command[@]}" >"$folder/fixed-$processes.log" 2>&1 || fail "fixed-$processes ended with $?"
    same_figures fixed-1 fixed-$processes
done
echo "the same figures on 1, 2 and 3 processes"

# --- kills

finish 1 reference "$few" "${held_out[@]}" training.save_best=narratives.average_recall_all
for ((line = 0, kills = 0; ; line++)); do # every change that a run makes to metrics.jsonl is one
    [ $line -lt 40 ] || fail "more changes than expected"
    if hurt kill $((line * 4 + 2)) 1 "killed-$line" "$few" "${held_out[@]}" training.save_best=narratives.average_recall_all; then break; fi
    finish 1 "killed-$line" "$few" "${held_out[@]}" training.save_best=narratives.average_recall_all
    same reference "killed-$line"
    same_figures reference "killed-$line"
    [ "$(readlink "$folder/killed-$line/checkpoint-best.h5")" = "$(readlink "$folder/reference/checkpoint-best.h5")" ] || fail "killed-$line: another best"
    rm -r "$folder/killed-$line"
    kills=$((kills + 1))
done
[ $kills -ge 3 ] || fail "only $kills kills"

# While it asks and judges: it stops itself before its first evaluation, goes on, and is killed a moment later.
is_stopped() {
    local all
    all=$(running | paste -sd,)
    [ -n "$all" ] && ps -o stat= -p "$all" | grep -q '^T'
}
stop_before_evaluation() { # PROCESSES RUN [SETTING ...]
    prepare "$1" "$2" "$few" "${@:3}"
    DISK_FAULT=hang DISK_FAULT_PATH=$2/metrics.jsonl DISK_FAULT_AT=2 LD_PRELOAD=$fault "${command[@]}" >"$folder/$2.log" 2>&1 &
    pid=$!
    wait_for 120 "$2 does not stop itself" is_stopped
}
go_on() {
    # shellcheck disable=SC2046
    kill -CONT $(running)
}
stop_before_evaluation 1 asking
go_on
sleep 0.1
kill -KILL $pid
wait $pid 2>/dev/null || true
finish 1 asking "$few"
same plain asking
stop_before_evaluation 2 rank
kill -KILL "$(pgrep -P "$(pgrep -P $pid)" | tail -n 1)"
go_on
! wait $pid 2>/dev/null || fail "rank: exit code 0"
wait_for 10 "rank: processes are left behind" is_quiet
finish 2 rank "$few"
finish 2 rank-reference "$few"
same rank-reference rank
same_figures rank-reference rank
echo "killed at $kills changes to metrics.jsonl, and while it asks: the same losses, figures and best checkpoint"

# --- signals, full disks, pictures

# The loss of step 2 is there, its figures are not.
hurt term 3 1 told "$few" "${held_out[@]}" || fail "told: exit code $?"
says told 'step 2: the figures of eval.tasks are left out: stopped on request' || fail "told: it does not say what is left out"
[ "$(newest told)" = 2 ] || fail "told: step $(newest told) is saved"
finish 1 told "$few" "${held_out[@]}"
same reference told

for change in 3 4 5; do
    hurt full $change 1 full-$change "$few" "${held_out[@]}" || fail "full-$change: exit code $?"
    says full-$change 'warning: metrics are kept until they can be written: .*\(No space left on device\|the disk is full\)' || fail "full-$change: no warning"
    "$build/tests/faults/compare_checkpoints" "$folder/reference/checkpoint-$steps.h5" "$folder/full-$change/checkpoint-$steps.h5" || fail "full-$change is not reference"
    tail -c 1 "$folder/full-$change/metrics.jsonl" | cmp -s - <(echo) || fail "full-$change: half a line is left"
done

cp -r "$world/images" "$folder/images"
picture=$(find "$folder/images" -name '*.jpg' | sort | sed -n 2p)
stop_before_evaluation 1 gone "eval.image_folder=$folder/images"
rm "$picture"
go_on
code=0
wait $pid || code=$?
[ $code = 1 ] || fail "gone: exit code $code"
says gone "eval.tasks: narratives: .*$picture\|eval.tasks: points: .*$picture" || fail "gone: it does not say which picture"
says gone '^step 2 is saved' || fail "gone: step 2 is not saved"
cp "$world/images/${picture##*/}" "$picture"
finish 1 gone "$few" "eval.image_folder=$folder/images"
same plain gone
echo "told to stop, a full disk, a picture that is gone: nothing that was learned is lost"

# --- the best checkpoint

best() { readlink "$folder/$1/checkpoint-best.h5" | sed 's/[^0-9]*\([0-9]*\).*/\1/'; }
finish 1 best "$few" training.save_best=narratives.average_recall_all training.eval_steps=1 training.save_steps=0 training.save_total_limit=1
highest=$(for ((step = 1; step <= steps; step++)); do echo "$(value best $step narratives.average_recall_all) $step"; done | sort -k1,1gr -k2,2n | sed -n '1s/.* //p')
[ "$(best best)" = "$highest" ] || fail "best: $(best best) is kept, the highest figure is that of step $highest"
cp -r "$folder/best" "$folder/other-best"
rm "$folder/other-best/checkpoint-$steps.h5" # it goes on from the best
sed -i '$d' "$folder/other-best/metrics.jsonl"
finish 1 other-best "$few" training.save_best=points.noun_precision
if [ "$highest" -lt "$steps" ]; then
    says other-best "the best so far, narratives.average_recall_all .* after step $highest, does not count any more: training.save_best is another" ||
        fail "other-best: it does not say that the best is another"
fi
same plain other-best
echo "the best checkpoint is that of step $highest, where the figure was highest"

# --- what is refused

# wrong TEXT SETTING...: exit code 2 and one line; nothing is made.
wrong() {
    local text=$1 code=0
    shift
    prepare 1 wrong "$@"
    "${command[@]}" >"$folder/wrong.log" 2>&1 || code=$?
    [ $code = 2 ] || fail "exit code $code, expected 2: $text"
    says wrong "$text" || fail "it does not say: $text"
    [ "$(grep -c '^difflmm train:' "$folder/wrong.log")" = 1 ] || fail "not one error: $text"
    [ ! -e "$folder/wrong" ] || fail "something is left: $text"
    grep '^difflmm train:' "$folder/wrong.log" | sed "s|$folder|...|g"
}
cp "$folder/refer.yaml" "$folder/refer.yml"
printf '{"images": [' >"$folder/cut.json"
write_task no-json 'task: res' "annotations: $folder/cut.json"
write_task layers 'task: points' "annotations: $world/instances.json" 'layers: [99]'
write_task phrases 'task: gcg' "annotations: $world/gcg/test_gcg_coco_caption_gt.json" "masks: $world/gcg/test_gcg_coco_mask_gt.json" 'phrases: /no/such/program'
printf 'eval: {task: pionts}\n' >"$folder/misspelt.yaml"
wrong "eval.tasks: 'pionts': is no task; did you mean 'points'?" 'eval.tasks=[pionts]'
wrong "eval.tasks: '.*misspelt.yaml': .*misspelt.yaml:1:14: eval.task is 'pionts', expected one of" "eval.tasks=[$folder/misspelt.yaml]"
wrong "eval.tasks: '/no/such.yaml': /no/such.yaml: cannot be read: No such file" 'eval.tasks=[/no/such.yaml]'
wrong "eval.tasks: 'png': .*: eval.masks is missing" 'eval.tasks=[png]'
wrong "eval.tasks: 'points': /no/such.json: cannot be read: No such file" 'eval.tasks=[points]' eval.annotations=/no/such.json
wrong "eval.tasks: 'points': .*cut.json:1: not valid JSON" 'eval.tasks=[points]' "eval.annotations=$folder/cut.json"
wrong "eval.tasks: '.*no-json.yaml': .*cut.json" "eval.tasks=[$folder/no-json.yaml]"
wrong "eval.tasks: 'points': .*the picture of image 500000: .*cannot be read" 'eval.tasks=[points]' eval.image_folder=/no/such
wrong "eval.tasks: '.*layers.yaml': .*layers.yaml:6:11: eval.layers: layers: 99 is none of the model's 0..3" "eval.tasks=[$folder/layers.yaml]"
wrong "eval.tasks: '.*phrases.yaml': command '/no/such/program'" "eval.tasks=[$folder/phrases.yaml]"
wrong "eval.tasks: '.*refer.yml': its figures would be called 'refer' as those of '.*refer.yaml'" "eval.tasks=[$folder/refer.yaml, $folder/refer.yml]"
wrong "training.save_best: 'points.accuracy' is no figure of eval.tasks; expected .*, or one of points.point_accuracy, " 'eval.tasks=[points]' training.save_best=points.accuracy
wrong "training.save_best: 'points.point_accuracy' is no figure of eval.tasks; expected .*; eval.tasks is empty" training.save_best=points.point_accuracy
wrong "training.save_best: true is the lowest loss on data.eval, which is null" training.save_best=true 'eval.tasks=[points]'
