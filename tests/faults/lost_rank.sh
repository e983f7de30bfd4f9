#!/usr/bin/env bash
# A rank that dies or hangs: the others stop within the time limit and say which; no process is left. Ranks that were started with different
# settings or data say so, once.
#
#   tests/faults/lost_rank.sh [BUILD]
set -euo pipefail
export BUILD=${1:-}
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"

# lose SIGNAL RANK TEXT: sends a signal to one of three ranks; the job must end, and say TEXT.
lose() {
    local run=$1-$2 pid ranks code=0 began
    prepare 1 "$run" training.max_steps=100000 training.save_steps=0
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
    [ $seconds -lt 30 ] || fail "$run: $seconds seconds"
    says "$run" "$3" || fail "$run: it does not say: $3"
    echo "SIG$1 to rank $2: ended after $seconds s: $(grep -om 1 -- "$3" "$folder/$run.log")"
}
lose KILL 0 'process rank 0 .*exited on signal 9'
lose KILL 2 'process rank 2 .*exited on signal 9'
lose STOP 0 'waited . seconds in vain for rank 0 ([^)]*): died or hangs'
lose STOP 1 'waited . seconds in vain for rank 1 ([^)]*): died or hangs'

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
