#!/usr/bin/env bash
# SIGTERM, SIGINT and SIGUSR1 finish the step, save and exit 0: sent to the program, to the one that --processes starts, to mpirun, to a
# single rank. Resumed, the run ends with the bits of one that was never stopped.
#
#   tests/faults/signals.sh [BUILD]
set -euo pipefail
export BUILD=${1:-}
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"

for processes in 1 2; do finish $processes reference-$processes; done

mpirun_of() { pgrep -P "$1"; }
second_rank_of() { pgrep -P "$(mpirun_of "$1")" | sed -n 2p; }
itself() { echo "$1"; }

# stop PROCESSES SIGNAL WHO: trains, sends the signal to what WHO makes of the program's process, resumes.
stop() {
    local processes=$1 signal=$2 who=$3 run=$3-$2-$1 code=0 pid
    prepare "$processes" "$run" training.save_steps=0
    "${command[@]}" >"$folder/$run.log" 2>&1 &
    pid=$!
    wait_for 60 "$run does not train" has_losses "$run" 2
    kill "-$signal" "$($who $pid)"
    wait $pid || code=$?
    [ $code -eq 0 ] || fail "$run: exit code $code after SIG$signal"
    wait_for 30 "$run: processes are left behind" is_quiet
    local step
    step=$(newest "$run")
    if [ "$step" -eq 0 ] || [ "$step" -ge "$steps" ]; then fail "$run: stopped at step $step"; fi
    [ "$step" -eq "$(losses "$run" | wc -l)" ] || fail "$run: the step that was finished is not the one that was saved"
    finish "$processes" "$run"
    same "reference-$processes" "$run"
    echo "SIG$signal to $who of $processes: saved step $step, exit 0, resumed to the same bits"
}

for signal in TERM INT USR1; do
    stop 1 $signal itself
    stop 2 $signal itself
done
stop 2 USR1 mpirun_of
stop 2 TERM second_rank_of

# A second Ctrl-C does not wait for the step.
prepare 2 twice
"${command[@]}" >"$folder/twice.log" 2>&1 &
pid=$!
wait_for 60 "no training" has_losses twice 1
mapfile -t ranks < <(pgrep -P "$(mpirun_of $pid)")
kill -STOP "${ranks[1]}" # so that no step can be finished
kill -INT $pid
sleep 0.2
kill -INT $pid
wait_for 20 "a second SIGINT does not end the job" is_quiet
echo "SIGINT twice: ended at once"
