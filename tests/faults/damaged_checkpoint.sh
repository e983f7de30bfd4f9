#!/usr/bin/env bash
# A damaged newest checkpoint is reported and the one before it used; the intact ones are not given up for it.
#
#   tests/faults/damaged_checkpoint.sh [BUILD]
set -euo pipefail
export BUILD=${1:-}
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"

finish 1 reference training.save_total_limit=0
compare=$build/tests/faults/compare_checkpoints

change_a_byte() { printf 'difflmm' | dd of="$1" bs=1 seek=$(($(stat -c %s "$1") / 2)) conv=notrunc status=none; }
cut_off() { truncate -s $(($(stat -c %s "$1") / 2)) "$1"; }
empty() { : >"$1"; }

for damage in change_a_byte cut_off empty; do
    mkdir "$folder/$damage"
    cp "$folder"/reference/checkpoint-{6,7}.h5 "$folder/$damage"
    head -n 7 "$folder/reference/metrics.jsonl" >"$folder/$damage/metrics.jsonl"
    cp "$folder/reference/checkpoint-12.h5" "$folder/$damage"
    $damage "$folder/$damage/checkpoint-12.h5"
    prepare 1 $damage training.save_total_limit=1
    "${command[@]}" >"$folder/$damage.log" 2>&1 &
    pid=$!
    wait_for 60 "no training" has_losses $damage 9
    kill -KILL $pid
    wait $pid 2>/dev/null || true
    says $damage "passed over a checkpoint: .*checkpoint-12.h5" || fail "the damaged checkpoint is not reported"
    says $damage "going on from .*checkpoint-7.h5, step 7" || fail "it does not go on from step 7"
    intact=0
    for step in 7 8 9 10 11 12; do
        $compare "$folder/$damage/checkpoint-$step.h5" "$folder/reference/checkpoint-$step.h5" 2>/dev/null && intact=$((intact + 1))
    done
    [ $intact -ge 1 ] || fail "no intact checkpoint is left"
    finish 1 $damage
    same reference $damage
    echo "$damage: reported, resumed from the one before it, same bits"
done

mkdir "$folder/all"
for step in 6 7; do echo nothing >"$folder/all/checkpoint-$step.h5"; done
finish 1 all
says all "passed over a checkpoint: .*checkpoint-6.h5" || fail "not every damaged checkpoint is reported"
same reference all
echo "all damaged: reported, trained anew"
