#!/usr/bin/env bash
# A run that is made to go on from an older checkpoint leaves the later ones behind: when it is killed and resumed automatically, it is the
# new branch that goes on, to the bits of one that never had the old. A run does not go on from a checkpoint with other data.
#
#   tests/faults/older_checkpoint.sh [BUILD]
set -euo pipefail
export BUILD=${1:-}
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"

steps=40 # enough that a kill comes before the end
settings+=(training.max_steps=$steps training.save_total_limit=0)
branch=(training.learning_rate=2e-3 training.accept_changes=true)

# begin_at STEP RUN: a folder that has come as far as the old run at this step, and no further.
begin_at() {
    mkdir "$folder/$2"
    cp "$folder/old/checkpoint-$1.h5" "$folder/$2"
    head -n "$1" "$folder/old/metrics.jsonl" >"$folder/$2/metrics.jsonl"
}

# kill_after LOSSES RUN SETTING...: kills a run that has printed that many losses.
kill_after() {
    local losses=$1 run=$2 pid
    shift 2
    prepare 1 "$run" "$@"
    "${command[@]}" >"$folder/$run.log" 2>&1 &
    pid=$!
    wait_for 60 "$run does not train" has_losses "$run" "$losses"
    kill -KILL $pid
    wait $pid 2>/dev/null || true
}

finish 1 old
begin_at 3 expected
finish 1 expected "${branch[@]}"

# killed before the new branch has saved anything, and after it has
for saves in 0 1; do
    run=branch-$saves
    cp -r "$folder/old" "$folder/$run"
    head -n 3 "$folder/old/metrics.jsonl" >"$folder/$run/metrics.jsonl"
    kill_after 5 $run "${branch[@]}" "training.resume=$folder/$run/checkpoint-3.h5" training.save_steps=$saves
    says $run '^37 checkpoint(s) in .* are later than .*checkpoint-3.h5 and are set aside in .*/set-aside-1$' || fail "$run does not say what is set aside"
    for ((step = 4; step <= steps; step++)); do
        cmp -s "$folder/old/checkpoint-$step.h5" "$folder/$run/set-aside-1/checkpoint-$step.h5" || fail "$run has lost checkpoint-$step.h5"
    done
    finish 1 $run "${branch[@]}"
    from=$(sed -n "s|^going on from .*/$run/checkpoint-.*, step ||p" "$folder/$run.log")
    [ "${from:-0}" -ge 3 ] && [ "$from" -lt $steps ] && [ $saves = 1 -o "$from" = 3 ] || fail "$run does not go on where the branch was"
    same expected $run
    echo "killed, resumed at step $from of the new branch: the bits of a run that never had the old one"
done

# another run's checkpoint, into a folder that has its own
cp -r "$folder/old" "$folder/other"
: >"$folder/other/metrics.jsonl"
prepare 1 other "${branch[@]}" "training.resume=$folder/expected/checkpoint-5.h5"
"${command[@]}" >"$folder/other.log" 2>&1 || fail "other: exit code $?"
says other '^40 checkpoint(s) in .* do not come from .*expected/checkpoint-5.h5 and are set aside in' || fail "other does not say what is set aside"
"$build/tests/faults/compare_checkpoints" "$folder/expected/checkpoint-$steps.h5" "$folder/other/checkpoint-$steps.h5" || fail "other is not expected"
echo "another run's checkpoint: what was there is set aside, same bits"

# other data under the same name
"$build/data/tiny/make_tiny_world" "$folder/replaced" --seed 6 --train 60 --test 2 --quiet
cp -r "$folder/replaced/train/." "$folder/world/train/"
begin_at 3 replaced-data
prepare 1 replaced-data
code=0
"${command[@]}" >"$folder/replaced-data.log" 2>&1 || code=$?
[ $code = 2 ] || fail "a run whose data was replaced ended with $code"
says replaced-data '^since .*checkpoint-3.h5: the data of data.train was [0-9]* samples .*, is [0-9]* .* (another run)$' || fail "the replaced data is not listed"
says replaced-data 'data.train.*another run' || fail "the replaced data is not refused"
planned=("${command[@]}")
planned[1]=plan
code=0
"${planned[@]}" >"$folder/plan.log" 2>&1 || code=$?
[ $code != 0 ] && says plan 'the data of data.train was' || fail "the plan does not say that the data was replaced"
finish 1 replaced-data training.accept_changes=true
echo "other data under the same name: refused, listed, in the plan too; goes on with accept_changes"
