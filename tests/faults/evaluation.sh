#!/usr/bin/env bash
# An evaluation loses at most the question in hand, and has the same bits however it was run: killed at any change that it makes to the disk,
# told to stop, with a full disk, without a rank, on one to three processes, with questions one by one or many at once. A folder is one
# evaluation's; answers that do not go together are refused; annotations that are wrong are one clear line.
#
#   tests/faults/evaluation.sh [BUILD]
set -euo pipefail
export BUILD=${1:-}
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"

world=$folder/scenes/test
"$build/data/tiny/make_tiny_world" "$folder/scenes" --seed 5 --train 1 --test 6 --quiet
settings=(
    "model.sd=$here/checkpoints/tiny/sd" "model.vision_tower=$here/checkpoints/tiny/clip" "model.llm=$here/checkpoints/tiny/llm"
    data.image_size=128 data.model_max_length=512 data.image_aspect_ratio=pad lora.lora_enable=false
    training.device=cpu training.threads=1 training.distributed_timeout=5
    eval.checkpoint=null eval.max_new_tokens=12 eval.batch_size=1 eval.pictures=1 "eval.image_folder=$world/images"
)
points=("eval.annotations=$world/instances.json" eval.samples=3)
res=(eval.task=res "eval.annotations=$world/refcoco/refs(unc).p" eval.samples=2)
png=(eval.task=png "eval.annotations=$world/png/png_coco_val2017.json" "eval.segments=$world/png/panoptic_val2017.json"
    "eval.masks=$world/png/panoptic_val2017")
# shellcheck disable=SC2034 # they are used by name
gcg=(eval.task=gcg "eval.annotations=$world/gcg/test_gcg_coco_caption_gt.json" "eval.masks=$world/gcg/test_gcg_coco_mask_gt.json" eval.samples=3)
# shellcheck disable=SC2034
instances=(eval.task=instances "eval.annotations=$world/instances.json" eval.samples=3)
cat >"$folder/captions.json" <<'END'
{"images": [{"id": 500000, "file_name": "000000500000.jpg"}, {"id": 500001, "file_name": "000000500001.jpg"}, {"id": 500002, "file_name": "000000500002.jpg"}],
 "annotations": [{"id": 1, "image_id": 500000, "caption": "A ring."}, {"id": 2, "image_id": 500001, "caption": "A red star and a ring."},
  {"id": 3, "image_id": 500001, "caption": "Two things."}, {"id": 4, "image_id": 500002, "caption": "A cross."}]}
END
# shellcheck disable=SC2034
caption=(eval.task=caption "eval.annotations=$folder/captions.json")
# shellcheck disable=SC2034
pope=(eval.task=pope "eval.annotations=$world/pope" eval.samples=3)
gqa=(eval.task=gqa "eval.annotations=$world/gqa/testdev_balanced_questions.json" eval.samples=3)
fault=$build/tests/faults/libdisk_fault.so

# evaluate PROCESSES RUN [SETTING ...]: evaluates into $folder/RUN; the exit code is its own.
evaluate() {
    local processes=$1 run=$2 program=("$difflmm" eval "$folder/empty.yaml" "${settings[@]}" "eval.output_dir=$folder/$2")
    shift 2
    [ "$processes" = 1 ] || program+=(--processes "$processes")
    "${program[@]}" "$@" >"$folder/$run.log" 2>&1
}

# hurt FAULT PATH AT PROCESSES RUN [SETTING ...]: the same, with a fault (disk_fault.c) at change AT to files of that path.
hurt() {
    local kind=$1 path=$2 at=$3
    shift 3
    # In a subshell: the shell speaks of a program that is killed.
    (DISK_FAULT=$kind DISK_FAULT_PATH=$path DISK_FAULT_AT=$at LD_PRELOAD=$fault evaluate "$@") 2>/dev/null
}

# same_results A B: figures and verdicts are the same, but for what they cost; nothing is left behind.
costs='"seconds"\|"peak_memory_bytes"'
same_results() {
    ! diff -qr "$folder/$1/predictions" "$folder/$2/predictions" 2>/dev/null | grep . || fail "$2: other predictions than $1"
    cmp -s "$folder/$1/items.jsonl" "$folder/$2/items.jsonl" || fail "$2: items.jsonl is not that of $1"
    cmp -s <(grep -v "$costs" "$folder/$1/results.json") <(grep -v "$costs" "$folder/$2/results.json") || fail "$2: results.json is not that of $1"
    nothing_left "$2"
}
nothing_left() {
    local left
    left=$(find "$folder/$1" -name '*.??????' -o -name '*.journal' -o -name run.lock)
    [ -z "$left" ] || fail "$1 leaves behind $left"
}

asked() { sed -n 's/.*asking 100% [0-9]*\/\([0-9]*\).*/\1/p' "$folder/$1.log" | tail -n 1 | grep . || echo 0; }
rounds() { find "$folder/$1/answers" -name 'answers-*.h5' | wc -l; }

# refused CODE RUN TEXT: the last evaluation into RUN ended so, with this one line.
refused() {
    [ "$code" -eq "$1" ] || fail "$2: exit code $code"
    says "$2" "$3" || fail "$2: it does not say: $3"
    [ "$(grep -c '^difflmm eval:' "$folder/$2.log")" = 1 ] || fail "$2: not one error"
    echo "$2: $(grep '^difflmm eval:' "$folder/$2.log" | sed "s|$folder|...|g")"
}

# --- the same bits on any number of processes, with any number of questions at once

for task in points res png gcg instances caption pope gqa; do
    declare -n of=$task
    evaluate 1 $task "${of[@]}" || fail "$task: exit code $?"
    evaluate 1 $task-by-16 "${of[@]}" eval.batch_size=16 || fail "$task-by-16: exit code $?"
    same_results $task $task-by-16
done
items=$(wc -l <"$folder/res/items.jsonl")
[ "$items" -ge 4 ] || fail "res has $items items"
evaluate 1 res-by-3 "${res[@]}" eval.batch_size=3 || fail "res-by-3: exit code $?"
same_results res res-by-3
for processes in 2 3; do
    evaluate $processes res-on-$processes "${res[@]}" eval.batch_size=2 || fail "res-on-$processes: exit code $?"
    same_results res res-on-$processes
done
evaluate 3 points-on-3 "${points[@]}" eval.samples=2 || fail "points-on-3: exit code $?" # one of them has nothing to do
evaluate 1 points-on-1 "${points[@]}" eval.samples=2 || fail "points-on-1: exit code $?"
same_results points-on-1 points-on-3
evaluate 3 caption-on-3 "${caption[@]}" || fail "caption-on-3: exit code $?"
same_results caption caption-on-3
evaluate 3 pope-on-3 "${pope[@]}" || fail "pope-on-3: exit code $?"
same_results pope pope-on-3
# Files of groundLMM's scripts are read by any number of processes alike.
dumps=$here/tests/parity/data/official_dumps
dumped=(eval.task=res "eval.annotations=$dumps/refs(unc).p" "eval.answers=$dumps/res" "eval.image_folder=$dumps/images")
evaluate 1 dumped "${dumped[@]}" || fail "dumped: exit code $?"
for processes in 2 3; do
    evaluate $processes dumped-on-$processes "${dumped[@]}" || fail "dumped-on-$processes: exit code $?"
    same_results dumped dumped-on-$processes
done
! hurt kill verdicts-001.journal 3 2 dumped-again "${dumped[@]}" || fail "dumped-again was not killed"
evaluate 3 dumped-again "${dumped[@]}" || fail "dumped-again: exit code $?"
same_results dumped dumped-again
evaluate 1 drawn "${res[@]}" eval.temperature=1 eval.top_p=0.9 || fail "drawn: exit code $?"
evaluate 2 drawn-on-2 "${res[@]}" eval.temperature=1 eval.top_p=0.9 eval.batch_size=3 || fail "drawn-on-2: exit code $?"
same_results drawn drawn-on-2
! cmp -s "$folder/res/items.jsonl" "$folder/drawn/items.jsonl" || fail "drawn: the answers are the greedy ones"
echo "the same bits on 1, 2 and 3 processes, with 1, 3 and 16 questions at once, also of answers that are drawn"

# --- kills

# While it asks: change 1 is the journal's mark, 2 what was asked with, 3 the first answer, which is cut short.
for at in 1 2 3 $((items + 1)); do
    run=asking-$at
    ! hurt kill answers-000-000.journal $at 1 $run "${res[@]}" || fail "$run was not killed"
    evaluate 1 $run "${res[@]}" || fail "$run: exit code $?"
    same_results res $run
    stored=$((at > 3 ? at - 3 : 0))
    [ "$(asked $run)" = $((items - stored)) ] || fail "$run: $stored answers were stored, and $(asked $run) of $items were asked again"
done
# Questions that are answered at once: each answer is stored as soon as it is complete.
! hurt kill answers-000-000.journal 5 1 asking-at-once "${res[@]}" eval.batch_size=4 || fail "asking-at-once was not killed"
evaluate 1 asking-at-once "${res[@]}" eval.batch_size=3 || fail "asking-at-once: exit code $?"
same_results res asking-at-once
[ "$(asked asking-at-once)" = $((items - 2)) ] || fail "asking-at-once: $(asked asking-at-once) of $items were asked again"
echo "killed while asking: what was answered before is not asked again"

# From there on: at every change, from packing the answers to the last file that is removed. What is there before is asked once.
! hurt kill answers-000-000.h5 1 1 asked "${points[@]}" || fail "asked was not killed"
kills=0
for ((at = 1; ; at++)); do
    run=change-$at
    cp -r "$folder/asked" "$folder/$run"
    if hurt kill "$folder/$run/" $at 1 $run "${points[@]}"; then break; fi
    evaluate 1 $run "${points[@]}" || fail "$run: exit code $?"
    ! says $run asking || fail "$run: asks again"
    same_results points $run
    rm -r "${folder:?}/$run"
    kills=$((kills + 1))
done
[ $kills -ge 10 ] || fail "only $kills changes"
same_results points "$run"
echo "killed at each of $kills changes after asking: the same bits, and nothing is asked again"

# One of two ranks, and then another number of them.
! hurt kill answers-000-001.journal 4 2 lost "${res[@]}" || fail "lost: exit code 0"
says lost 'process rank 1 .*exited on' || fail "lost: it does not say who"
wait_for 10 "lost: processes are left behind" is_quiet
[ ! -e "$folder/lost/results.json" ] || fail "lost: has results"
! hurt kill answers-001- 3 3 lost "${res[@]}" || fail "lost: exit code 0 again"
wait_for 10 "lost: processes are left behind" is_quiet
evaluate 1 lost "${res[@]}" || fail "lost: exit code $?"
[ "$(asked lost)" -lt "$items" ] || fail "lost: everything was asked again"
same_results res lost
! hurt kill verdicts-001.journal 4 2 unjudged "${res[@]}" || fail "unjudged: exit code 0"
evaluate 3 unjudged "${res[@]}" || fail "unjudged: exit code $?"
same_results res unjudged
! hurt hang answers-000-001.journal 4 2 hanging "${res[@]}" || fail "hanging: exit code 0"
says hanging 'waited [0-9]* seconds in vain for rank 1 ([^)]*): died or hangs' || fail "hanging: it does not say who"
wait_for 10 "hanging: processes are left behind" is_quiet
evaluate 1 hanging "${res[@]}" || fail "hanging: exit code $?"
same_results res hanging
echo "a rank that is killed or hangs: the others end, and any number of processes goes on"

# Ranks that were started otherwise are not one job.
cat >"$folder/rank.sh" <<'END'
#!/bin/sh
# rank.sh SETTING_OF_RANK_1 COMMAND...
setting=$1
shift
[ "${OMPI_COMM_WORLD_RANK:-$PMIX_RANK}" != 1 ] || set -- "$@" "$setting"
exec "$@"
END
chmod +x "$folder/rank.sh"
code=0
mpirun -n 2 "$folder/rank.sh" eval.prompt=What? "$difflmm" eval "$folder/empty.yaml" "${settings[@]}" "${res[@]}" "eval.output_dir=$folder/otherwise" \
    >"$folder/otherwise.log" 2>&1 || code=$?
refused 2 otherwise "eval.prompt: .*has no {}"
code=0
mpirun -n 2 "$folder/rank.sh" 'eval.prompt=What is {}?' "$difflmm" eval "$folder/empty.yaml" "${settings[@]}" "${res[@]}" "eval.output_dir=$folder/otherwise" \
    >"$folder/otherwise.log" 2>&1 || code=$?
refused 1 otherwise "the configuration of rank 1 differs from rank 0's"
[ ! -e "$folder/otherwise" ] || fail "otherwise: something is left"

# --- signals

# stopped RUN: it was asked to, and has failed at nothing, as in training.
stopped() {
    [ "$code" -eq 0 ] || fail "$1: exit code $code"
    says "$1" 'stopped on request: what was answered and judged is kept, and the same command goes on with the rest' || fail "$1: it does not say so"
    ! says "$1" '^difflmm eval:' || fail "$1: an error"
    [ ! -e "$folder/$1/results.json" ] || fail "$1: has results"
}

# Answers that are under way are forgotten; those that are stored are not asked again.
code=0 && hurt term answers-000-000.journal 4 1 stopped "${res[@]}" || code=$?
stopped stopped
evaluate 1 stopped "${res[@]}" || fail "stopped: exit code $?"
[ "$(asked stopped)" = $((items - 2)) ] || fail "stopped: $(asked stopped) were asked again"
same_results res stopped
code=0 && hurt term verdicts-000.journal 4 1 stopped-judging "${res[@]}" || code=$?
stopped stopped-judging
evaluate 2 stopped-judging "${res[@]}" || fail "stopped-judging: exit code $?"
! says stopped-judging asking || fail "stopped-judging: asks again"
same_results res stopped-judging
code=0 && hurt term answers-000-000.journal 4 1 stopped-at-once "${res[@]}" eval.batch_size=16 || code=$?
stopped stopped-at-once
evaluate 1 stopped-at-once "${res[@]}" || fail "stopped-at-once: exit code $?"
same_results res stopped-at-once

# To one of two ranks, and to the program that has started both.
code=0 && hurt term answers-000-001.journal 4 2 one-stopped "${res[@]}" || code=$?
says one-stopped '^rank 1: stopped on request' || fail "one-stopped: it does not say who"
stopped one-stopped
evaluate 1 one-stopped "${res[@]}" || fail "one-stopped: exit code $?"
[ "$(asked one-stopped)" -lt $((items - 2)) ] || fail "one-stopped: asks again"
same_results res one-stopped
(LD_PRELOAD=$build/tests/faults/libslow_disk.so SLOW_WEIGHTS_SECONDS=1 evaluate 2 loading "${res[@]}") 2>/dev/null &
pid=$!
wait_for 20 "loading: does not begin" says loading 'computing on'
kill -TERM "$(pgrep -P $pid)"
code=0
wait $pid || code=$?
stopped loading
[ ! -e "$folder/loading" ] || fail "loading: something is left"

# --- full disks

disks=0
for at in answers/:1 answers/:2 answers/:4 h5:1 h5:4 verdicts:1 verdicts:3 pictures:1 items.jsonl:1 results.json:1; do
    disks=$((disks + 1)) run=disk-$disks code=0
    hurt full "${at%:*}" "${at#*:}" 1 $run "${res[@]}" || code=$?
    refused 1 $run 'No space left on device\|disk is full'
    [ -z "$(find "$folder" -path "*/$run/*" \( -name '*.??????' -o -name run.lock -o -name '*.png' -o -name 'items*' -o -name 'results*' \))" ] ||
        fail "$run: something half-written is left"
    evaluate 1 $run "${res[@]}" || fail "$run: exit code $?"
    same_results res $run
done
# Results that are there stay until others are whole.
hurt full results.json 1 1 res-on-2 "${res[@]}" eval.segmenter=truth && fail "res-on-2: exit code 0"
[ -s "$folder/res-on-2/results.json" ] || fail "res-on-2: a full disk takes the results that were there"
cmp -s "$folder/res/items.jsonl" "$folder/res-on-2/items.jsonl" || fail "res-on-2: verdicts without their results"
evaluate 1 res-on-2 "${res[@]}" || fail "res-on-2: exit code $?"
same_results res res-on-2

# --- what does not go together

begin_slowly() { # an evaluation that takes its time
    (LD_PRELOAD=$build/tests/faults/libslow_disk.so SLOW_WEIGHTS_SECONDS=60 evaluate 1 "$@") 2>/dev/null &
    pid=$!
}
begin_slowly shared "${res[@]}"
wait_for 20 "shared: no lock" test -s "$folder/shared/run.lock"
for processes in 1 2; do
    code=0
    "$difflmm" eval "$folder/empty.yaml" "${settings[@]}" "${res[@]}" "eval.output_dir=$folder/shared" --processes $processes >"$folder/second-of-$processes.log" 2>&1 || code=$?
    refused 1 second-of-$processes "shared is in use by another run: process"
done
kill -KILL $(pgrep -P $pid)
wait $pid 2>/dev/null || true
evaluate 1 shared "${res[@]}" || fail "shared: exit code $?"
same_results res shared
! says shared warning || fail "shared: a warning after a kill"

before=$(cat "$folder/res/results.json")
cp -r "$here/checkpoints/tiny/llm" "$folder/llm"
# mixed TEXT SETTING...: refused, for the store has answers to something else.
mixed() {
    local text=$1 code=0
    shift
    evaluate 1 res "${res[@]}" "$@" || code=$?
    refused 1 res "answers-000-000.h5: was asked with $text; the answers do not go together"
}
mixed 'eval.prompt = "Describe .*", now it is "Where is {}?"' 'eval.prompt=Where is {}?'
mixed 'eval.layers = "\[\]", now it is "\[0\]"' 'eval.layers=[0]'
mixed 'eval.max_new_tokens = 12, now it is 13' eval.max_new_tokens=13
mixed 'eval.seed = .*' eval.seed=3
mixed 'items = ".* of res with CRC-32C .*' eval.sentences=first
printf ' ' >>"$folder/llm/model.safetensors"
mixed 'model.llm = "llm, [0-9]* bytes", now it is "llm, [0-9]* bytes"' "model.llm=$folder/llm"
[ "$before" = "$(cat "$folder/res/results.json")" ] || fail "a refused evaluation has written results"
nothing_left res

# --- judging again

without_models=(model.sd="$folder/missing" model.vision_tower="$folder/missing" model.llm="$folder/missing")
evaluate 1 again "${res[@]}" eval.segmenter=truth "${without_models[@]}" "eval.answers=$folder/res/answers" || fail "again: exit code $?"
! says again 'asking\|computing on' || fail "again: the model is opened"
! cmp -s "$folder/res/items.jsonl" "$folder/again/items.jsonl" || fail "again: another segmenter makes no difference"
evaluate 2 again-2 "${res[@]}" eval.segmenter=truth "eval.answers=$folder/res/answers" || fail "again-2: exit code $?"
same_results again again-2
for layers in heads layers; do
    evaluate 1 kept-$layers "${points[@]}" eval.keep=$layers || fail "kept-$layers: exit code $?"
    cmp -s "$folder/points/items.jsonl" "$folder/kept-$layers/items.jsonl" || fail "kept-$layers: judges otherwise than the mean"
done

# wrong CODE TEXT RUN SETTING...: refused with this one line; nothing is left of it.
wrong() {
    local status=$1 text=$2 run=$3 code=0
    shift 3
    evaluate 1 "$run" "$@" || code=$?
    refused "$status" "$run" "$text"
    [ ! -e "$folder/$run" ] || fail "$run: something is left: $(find "$folder/$run")"
}
wrong 2 "eval.answers: .* holds no answers" no-answers "${res[@]}" "eval.answers=$folder/missing"
wrong 1 "points/answers: 2 of 5 items have no answer there, the first is '500003'" fewer-answers "${points[@]}" eval.samples=5 "eval.answers=$folder/points/answers"
wrong 2 "eval.layers: .*the stored answers are means over eval.layers = \[\]" averaged "${res[@]}" 'eval.layers=[0]' "eval.answers=$folder/res/answers"
wrong 1 "eval.layers: 99 is not there: the stored answers have" no-layer "${points[@]}" 'eval.layers=[99]' "eval.answers=$folder/kept-layers/answers"

# --- annotations

mkdir "$folder/bad"
cp -r "$world/images" "$folder/bad/images"
image=$(find "$folder/bad/images" -name '*.jpg' | sort | sed -n 2p) # not the first that is asked about
bad=("eval.image_folder=$folder/bad/images")
cp "$image" "$folder/picture.jpg"
rm "$image"
wrong 1 "the picture of image 500001: $image: cannot be read: No such file" missing-picture "${points[@]}" "${bad[@]}"
head -c 200 "$folder/picture.jpg" >"$image"
wrong_later() { # the same, found when the picture is asked about: what was asked before stays
    local text=$1 run=$2 code=0
    shift 2
    evaluate 1 "$run" "$@" || code=$?
    refused 1 "$run" "$text"
    [ -z "$(find "$folder/$run" -name '*.h5' -o -name '*.??????' -o -name run.lock -o -name '*.json*')" ] || fail "$run: something is left"
}
wrong_later "$image" cut-picture "${points[@]}" "${bad[@]}"
wrong_later "$image" cut-picture-at-once "${points[@]}" "${bad[@]}" eval.batch_size=16
cp "$folder/points/pictures/000.png" "$image"
wrong_later "$image is .* pixels, but the annotations of image 500001 say" other-picture "${points[@]}" "${bad[@]}"
cp "$folder/picture.jpg" "$image"
evaluate 1 other-picture "${points[@]}" "${bad[@]}" || fail "other-picture: exit code $?"
[ "$(asked other-picture)" = 2 ] || fail "other-picture: $(asked other-picture) were asked"
cmp -s "$folder/points/items.jsonl" "$folder/other-picture/items.jsonl" || fail "other-picture: other bits"
evaluate 1 cut-picture-at-once "${points[@]}" "${bad[@]}" eval.batch_size=16 || fail "cut-picture-at-once: exit code $?"
[ "$(asked cut-picture-at-once)" = 2 ] || fail "cut-picture-at-once: what was asked before the picture is asked again"

# spoil FILE EXPRESSION: a copy of the world's file, changed by sed; into $spoilt.
spoil() {
    spoilt=$folder/bad/$(basename "$1")
    LC_ALL=C sed "$2" "$1" >"$spoilt"
    ! cmp -s "$1" "$spoilt" || fail "$2 changes nothing"
}
spoil "$world/instances.json" 's/"counts":"/"counts":"ooo9/'
wrong 1 "$spoilt: .*id 2500001.*" overrun "${points[@]}" "eval.annotations=$spoilt"
spoil "$world/instances.json" 's/"category_id":[0-9]*/"category_id":99/'
wrong 1 "$spoilt: .*id 2500001.*99" category "${points[@]}" "eval.annotations=$spoilt"
spoil "$world/instances.json" 's/"image_id":[0-9]*/"image_id":77/'
wrong 1 "$spoilt: .*id 2500001.*77" image "${points[@]}" "eval.annotations=$spoilt"
spoil "$world/instances.json" 's/"id":500001,/"id":500000,/'
wrong 1 "$spoilt: .*500000" twice "${points[@]}" "eval.annotations=$spoilt"
spoil "$world/instances.json" 's/.....$//'
wrong 1 "$spoilt:1: not valid JSON" truncated "${points[@]}" "eval.annotations=$spoilt"
cp "$world/refcoco/instances.json" "$folder/bad/instances.json"
spoil "$world/refcoco/refs(unc).p" '0,/}(X/s//}RX/'
wrong 1 "refs(unc).p: pickle, byte" opcode "${res[@]}" "eval.annotations=$spoilt"
spoil "$world/refcoco/refs(unc).p" 's/val/vax/g'
wrong 1 "refs(unc).p: .*val" split "${res[@]}" "eval.annotations=$spoilt"
wrong 1 "refs(unc).p: .*nowhere" unknown-split "${res[@]}" eval.split=nowhere
spoil "$world/pope/coco_pope_popular.json" '3s/"yes"/"maybe"/'
wrong 1 "$spoilt:3: \"label\" is \"maybe\"" label "${pope[@]}" "eval.annotations=$spoilt"
spoil "$world/pope/coco_pope_random.json" $'2s/"no"/"\xff"/'
wrong 1 "$spoilt:2: not valid JSON, one question a line: unable to decode byte 0xff" not-utf8 "${pope[@]}" "eval.annotations=$spoilt"
wrong 1 "has no \.\.\._pope_random.json" no-pope "${pope[@]}" "eval.annotations=$world"
spoil "$world/gqa/testdev_balanced_questions.json" 's/"answer":"[a-z]*"/"answer":7/'
wrong 1 "$spoilt: question 50000000: \"answer\" is 7; expected a text" no-answer "${gqa[@]}" "eval.annotations=$spoilt"
spoil "$world/gqa/testdev_balanced_questions.json" $'s/ground/gr\xffund/'
wrong 1 "$spoilt:1: not valid JSON: unable to decode byte 0xff" gqa-not-utf8 "${gqa[@]}" "eval.annotations=$spoilt"
wrong 1 "instances.json: question info: \"question\" is missing; expected a text" no-gqa "${gqa[@]}" "eval.annotations=$world/instances.json"
spoil "$world/png/panoptic_val2017.json" 's/"category_id":[0-9]*/"category_id":99/'
wrong 1 "$spoilt: .*500000.*99" segment-category "${png[@]}" "eval.segments=$spoilt"
spoil "$world/png/png_coco_val2017.json" 's/"segment_ids":\["[0-9]*/"segment_ids":["5/'
wrong 1 "$spoilt: narrative 0: segment 0: .*no segment of image 500000" segment "${png[@]}" "eval.annotations=$spoilt"
