#!/usr/bin/env bash
# A sweep ends at the same table however it was run: killed while it trains, asks, judges or writes, told to stop, on a full disk, by one
# process or two, under mpirun. What is done is not done again, under whatever name. A cell that fails is told, and the rest goes on.
#
#   tests/faults/sweep.sh [BUILD]
set -euo pipefail
export BUILD=${1:-}
steps=3
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"

world=$folder/world/test
fault=$build/tests/faults/libdisk_fault.so
settings+=(
    training.per_device_train_batch_size=2 training.save_steps=2 lora.lora_enable=false data.group_by_modality_length=false
    "eval.annotations=$world/instances.json" "eval.image_folder=$world/images" eval.max_new_tokens=12 eval.pictures=0 eval.segmenter=truth
)

# write_sweep NAME VARIANTS: a sweep of a stage of training and these variants, in $folder/NAME.yaml.
write_sweep() {
    cat >"$folder/$1.yaml" <<END
sweep:
  train: [$folder/empty.yaml]
  output_dir: set-on-the-command-line
  variants: {$2}
  zip: {training.seed: [1, 2], eval.seed: [1, 2]}
END
}
three='as_is: {}, no_captioner: {model.implicit_captioner: false}, unnormalised: {eval.normalise: false}'
write_sweep three "$three"

# sweep FILE RUN [ARGUMENT ...]: $folder/FILE.yaml into $folder/RUN; the exit code is its own.
sweep() {
    local file=$1 run=$2
    shift 2
    "$difflmm" sweep "$folder/$file.yaml" "${settings[@]}" "sweep.output_dir=$folder/$run" "$@" >"$folder/$run.log" 2>&1
}

# same_table A B: the tables are the same bytes, and nothing is left behind.
same_table() {
    local left
    for table in table.csv table.json table.md; do cmp -s "$folder/$1/$table" "$folder/$2/$table" || fail "$2: $table is not that of $1"; done
    left=$(find "$folder/$2" -name '*.??????' -o -name '*.journal' -o -name run.lock -o -name failed.json)
    [ -z "$left" ] || fail "$2 leaves behind $left"
}
# How often trainings, and evaluations that asked, were begun in a sweep.
trainings() { cat "$folder/$1"/trainings/*/runs.jsonl | wc -l; }
jobs_run() { sed -n 's/^sweep 100% \([0-9]*\)\/[0-9]* .*/\1/p' "$folder/$1.log" | grep . || echo 0; }
# The jobs that the last run of a sweep began with having done.
done_before() { "$difflmm" sweep "$folder/$1.yaml" "${settings[@]}" "sweep.output_dir=$folder/$2" --dry-run | awk '/^(trainings|questions|judgements) /{n += $3} END {print n + 0}'; }

sweep three whole || fail "whole: exit code $?"
[ "$(jobs_run whole)" = 14 ] || fail "whole: $(jobs_run whole) jobs, not 4 trainings, 4 questions and 6 judgements"
[ "$(trainings whole)" = 4 ] || fail "whole: $(trainings whole) trainings"
[ "$(wc -l <"$folder/whole/table.csv")" -ge 4 ] || fail "whole: no table"
echo "6 cells share 4 trainings and 4 sets of answers"

# --- the same on two processes

sweep three on-2 --processes 2 || fail "on-2: exit code $?"
same_table whole on-2
sweep three shares --processes 2 --at-once 1 || fail "shares: exit code $?"
[ "$(wc -l <"$folder/shares/table.csv")" = "$(wc -l <"$folder/whole/table.csv")" ] || fail "shares: another table"
mpirun -n 2 "$difflmm" sweep "$folder/three.yaml" "${settings[@]}" "sweep.output_dir=$folder/mpirun" >"$folder/mpirun.log" 2>&1 || fail "mpirun: exit code $?"
same_table whole mpirun
[ "$(trainings mpirun)" = 4 ] || fail "mpirun: $(trainings mpirun) trainings"
sed 's/^  train:/  launch: [nice, -n, 1]\n&/' "$folder/three.yaml" >"$folder/launched.yaml"
sweep launched launched --at-once 2 || fail "launched: exit code $?"
same_table whole launched
code=0
mpirun -n 2 "$difflmm" sweep "$folder/launched.yaml" "${settings[@]}" "sweep.output_dir=$folder/twice" >"$folder/twice.log" 2>&1 || code=$?
[ $code = 2 ] || fail "twice: exit code $code"
[ "$(grep -c '^difflmm sweep: sweep.launch starts the processes' "$folder/twice.log")" = 1 ] || fail "twice: not one error"
echo "the same table by one process, by two, under mpirun, and by a launcher"

# --- done is done

before=$(stat -c %Y.%s "$folder"/whole/jobs/*/done.json)
write_sweep renamed 'plain: {eval.normalise: false}, other: {model.implicit_captioner: false}, first: {}'
sweep renamed whole sweep.base=first || fail "renamed: exit code $?"
[ "$before" = "$(stat -c %Y.%s "$folder"/whole/jobs/*/done.json)" ] || fail "renamed variants were run again"
grep -q '^plain,' "$folder/whole/table.csv" || grep -q 'plain' "$folder/whole/table.csv" || fail "renamed: the table has the old names"
write_sweep more "$three, first: {eval.aggregate: max}"
[ "$(done_before more whole)" = 14 ] || fail "more: $(done_before more whole) jobs are done"
cp -r "$folder/whole" "$folder/more"
sweep more more || fail "more: exit code $?"
[ "$(trainings more)" = 4 ] || fail "more: trained again"
sweep three whole || fail "whole: exit code $? again"
same_table on-2 whole
echo "renamed, reordered and added variants run nothing that is done"

# --- several evaluations, after every stage

cp "$folder/empty.yaml" "$folder/second.yaml"
echo 'eval: {aggregate: mean}' >"$folder/plain.yaml"
echo 'eval: {normalise: false}' >"$folder/raw.yaml"
cat >"$folder/staged.yaml" <<END
sweep:
  train: [$folder/empty.yaml, $folder/second.yaml]
  each_stage: true
  evaluations: [$folder/plain.yaml, $folder/raw.yaml]
  headline: {raw: [point_accuracy], plain: [point_accuracy, mean_iou]}
  output_dir: set-on-the-command-line
  variants: {as_is: {}, no_captioner: {model.implicit_captioner: false}}
  zip: {training.seed: [1, 2], eval.seed: [1, 2]}
END
sweep staged staged --processes 2 || fail "staged: exit code $?"
[ "$(trainings staged)" = 8 ] || fail "staged: $(trainings staged) trainings, not 4 of two stages"
for table in 'plain after empty' 'plain after second' 'raw after empty' 'raw after second'; do
    [ "$(grep -c "^cell,$table,as_is," "$folder/staged/table.csv")" = 2 ] || fail "staged: not two seeds of $table"
done
[ "$(grep -c '^| \(raw\|plain\): [a-z\\_]* | \(empty\|second\) | [0-9.]* ' "$folder/staged/table.md")" = 6 ] || fail "staged: no headline"
cp -r "$folder/whole" "$folder/extended"
[ "$(done_before staged extended)" = 10 ] || fail "extended: $(done_before staged extended) jobs are done"
sweep staged extended || fail "extended: exit code $?"
[ "$(trainings extended)" = 8 ] || fail "extended: its first stage was trained again"
# Folders have the names under which they were made; the hashes in them are the same.
by_hash() { sed 's|evaluations/[^"]*-\([0-9a-f]\{16\}\)|\1|' "$folder/$1/table.csv"; }
cmp -s <(by_hash staged) <(by_hash extended) || fail "extended: not the table of staged"
echo "two evaluations after each of two stages: tables of their own, and what was there is not done again"

# --- kills

# kill_when RUN CONDITION...: the sweep, killed as soon as the condition holds, and started again at once.
kill_when() {
    local run=$1
    shift
    "$difflmm" sweep "$folder/three.yaml" "${settings[@]}" "sweep.output_dir=$folder/$run" >"$folder/$run.log" 2>&1 &
    pid=$!
    wait_for 60 "$run: never came to be killed" "$@"
    kill -KILL $pid
    wait $pid 2>/dev/null || true
    sweep three "$run" || fail "$run: exit code $?"
    same_table whole "$run"
}
is_there() { [ -n "$(find "$folder/$1" -path "*$2*" -name "$3" 2>/dev/null | head -n 1)" ]; }
kill_when killed-beginning is_there killed-beginning jobs log.txt
kill_when killed-training is_there killed-training trainings metrics.jsonl
[ "$(trainings killed-training)" -ge 4 ] || fail "killed-training: $(trainings killed-training) trainings"
kill_when killed-asking is_there killed-asking answers 'answers-*'
[ "$(trainings killed-asking)" = 4 ] || fail "killed-asking: trained again"
kill_when killed-judging is_there killed-judging evaluations 'results.json'
[ "$(trainings killed-judging)" = 4 ] || fail "killed-judging: trained again"
echo "killed while it trains, asks and judges: the same table"

# By itself, at every change behind the asking: the judgements of one cell, and the table.
cp -r "$folder/whole" "$folder/asked"
judged=$(grep -l '"judging"' "$folder"/asked/jobs/*/done.json | head -n 1)
rm "$judged" "$folder"/asked/table.*
kills=0
for ((at = 1; ; at++)); do
    run=change-$at
    cp -r "$folder/asked" "$folder/$run"
    if (DISK_FAULT=kill DISK_FAULT_PATH=$folder/$run/ DISK_FAULT_AT=$at LD_PRELOAD=$fault sweep three "$run") 2>/dev/null; then break; fi
    sweep three "$run" || fail "$run: exit code $?"
    [ "$(trainings "$run")" = 4 ] || fail "$run: trained again"
    same_table whole "$run"
    rm -r "${folder:?}/$run"
    kills=$((kills + 1))
done
[ $kills -ge 5 ] || fail "only $kills changes"
same_table whole "$run"
# Behind the note that a job is done, the note of an older failure goes, and then the lock (its second change).
judged=${judged#"$folder"/asked/}
job=${judged%/done.json}
for gone in failed.json:1 run.lock:2; do
    run=keeps-${gone%:*}
    cp -r "$folder/asked" "$folder/$run"
    echo '{"reason": "an older failure"}' >"$folder/$run/$job/failed.json"
    (DISK_FAULT=kill DISK_FAULT_PATH=/$job/${gone%:*} DISK_FAULT_AT=${gone#*:} LD_PRELOAD=$fault sweep three "$run") 2>/dev/null && fail "$run: exit code 0"
    [ -e "$folder/$run/$judged" ] || fail "$run: killed before the job was noted as done"
    [ -e "$folder/$run/$job/${gone%:*}" ] || fail "$run: killed too late"
    sweep three "$run" || fail "$run: exit code $?"
    same_table whole "$run"
done
echo "killed at each of $kills changes from judging to the table, and behind a job's last note: the same table"

# --- told to stop

"$difflmm" sweep "$folder/three.yaml" "${settings[@]}" "sweep.output_dir=$folder/stopped" >"$folder/stopped.log" 2>&1 &
pid=$!
wait_for 60 "stopped: no training" is_there stopped trainings metrics.jsonl
kill -TERM $pid
code=0
wait $pid || code=$?
[ $code = 1 ] || fail "stopped: exit code $code"
says stopped '^difflmm sweep: stopped on request.*the same command goes on' || fail "stopped: it does not say so"
is_quiet || fail "stopped: processes are left behind"
[ ! -e "$folder/stopped/table.csv" ] || fail "stopped: has a table"
sweep three stopped --table || fail "stopped: exit code $? of --table"
says stopped '^as_is,seed=1: is not done yet' || fail "stopped: the table does not say what is not done"
sweep three stopped || fail "stopped: exit code $?"
same_table whole stopped
echo "told to stop: its processes have ended with it, and the same command goes on"

# --- what fails

write_sweep failing "$three, missing: {eval.checkpoint: $folder/missing.h5}, wrong: {data.version: llama_3}"
code=0
cp -r "$folder/whole" "$folder/failing"
sweep failing failing || code=$?
[ $code = 1 ] || fail "failing: exit code $code"
says failing '^missing,seed=1: .*missing.h5' || fail "failing: it does not say what is missing"
says failing '^wrong,seed=2: training empty,wrong,seed=2 failed: .*data.version is another model' || fail "failing: it does not say what is wrong"
says failing '^difflmm sweep: 4 of 10 cells have no result' || fail "failing: it does not say how many"
grep -q 'as_is' "$folder/failing/table.csv" || fail "failing: no table of the rest"
(DISK_FAULT=kill DISK_FAULT_PATH=/answers/ DISK_FAULT_AT=3 LD_PRELOAD=$fault sweep three child) 2>/dev/null && fail "child: exit code 0"
says child 'asking as_is,seed=1 failed: ended by signal 9' || fail "child: it does not say that a process was killed"
says child '^difflmm sweep: 6 of 6 cells have no result' || fail "child: not every cell failed"
sweep three child || fail "child: exit code $?"
[ "$(trainings child)" = 4 ] || fail "child: trained again"
same_table whole child
code=0
sweep three whole eval.checkpoint=x || code=$?
[ $code = 2 ] || fail "exit code $code of a wrong configuration"
echo "a cell that fails is told, the rest goes on, and the same command tries it again"

# --- a full disk

cp -r "$folder/asked" "$folder/full"
(DISK_FAULT=full DISK_FAULT_PATH=$folder/full/ DISK_FAULT_AT=2 LD_PRELOAD=$fault sweep three full) 2>/dev/null && fail "full: exit code 0"
says full 'No space left' || fail "full: it does not say so"
sweep three full || fail "full: exit code $?"
same_table whole full
echo "a full disk: told, nothing half-written, and the same command goes on"
