# Sourced by the scripts beside it, with BUILD (the build folder) set. A folder for everything, a tiny world in it, a short training
# run of stage 2 (LoRA with dropout, a save after every step), and what to look at afterwards.
# shellcheck shell=bash disable=SC2034
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$(cd "${BUILD:-$here/build}" && pwd)
difflmm=$build/difflmm
folder=$(mktemp -d "${TMPDIR:-/tmp}/difflmm-faults-XXXXXX")

# Processes are told by the folder's name on their command lines.
running() { pgrep -f "^[^ ]*(difflmm|mpirun|srun).*$folder" || true; }

clean_up() {
    local code=$? processes
    processes=$(running)
    # shellcheck disable=SC2086
    [ -z "$processes" ] || kill -KILL $processes 2>/dev/null || true
    if [ $code -ne 0 ] && [ -n "${KEEP:-}" ]; then
        echo "kept: $folder" >&2
    else
        rm -rf "$folder"
    fi
}
trap clean_up EXIT
# A command that fails where nobody looks ends the script: it says which.
trap 'echo "FAILED: line $LINENO of ${0##*/}: $BASH_COMMAND" >&2' ERR

fail() {
    echo "FAILED: $*" >&2
    local log
    # shellcheck disable=SC2012
    log=$(ls -t "$folder"/*.log 2>/dev/null | head -n 1)
    [ -z "$log" ] || { echo "-- ${log##*/}" && tail -n 15 "$log"; } >&2
    exit 1
}

"$build/data/tiny/make_tiny_world" "$folder/world" --seed 5 --train 20 --test 2 --quiet
echo '{}' >"$folder/empty.yaml"
steps=${steps:-20}
settings=(
    "model.sd=$here/checkpoints/tiny/sd" "model.vision_tower=$here/checkpoints/tiny/clip" "model.llm=$here/checkpoints/tiny/llm"
    "data.train=$folder/world/train/llava_v1_5_mix665k.json" "data.image_folder=$folder/world/train"
    data.image_size=128 data.model_max_length=160 data.image_aspect_ratio=pad data.group_by_modality_length=true
    lora.lora_enable=true lora.lora_r=4 lora.lora_alpha=8 lora.lora_dropout=0.1
    training.device=cpu training.threads=1 training.learning_rate=1e-3 training.logging_steps=1 training.tensorboard=false
    "training.max_steps=$steps" training.save_steps=1 training.save_total_limit=2 training.distributed_timeout=5
)

# prepare PROCESSES RUN [SETTING ...]: fills the array `command`, which trains in $folder/RUN; a step has two samples in any case.
command=()
prepare() {
    local processes=$1 run=$2
    shift 2
    command=("$difflmm" train "$folder/empty.yaml" "${settings[@]}" "training.output_dir=$folder/$run"
        "training.per_device_train_batch_size=$((2 / processes))" "$@")
    [ "$processes" = 1 ] || command+=(--processes "$processes")
}

# For mpirun without --processes: root, more processes than cores, no core of its own for each.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_btl_vader_single_copy_mechanism=none
export PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1
export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe PRTE_MCA_hwloc_default_binding_policy=none

# finish PROCESSES RUN [SETTING ...]: trains to the end.
finish() {
    prepare "$@"
    "${command[@]}" >"$folder/$2.log" 2>&1 || fail "training $2 ended with $?"
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds.
wait_for() {
    local end=$(($(date +%s) + $1)) what=$2
    shift 2
    until "$@"; do
        [ "$(date +%s)" -le $end ] || fail "$what"
        sleep 0.05
    done
}

is_quiet() { [ -z "$(running)" ]; }
has_losses() { [ "$(losses "$1" 2>/dev/null | wc -l)" -ge "$2" ]; }
says() { grep -qs -- "$2" "$folder/$1.log"; }
has_step() { [ "$(newest "$1")" -ge "$2" ]; }

# The highest step that has a checkpoint, 0 if none has.
newest() {
    find "$folder/$1" -name 'checkpoint-*.h5' -printf '%f\n' 2>/dev/null | sed 's/[^0-9]*\([0-9]*\).*/\1/' | sort -n | tail -n 1 | grep . || echo 0
}

# "step loss" of every step.
losses() { sed -n 's/^{"step": \([0-9]*\), "kind": "train", "loss": \([^,]*\),.*/\1 \2/p' "$folder/$1/metrics.jsonl"; }

# same A B: two finished runs have the same weights, moments and losses, bit by bit.
same() {
    "$build/tests/faults/compare_checkpoints" "$folder/$1/checkpoint-$steps.h5" "$folder/$2/checkpoint-$steps.h5" || fail "$2 is not $1"
    [ "$(losses "$1" | wc -l)" = "$steps" ] || fail "$1 has losses of other than $steps steps"
    [ "$(losses "$1")" = "$(losses "$2")" ] || fail "the losses of $2 are not those of $1"
}

milliseconds() { echo $(($(date +%s%N) / 1000000)); }
