#!/usr/bin/env bash
# SIGTERM, SIGINT and SIGUSR1 finish the step, save and exit 0: sent to the program, to the one that --processes starts, to mpirun, to a
# single rank. Resumed, the run ends with the bits of one that was never stopped. While a run is prepared they end it as it is; held-out
# loss and samples are left out for them. A second one ends the program at once.
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

# --- before the first step

# Samples of 4096 images, by as many names of the world's twenty.
{ # the data set that names them
    echo '['
    for i in {0..4095}; do
        path=
        for bit in {0..11}; do if ((i >> bit & 1)); then path+=./; else path+=.//; fi; done
        printf '{"id": "%d", "image": "%simages/%012d.jpg", "conversations": [{"from": "human", "value": "<image>\\nWhat?"}, {"from": "gpt", "value": "This."}]}' \
            "$i" "$path" $((i % 20))
        ((i == 4095)) || echo ,
    done
    echo ']'
} >"$folder/many.json"

# stop_preparing PROCESSES WHAT WHO SETTING...: a signal once is_WHAT ends the run without a step; then it trains as ever.
stop_preparing() {
    local processes=$1 what=$2 run=$2-$1 who=$3 code=0 began pid
    shift 3
    prepare "$processes" "$run" training.save_steps=0 "$@"
    "${command[@]}" >"$folder/$run.log" 2>&1 &
    pid=$!
    wait_for 60 "$run does not begin" "is_$what" "$run"
    kill -TERM "$($who $pid)"
    began=$(milliseconds)
    wait $pid || code=$?
    [ $code -eq 0 ] || fail "$run: exit code $code"
    says "$run" "stopped on request while the run was being prepared: nothing has been trained, and nothing is lost" || fail "$run: it does not say so"
    [ "$(newest "$run")" -eq 0 ] && [ "$(losses "$run" 2>/dev/null | wc -l)" -eq 0 ] || fail "$run: has trained"
    [ $(($(milliseconds) - began)) -lt 20000 ] || fail "$run: it took $(($(milliseconds) - began)) ms"
    [ ! -e "$folder/$run/run.lock" ] || fail "$run: the lock is left behind"
    wait_for 30 "$run: processes are left behind" is_quiet
    echo "SIGTERM to $who of $processes, $what: stopped after $(($(milliseconds) - began)) ms"
}
is_loading() { says "$1" 'computing on'; }
# The record of the run is written just before the cache is filled, which then takes seconds.
is_filling() { [ -s "$folder/$1/runs.jsonl" ] && sleep 0.5; }
many=("data.train=$folder/many.json" data.cache_features=true)
stop_preparing 1 filling itself "${many[@]}"
stop_preparing 2 filling second_rank_of "${many[@]}"
export LD_PRELOAD=$build/tests/faults/libslow_disk.so SLOW_WEIGHTS_SECONDS=1
stop_preparing 1 loading itself
stop_preparing 2 loading second_rank_of
unset LD_PRELOAD
finish 2 loading-2
same reference-2 loading-2

# --- beside training

# stop_looking RUN TEXT LEFT_OUT SETTING...: a signal in the middle of what is done after step 1 saves that step and exits with 0; then the run
# goes on to the same bits.
stop_looking() {
    local processes=$1 what=$2 run=$2-$1 who=$3 text=$4 left_out=$5 code=0 began pid
    shift 5
    prepare "$processes" "$run" training.save_steps=0 training.eval_steps=1 "$@"
    "${command[@]}" >"$folder/$run.log" 2>&1 &
    pid=$!
    wait_for 60 "$run does not come to it" "$text" "$run"
    kill -INT "$($who $pid)"
    began=$(milliseconds)
    wait $pid || code=$?
    [ $code -eq 0 ] || fail "$run: exit code $code"
    says "$run" "$left_out" || fail "$run: it does not say: $left_out"
    [ "$(newest "$run")" -eq 1 ] || fail "$run: step 1 is not saved"
    [ $(($(milliseconds) - began)) -lt 20000 ] || fail "$run: it took $(($(milliseconds) - began)) ms"
    wait_for 30 "$run: processes are left behind" is_quiet
    echo "SIGINT to $who of $processes, $what: saved step 1 after $(($(milliseconds) - began)) ms"
}
is_trained() { has_losses "$1" 1; }
is_judged() { says "$1" 'step 1: loss .* on held-out data'; }
held_out=("data.eval=$folder/many.json" "data.eval_image_folder=$folder/world/train" training.per_device_eval_batch_size=1)
for processes in 1 2; do
    who=itself
    [ $processes = 1 ] || who=second_rank_of
    stop_looking $processes held-out $who is_trained 'the loss on held-out data is left out' "${held_out[@]}"
    ! grep -q '"kind": "eval"' "$folder/held-out-$processes/metrics.jsonl" || fail "a loss of a part of the data is recorded"
    finish $processes held-out-$processes
    same reference-$processes held-out-$processes
done
stop_looking 1 samples itself is_judged 'samples of what the model says are logged: stopped on request' "${held_out[@]}" \
    training.eval_samples=64 training.tensorboard=true training.log_samples=64

# --- other verbs

# stop_verb CODE NAME OUTPUT COMMAND...: a signal while weights are read ends it, as failed or (an evaluation goes on later) not, and nothing
# of its output is there.
stop_verb() {
    local expected=$1 verb=$2 output=$3 code=0 pid
    shift 3
    LD_PRELOAD=$build/tests/faults/libslow_disk.so SLOW_WEIGHTS_SECONDS=2 "$difflmm" "$@" >"$folder/$verb.log" 2>&1 &
    pid=$!
    sleep 1
    kill -INT $pid
    wait $pid || code=$?
    [ $code -eq "$expected" ] || fail "$verb: exit code $code"
    says "$verb" "stopped on request" || fail "$verb: it does not say that it was stopped"
    [ -z "$(find "$folder" -name "$output*")" ] || fail "$verb: something is left of its output"
    echo "SIGINT to $verb: $(grep "stopped on request" "$folder/$verb.log" | sed "s|$folder|...|g")"
}
stop_verb 1 export exported export "$folder/reference-1" "$folder/exported" --merge
stop_verb 0 eval evaluated eval "$folder/empty.yaml" "${settings[@]}" "eval.checkpoint=$folder/reference-1" "eval.annotations=$folder/world/test/instances.json" \
    "eval.image_folder=$folder/world/test/images" "eval.output_dir=$folder/evaluated"

# --- twice

# begin_last_step RUN: trains until it has a loss, and lets the second of two ranks hang, so that no step can be finished.
begin_last_step() {
    prepare 2 "$1" training.distributed_timeout=45
    "${command[@]}" >"$folder/$1.log" 2>&1 &
    pid=$!
    wait_for 60 "no training" has_losses "$1" 1
    mapfile -t ranks < <(pgrep -P "$(mpirun_of $pid)")
    kill -STOP "${ranks[1]}"
}

# twice SIGNAL NUMBER: the first one waits for the end of the step, the second does not.
twice() {
    local run=twice-$1
    begin_last_step "$run"
    kill "-$1" "${ranks[0]}"
    kill "-$1" "${ranks[0]}" # one request that comes twice, as those of timeout(1) do
    sleep 1
    kill -0 "${ranks[0]}" || fail "$run: the first signal ended it"
    kill "-$1" "${ranks[0]}"
    wait_for 20 "$run: a second signal does not end it" is_quiet
    says "$run" "process rank 0 .*exited on" && says "$run" "signal $2 " || fail "$run: ended otherwise"
    echo "SIG$1 twice: ended at once"
}
twice INT 2
twice TERM 15

# To the program that has started several.
begin_last_step launcher
kill -INT $pid
sleep 0.2
kill -INT $pid
wait_for 20 "a second SIGINT does not end the job" is_quiet
echo "SIGINT twice to the one that --processes starts: ended at once"
