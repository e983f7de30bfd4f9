#!/usr/bin/env bash
# A rank that dies or hangs: the others stop within the time limit and say which; no process is left. One that dies before the first
# step is noticed as fast. A slow disk is not a rank that hangs. Ranks that were started with different settings or data say so, once; those
# that compute with other kernels are told, and stopped as soon as their weights differ.
#
#   tests/faults/lost_rank.sh [BUILD]
set -euo pipefail
export BUILD=${1:-}
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"

# lose SIGNAL RANK LIMIT TEXT: sends a signal to one of three ranks, where the time limit is LIMIT seconds; the job must end soon after it
# (at once when the rank is dead), and say TEXT.
lose() {
    local run=$1-$2-$3 pid ranks code=0 began most=$(($3 + 10))
    [ "$1" = STOP ] || most=10
    prepare 1 "$run" training.max_steps=1000000 training.save_steps=0 "training.distributed_timeout=$3"
    "${command[@]}" --processes 3 >"$folder/$run.log" 2>&1 &
    pid=$!
    wait_for 60 "$run does not train" has_losses "$run" 2
    mapfile -t ranks < <(pgrep -P "$(pgrep -P $pid)")
    kill "-$1" "${ranks[$2]}"
    began=$(milliseconds)
    wait $pid || code=$?
    wait_for 10 "$run: processes are left behind" is_quiet
    local seconds=$((($(milliseconds) - began + 500) / 1000))
    [ $code -ne 0 ] || fail "$run: exit 0"
    [ $seconds -lt $most ] || fail "$run: $seconds seconds"
    says "$run" "$4" || fail "$run: it does not say: $4"
    echo "SIG$1 to rank $2, time limit $3 s: ended after $seconds s: $(grep -aom 1 -- "$4" "$folder/$run.log")"
}
lose KILL 0 45 'process rank 0 .*exited on'
lose KILL 2 45 'process rank 2 .*exited on'
lose STOP 0 5 'waited . seconds in vain for rank 0 ([^)]*): died or hangs'
lose STOP 1 5 'waited . seconds in vain for rank 1 ([^)]*): died or hangs'
lose STOP 2 9 'waited [19][0-9]* seconds in vain for rank 2 ([^)]*): died or hangs'

# --- before the first step

# Rank 1 is kept waiting there by its configuration, a pipe into which nobody writes.
mkfifo "$folder/pipe.yaml"
exec 9<>"$folder/pipe.yaml"
cat >"$folder/pipe.sh" <<'END'
#!/bin/sh
# pipe.sh PROGRAM train CONFIG SETTING...
program=$1 config=$3
shift 3
[ "${OMPI_COMM_WORLD_RANK:-$PMIX_RANK}" != 1 ] || config=${0%/*}/pipe.yaml
exec "$program" train "$config" "$@"
END
chmod +x "$folder/pipe.sh"
lose_loading() {
    local pid rank code=0 began
    prepare 1 loading training.distributed_timeout=45
    mpirun -n 3 "$folder/pipe.sh" "${command[@]}" 9>&- >"$folder/loading.log" 2>&1 &
    pid=$!
    is_reading() { rank=$(pgrep -f "^$difflmm .*pipe.yaml") && find "/proc/$rank/fd" -lname '*/pipe.yaml' | grep -q .; }
    wait_for 60 "rank 1 does not come to its configuration" is_reading
    kill -KILL "$rank"
    began=$(milliseconds)
    wait $pid || code=$?
    wait_for 10 "loading: processes are left behind" is_quiet
    local seconds=$((($(milliseconds) - began + 500) / 1000))
    [ $code -ne 0 ] && [ $seconds -lt 10 ] || fail "loading: exit code $code after $seconds seconds"
    says loading 'process rank 1 .*exited on' || fail "loading: it does not say that rank 1 died"
    echo "SIGKILL to rank 1 before the first step: ended after $seconds s"
}
lose_loading

# --- a slow disk

# Writing a checkpoint takes longer than the time limit; only rank 0 waits for it.
prepare 2 slow-disk training.distributed_timeout=2 training.max_steps=2 training.save_steps=1
began=$(milliseconds)
LD_PRELOAD=$build/tests/faults/libslow_disk.so SLOW_DISK_SECONDS=4 "${command[@]}" >"$folder/slow-disk.log" 2>&1 || fail "slow disk: exit code $?"
[ -e "$folder/slow-disk/checkpoint-2.h5" ] || fail "slow disk: no last checkpoint"
[ $(($(milliseconds) - began)) -gt 8000 ] || fail "the disk was not slow"
echo "saves of 4 s with a time limit of 2 s: trained to the end"

# --- ranks that are not started alike

cat >"$folder/rank.sh" <<'END'
#!/bin/sh
# rank.sh FOLDER_OF_RANK_1 SETTING_OF_RANK_1 COMMAND...
there=$1 setting=$2
shift 2
[ "${OMPI_COMM_WORLD_RANK:-$PMIX_RANK}" != 1 ] || { cd "$there" && set -- "$@" "$setting"; }
exec "$@"
END
chmod +x "$folder/rank.sh"
mkdir "$folder/same" "$folder/other" "$folder/without"
cp "$folder/world/train/llava_v1_5_mix665k.json" "$folder/same/data.json"
sed 's/a /the /' "$folder/same/data.json" >"$folder/other/data.json"
cd "$folder/same"

# differ NAME CODE FOLDER SETTING TEXT
differ() {
    local code=0 lines
    prepare 1 "$1" data.train=data.json
    mpirun -n 2 "$folder/rank.sh" "$folder/$3" "$4" "${command[@]}" >"$folder/$1.log" 2>&1 || code=$?
    [ $code -eq "$2" ] || fail "$1: exit code $code"
    says "$1" "$5" || fail "$1: it does not say: $5"
    lines=$(grep -c '^difflmm train:' "$folder/$1.log")
    [ "$lines" = 1 ] || fail "$1: $lines errors"
    wait_for 10 "$1: processes are left behind" is_quiet
    [ -z "$(find "$folder/$1" -name 'checkpoint-*' 2>/dev/null)" ] || fail "$1: trained all the same"
    echo "$1: $(grep '^difflmm train:' "$folder/$1.log" | sed "s|$folder|...|g")"
}
differ settings 1 same training.learning_rate=2e-3 "the configuration of rank 1 differs from rank 0's"
differ data 1 other training.threads=1 "the training data (data.train) of rank 1 differs from rank 0's"
differ missing 1 without training.threads=1 "rank 1: .*data.json"
differ mistake 2 same training.learning_rat=2e-3 "rank 1: .*learning_rat"

# --- ranks that compute with other kernels

cat >"$folder/kernels.sh" <<'END'
#!/bin/sh
# kernels.sh LEVEL_OF_RANK_1 COMMAND...
level=$1
shift
[ "${OMPI_COMM_WORLD_RANK:-$PMIX_RANK}" != 1 ] || export DIFFLMM_CPU_LEVEL="$level"
exec "$@"
END
chmod +x "$folder/kernels.sh"
# drift RUN [SETTING...]
drift() {
    local run=$1 code=0
    prepare 1 "$run" data.train=data.json training.save_steps=4 "${@:2}"
    mpirun -n 2 "$folder/kernels.sh" v2 "${command[@]}" >"$folder/$run.log" 2>&1 || code=$?
    [ $code -eq 1 ] || fail "$run: exit code $code"
    says "$run" "warning: rank 1 computes with other kernels (cpu v2) than rank 0 (cpu v" || fail "$run: no warning"
    says "$run" "^difflmm train: after step 4 '.*' of rank 1 is not .* the same after step 0" || fail "$run: it does not say where the ranks differ"
    [ "$(grep -c '^difflmm train:' "$folder/$run.log")" = 1 ] || fail "$run: not one error"
    [ "$(newest "$run")" -eq 0 ] || fail "$run: saved what the ranks do not agree on"
    echo "$run: $(grep '^difflmm train:' "$folder/$run.log")"
}
if grep -q ' avx2 ' /proc/cpuinfo; then
    drift kernels
    # What one rank alone updates, and hands to the others, cannot drift.
    prepare 1 sharded data.train=data.json training.max_steps=4 training.save_steps=2 training.shard_optimizer=true
    mpirun -n 2 "$folder/kernels.sh" v2 "${command[@]}" >"$folder/sharded.log" 2>&1 || fail "sharded: exit code $?"
    says sharded "warning: rank 1 computes with other kernels" && [ "$(newest sharded)" -eq 4 ] || fail "sharded: no warning, or not trained"
else
    echo "skipped: this processor has one kind of kernels"
fi
