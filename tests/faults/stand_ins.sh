#!/usr/bin/env bash
# Images that are damaged inside, passed over by several processes: another sample stands in for each, so that all ranks stay in step, steps keep
# their size on any number of processes, and a run that goes on sees what one that was never stopped sees.
#
#   tests/faults/stand_ins.sh [BUILD]
set -euo pipefail
export BUILD=${1:-}
steps=12
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"

# Every third picture has lost its end, which its first bytes do not show; the pictures are left as they were for a run of before.
finish 1 whole
count=0
for picture in "$folder"/world/train/images/*.jpg; do
    ((count++ % 3)) || truncate -s $(($(stat -c %s "$picture") / 2)) "$picture"
done
code=0
prepare 2 refused
"${command[@]}" >"$folder/refused.log" 2>&1 || code=$?
[ $code -eq 1 ] || fail "exit code $code where damage is a failure"

# The greatest difference of the losses of two runs.
loss_difference() { paste -d ' ' <(losses "$1") <(losses "$2") | awk '{d = $2 - $4; if (d < 0) d = -d; if (d > most) most = d} END {print most + 0}'; }

# trained_on RUN: samples of all its steps.
trained_on() { "$difflmm" inspect "$folder/$1/checkpoint-$steps.h5" | sed -n 's/^ *position\/position: //p'; }

settings+=(data.missing_image=skip)
for cache in false true; do
    for processes in 1 2; do
        run=$cache-$processes
        finish $processes "$run" data.cache_features=$cache
        [ "$(losses "$run" | wc -l)" = $steps ] || fail "$run: not every step has a loss"
        # An epoch may end with a step of one sample.
        trained=$(trained_on "$run")
        [ "$trained" = "$(trained_on whole)" ] || fail "$run: $trained samples and not the $(trained_on whole) of undamaged images"
        # Stopped in the middle and gone on with.
        prepare $processes "$run-stopped" data.cache_features=$cache
        "${command[@]}" >"$folder/$run-stopped.log" 2>&1 &
        pid=$!
        wait_for 60 "no checkpoint" has_step "$run-stopped" 4
        # shellcheck disable=SC2046
        kill -KILL $pid $(running) 2>/dev/null || true
        wait $pid 2>/dev/null || true
        wait_for 30 "processes are left behind" is_quiet
        finish $processes "$run-stopped" data.cache_features=$cache
        same "$run" "$run-stopped"
    done
    # Rounding alone: the same samples, summed in another order, in bfloat16.
    difference=$(loss_difference $cache-1 $cache-2)
    awk "BEGIN {exit !($difference < 0.05)}" || fail "two processes see other samples than one: losses differ by $difference"
    [ "$(losses $cache-1)" != "$(losses whole)" ] || fail "nothing was damaged"
    echo "cache_features=$cache: steps of one size, resumed with the same bits; losses of 1 and 2 processes within $difference"
done
