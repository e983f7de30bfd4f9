#!/usr/bin/env bash
# A loss or a gradient that is not finite: on any number of processes the job ends, once, with the kernel and the tensor that were first.
#
#   tests/faults/not_finite.sh [BUILD]
set -euo pipefail
export BUILD=${1:-}
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"

# LoRA's B begins as zeros: what it adds is zero whatever the scale, but its gradient is of the scale, and grows with the step's samples,
# of which there must be enough for every rank.
"$build/data/tiny/make_tiny_world" "$folder/larger" --seed 5 --train 64 --test 2 --quiet
overflow=(model.dtype=float32 lora.lora_r=1 "data.train=$folder/larger/train/llava_v1_5_mix665k.json" "data.image_folder=$folder/larger/train")

# refused PROCESSES RUN PATTERN [SETTING ...]
refused() {
    local processes=$1 run=$2 pattern=$3 code=0
    shift 3
    prepare "$processes" "$run" "${overflow[@]}" "training.gradient_accumulation_steps=$((32 * processes))" "$@"
    "${command[@]}" >"$folder/$run.log" 2>&1 || code=$?
    [ $code -eq 1 ] || fail "$run: exit code $code"
    [ "$(grep -c '^difflmm train:' "$folder/$run.log")" = 1 ] || fail "$run: not one error"
    says "$run" "$pattern" || fail "$run: it does not say: $pattern"
    wait_for 10 "$run: processes are left behind" is_quiet
    echo "$run: $(grep '^difflmm train:' "$folder/$run.log")"
}
gradient="lora_B.weight' is not finite although the loss is .* first such values: .* of linear_weight_gradient, .*lora_B.weight'"
for processes in 1 2; do
    refused $processes "gradient-$processes" "$gradient" lora.lora_alpha=1.5e37
    refused $processes "loss-$processes" 'the loss is not finite. The first such values: .* of the values of scale' lora.lora_alpha=1e38
done
refused 2 sharded "$gradient" lora.lora_alpha=1.5e37 training.shard_optimizer=true
