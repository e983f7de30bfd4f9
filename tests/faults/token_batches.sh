#!/usr/bin/env bash
# Micro-batches that are packed by their tokens (data.tokens_per_batch): a run that was stopped within an epoch, or killed, goes on with
# exactly the samples that remain, with other threads and from a pack instead of JSON; processes share the same steps; and what would make
# it another run is refused.
#
#   tests/faults/token_batches.sh [BUILD]
set -euo pipefail
export BUILD=${1:-}
steps=9
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"
packed=(data.tokens_per_batch=400 training.gradient_accumulation_steps=2 training.save_total_limit=0 data.cache_features=true)

"$difflmm" prepare "$folder/empty.yaml" "${settings[@]}" --out "$folder/packs" >"$folder/pack.log" 2>&1 || fail "preparing ended with $?"
pack=$folder/packs/llava_v1_5_mix665k.pack.h5

# ---- what is foreseen

"$difflmm" plan "$folder/empty.yaml" "${settings[@]}" "${packed[@]}" "training.output_dir=$folder/none" --json >"$folder/plan.json" 2>"$folder/plan.log" ||
    fail "plan ended with $?"
planned() { sed -n "s/.*\"$1\": \([0-9.]*\).*/\1/p" "$folder/plan.json" | head -n 1; }
epoch=$(planned steps_per_epoch)
[ "$epoch" -ge 3 ] && [ "$epoch" -lt $((steps - 1)) ] || fail "an epoch of $epoch steps"
finish 1 whole "${packed[@]}"
finish 1 epochs "${packed[@]}" training.max_steps=-1 training.num_train_epochs=1
[ "$(newest epochs)" = "$epoch" ] || fail "an epoch was $(newest epochs) steps, foreseen were $epoch"
echo "an epoch has the $epoch steps that were foreseen"

# ---- going on within an epoch

for at in 2 $((epoch + 1)); do
    mkdir "$folder/from-$at"
    cp "$folder/whole/checkpoint-$at.h5" "$folder/whole/metrics.jsonl" "$folder/from-$at"
    finish 1 "from-$at" "${packed[@]}" "data.train=$pack" data.dataloader_num_workers=3 data.dataloader_prefetch_factor=5
    says "from-$at" "going on from .*step $at" || fail "it began anew"
    same whole "from-$at"
done
prepare 1 killed "${packed[@]}" "data.train=$pack"
"${command[@]}" >"$folder/killed.log" 2>&1 &
wait_for 120 "no checkpoint to kill after" has_step killed 2
kill -KILL $! 2>/dev/null || true
wait $! 2>/dev/null || true
finish 1 killed "${packed[@]}" data.dataloader_num_workers=2
same whole killed
echo "stopped and killed runs have gone on with the samples that remained, from JSON and from a pack"

# ---- several processes

# "step supervised-tokens" of every step.
supervised() { sed -n 's/^{"step": \([0-9]*\), "kind": "train",.*"supervised_tokens": \([0-9]*\).*/\1 \2/p' "$folder/$1/metrics.jsonl"; }
finish 2 two "${packed[@]}" training.gradient_accumulation_steps=1
[ "$(supervised whole)" = "$(supervised two)" ] || fail "two processes have other samples in a step"
echo "two processes have the same samples in every step"

# ---- what would be another run

refused() { # refused WHAT MESSAGE [SETTING ...]
    local code=0
    prepare 1 whole "${packed[@]}" "${@:3}"
    "${command[@]}" >"$folder/refused.log" 2>&1 || code=$?
    [ $code -ne 0 ] || fail "$1 was not refused"
    says refused "$2" || fail "the message about $1 does not say '$2'"
}
refused "another budget" "data.tokens_per_batch was 400, is 500 (another run)" data.tokens_per_batch=500
refused "samples instead of tokens" "data.tokens_per_batch was 400, is 0 (another run)" data.tokens_per_batch=0
refused "a longer step" "had 2 micro-batches and would now have 3" training.gradient_accumulation_steps=3
refused "a negative budget" "data.tokens_per_batch" data.tokens_per_batch=-1
finish 1 whole "${packed[@]}" training.per_device_train_batch_size=7
says whole "is trained: step $steps" || fail "a setting without meaning has changed something"
echo "another budget and other steps are refused"
