#!/usr/bin/env bash
# One run at a time in a folder: a second one is refused, by name of the first, and does not disturb it; what a killed run leaves behind
# hinders nobody; a file system without locks is a warning. Processes that were started as several and do not see each other are
# refused, too: each would be such a run.
#
#   tests/faults/shared_folder.sh [BUILD]
set -euo pipefail
export BUILD=${1:-}
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"

# begin RUN: trains for ever, in the background, until it has a loss more than before.
begin() {
    prepare 1 "$1" training.max_steps=1000000 training.save_steps=0
    "${command[@]}" >"$folder/$1.log" 2>&1 &
    pid=$!
    wait_for 60 "$1 does not train" has_losses "$1" $(($(losses "$1" 2>/dev/null | wc -l) + 2))
}

# refused CODE LOG TEXT COMMAND...
refused() {
    local expected=$1 log=$2 text=$3 code=0
    shift 3
    "$@" >"$folder/$log.log" 2>&1 || code=$?
    [ $code -eq "$expected" ] || fail "$log: exit code $code"
    says "$log" "$text" || fail "$log: it does not say: $text"
    [ "$(grep -c '^difflmm train:' "$folder/$log.log")" = 1 ] || fail "$log: not one error"
    echo "$log: $(grep '^difflmm train:' "$folder/$log.log" | sed "s|$folder|...|g")"
}

begin one
for processes in 1 2; do
    prepare $processes one training.learning_rate=5e-4
    refused 1 "second-of-$processes" "one is in use by another run: process $pid of host $(hostname), since 20" "${command[@]}"
done
kill -TERM $pid
wait $pid || fail "the first run ended with $?"
[ "$(newest one)" -eq "$(losses one | wc -l)" ] || fail "the first run was disturbed"
grep -q 'learning_rate: 0.001' "$folder/one/config.yaml" || fail "the second run has written into the folder"
[ ! -e "$folder/one/run.lock" ] || fail "the lock is left behind"

begin one
kill -KILL $pid
wait $pid 2>/dev/null || true
[ -e "$folder/one/run.lock" ] || fail "a killed run removed its lock"
begin one
says one "going on from" || fail "it does not go on after a kill"
! says one "warning: .*run" || fail "a warning after a kill on the same machine"
kill -TERM $pid
wait $pid || fail "the run after a kill ended with $?"
echo "after SIGKILL: goes on"

echo "host elsewhere pid 17 started 2026-11-30T10:00:00Z" >"$folder/one/run.lock"
begin one
says one "last used by process 17 of host elsewhere .*has not ended in order" || fail "no warning of another machine's run"
kill -TERM $pid
wait $pid

export LD_PRELOAD=$build/tests/faults/libno_locks.so
begin lockless
says lockless "warning: .*the file system has no locks" || fail "no warning of a file system without locks"
prepare 1 lockless
refused 1 second-lockless "in use by another run: process $pid" "${command[@]}"
kill -TERM $pid
wait $pid || fail "without locks the run ended with $?"
unset LD_PRELOAD

prepare 1 alone
for variable in SLURM_STEP_NUM_TASKS PMI_SIZE; do
    refused 2 "$variable" "8 processes were started ($variable), but MPI sees this one alone.*srun --mpi=pmix" env $variable=8 "${command[@]}"
done
refused 2 srun "8 processes were started (SLURM_STEP_NUM_TASKS), but MPI sees this one alone" env SLURM_STEP_NUM_TASKS=8 SLURM_NTASKS=8 \
    SLURM_JOB_ID=77 SLURM_JOBID=77 SLURM_STEP_ID=0 SLURM_STEPID=0 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 "${command[@]}"
[ ! -e "$folder/alone" ] || fail "a refused run made its folder"
SLURM_NTASKS=8 finish 1 alone training.max_steps=1
