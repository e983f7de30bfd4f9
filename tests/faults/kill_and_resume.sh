#!/usr/bin/env bash
# Kills training runs of one and of two processes with SIGKILL at random instants, resumes them until they are done, and compares weights,
# moments and losses with runs that nobody touched: they are the same, bit by bit. Every step saves, so many kills fall into a save. Every
# other run has rows of a budget of tokens (data.tokens_per_batch) in place of micro-batches of so many samples.
#
#   tests/faults/kill_and_resume.sh [--kills N] [--seed N] [BUILD]     (200 kills, seed 1, build/)
set -euo pipefail
kills=200 seed=1
while [ $# -gt 0 ]; do
    case $1 in
    --kills) kills=${2:?--kills needs a number} && shift 2 ;;
    --seed) seed=${2:?--seed needs a number} && shift 2 ;;
    -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0" && exit 0 ;;
    *) export BUILD=$1 && shift ;;
    esac
done
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"
RANDOM=$seed

declare -A whole # milliseconds of an undisturbed run, by processes and budget
for processes in 1 2; do
    for tokens in 0 400; do
        began=$(milliseconds)
        finish $processes "reference-$processes-$tokens" data.tokens_per_batch=$tokens
        whole[$processes-$tokens]=$(($(milliseconds) - began))
    done
done

# What a kill hits: the program; or, of two processes, one rank, mpirun, or the program that started it.
pick_victim() {
    victim=$pid
    [ "$processes" = 2 ] || return 0
    local mpirun ranks choice=$((RANDOM % 4))
    mpirun=$(pgrep -P "$pid" || true)
    mapfile -t ranks < <(pgrep -P "${mpirun:-$pid}")
    case $choice in
    0 | 1) victim=${ranks[$choice]:-$pid} ;;
    2) victim=${mpirun:-$pid} ;;
    esac
}

killed=0 in_save=0 one_of_two=0 in_rows=0 runs=0
while [ $killed -lt "$kills" ]; do
    processes=$((runs % 3 == 2 ? 2 : 1)) tokens=$((runs % 2 ? 400 : 0)) run=run-$runs
    while true; do
        before=$(newest $run)
        prepare $processes $run data.tokens_per_batch=$tokens
        "${command[@]}" >"$folder/$run.log" 2>&1 &
        pid=$!
        # The last lives of a run end by themselves, so that the number of kills is exact.
        if [ $killed -lt "$kills" ]; then
            delay=$(((RANDOM * 32768 + RANDOM) % ${whole[$processes-$tokens]}))
            sleep "$((delay / 1000)).$(printf %03d $((delay % 1000)))"
            pick_victim
            kill -KILL "$victim" 2>/dev/null || true
        fi
        code=0
        wait $pid 2>/dev/null || code=$?
        wait_for 30 "processes are left behind" is_quiet
        [ "$(newest $run)" -ge "$before" ] || fail "$run has lost checkpoint-$before.h5"
        [ $code -ne 0 ] || break
        [ $killed -lt "$kills" ] || fail "$run ended with $code"
        killed=$((killed + 1))
        [ $processes = 1 ] || one_of_two=$((one_of_two + 1))
        [ $tokens = 0 ] || in_rows=$((in_rows + 1))
        [ -z "$(find "$folder/$run" -name 'checkpoint-*.h5.??????' 2>/dev/null)" ] || in_save=$((in_save + 1))
    done
    same "reference-$processes-$tokens" $run
    left=$(find "$folder/$run" -name '*.??????')
    [ -z "$left" ] || fail "$run leaves behind $left"
    rm -rf "${folder:?}/$run"
    runs=$((runs + 1))
    [ ! -t 2 ] || printf '\r%d of %d kills, %d runs' $killed "$kills" $runs >&2
done
[ ! -t 2 ] || echo >&2
echo "$killed kills ($in_save during a save, $one_of_two in jobs of two processes, $in_rows of rows of a budget) over $runs runs of $steps steps: every run ended with the bits of one that was never stopped"
