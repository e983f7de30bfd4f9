#!/usr/bin/env bash
# Training data that are prepared: every problem is reported, packs are the same bytes whatever the processes, threads and kills were, and
# training from a pack is training from its JSON file, bit by bit, also where it began with the other one.
#
#   tests/faults/prepared_data.sh [BUILD]
set -euo pipefail
export BUILD=${1:-}
steps=12
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"
world=$folder/world
json=$world/train/llava_v1_5_mix665k.json

# pack NAME [ARGUMENT ...]: prepares into $folder/NAME; fills $code, never fails itself.
pack() {
    local name=$1
    shift
    code=0
    "$difflmm" prepare "$folder/empty.yaml" "${settings[@]}" --out "$folder/$name" "$@" >"$folder/$name.log" 2>&1 || code=$?
}

# ---- problems

line_of() { # line_of ID IMAGE QUESTION ANSWER: a line of JSON Lines
    printf '{"id": "%s", "image": "%s", "conversations": [{"from": "human", "value": "%s"}, {"from": "gpt", "value": "%s"}]}\n' "$@"
}
picture=$(cd "$world/train" && find . -name '*.jpg' -o -name '*.png' | sed 's|^\./||' | sort | head -n 1)
cp "$world/train/$picture" "$world/train/good.jpg"
cp "$world/train/$picture" "$world/train/other.gif"
head -c 300 "$world/train/$picture" >"$world/train/cut.jpg"
: >"$world/train/empty.jpg"
{
    line_of good good.jpg '<image>\nwhat is it?' 'a ring'
    line_of no-mark good.jpg 'what is it?' 'a ring'
    line_of missing absent.jpg '<image>\nwhat is it?' 'a ring'
    line_of cut cut.jpg '<image>\nwhat is it?' 'a ring'
    line_of empty empty.jpg '<image>\nwhat is it?' 'a ring'
    line_of gif other.gif '<image>\nwhat is it?' 'a ring'
    line_of long good.jpg "<image>\\n$(printf 'what is it and %.0s' $(seq 100))?" 'a ring'
    echo '{"id": "roles", "conversations": [{"from": "someone", "value": "what?"}, {"from": "gpt", "value": "a ring"}]}'
    line_of last good.jpg '<image>\nwhat is it?' 'a star'
} >"$folder/bad.json"
bad=("data.train=$folder/bad.json" data.eval=null)

# kinds NAME: "number kind" of every problem
kinds() { sed -n 's/^{"kind":"\([a-z_]*\)","sample":\([0-9]*\),.*/\2 \1/p' "$folder/$1/bad.pack.h5.problems.jsonl"; }

pack bad "${bad[@]}"
[ $code -eq 1 ] || fail "exit code $code with bad samples"
expected='1 sample
2 image_missing
3 image_unreadable
4 image_none
5 image_name
6 answer_cut
7 sample'
[ "$(kinds bad)" = "$expected" ] || fail "the report is other than expected: $(kinds bad)"
[ ! -e "$folder/bad/bad.pack.h5" ] || fail "a pack in spite of bad samples"
says bad "--leave-out" || fail "no way out is named"
grep -q '"line":4' "$folder/bad/bad.pack.h5.problems.jsonl" || fail "lines are missing"

# Mended, the same command packs: only the samples of the blocks that had problems are looked at again.
sed -i -e 's/"someone"/"human"/' "$folder/bad.json"
pack left "${bad[@]}" --leave-out
[ $code -eq 0 ] || fail "exit code $code with --leave-out"
says left "9 samples, 5 of them can be used" || fail "other samples are left out"
pack skip "${bad[@]}" --leave-out data.missing_image=skip
says skip "9 samples, 6 of them can be used" || fail "skip means something else"

# Where bad images are passed over, a pack has the samples that the JSON file has.
grep -vE '"(no-mark|roles)"' "$folder/bad.json" >"$folder/images.json"
skipping=("data.train=$folder/images.json" data.missing_image=skip)
pack skipping "${skipping[@]}" data.eval=null
[ $code -eq 0 ] || fail "exit code $code where bad images are passed over"
finish 1 skip-json "${skipping[@]}"
finish 1 skip-pack "${skipping[@]}" "data.train=$folder/skipping/images.pack.h5"
same skip-json skip-pack

cp "$world/train/good.jpg" "$world/train/absent.jpg"
cp "$world/train/good.jpg" "$world/train/cut.jpg"
cp "$world/train/good.jpg" "$world/train/empty.jpg"
sed -i -e '2s/"value": "what/"value": "<image>what/' "$folder/bad.json"
pack bad "${bad[@]}"
[ $code -eq 0 ] || fail "exit code $code though all is mended"
says bad "9 samples, 9 of them can be used" || fail "samples are left out though all is mended"
echo "every problem is reported, and mended samples are packed"

# A line that is no JSON is a problem like another; an array ends there. Training and its plan refuse either.
{
    line_of first good.jpg '<image>\nwhat is it?' 'a ring'
    echo '{"id": "spoiled", "conversations": ['
    line_of last good.jpg '<image>\nwhat is it?' 'a star'
} >"$folder/lines.json"
lines=("data.train=$folder/lines.json" data.eval=null)
pack lines "${lines[@]}"
[ $code -eq 1 ] || fail "exit code $code with a line that is no JSON"
report=$folder/lines/lines.pack.h5.problems.jsonl
grep -q '^{"kind":"json","sample":1,"line":2,.*lines.json:4: not valid JSON' "$report" || fail "the spoiled line is not reported: $(cat "$report")"
[ "$(wc -l <"$report")" = 1 ] || fail "other lines are reported as well"
for verb in plan train; do
    code=0
    "$difflmm" $verb "$folder/empty.yaml" "${settings[@]}" "${lines[@]}" "training.output_dir=$folder/refused" >"$folder/$verb.log" 2>&1 || code=$?
    [ $code -ne 0 ] || fail "$verb takes a line that is no JSON"
    says $verb 'lines.json:4: not valid JSON, in sample 1 (from line 2 on)' || fail "$verb does not name the line"
done
pack lines "${lines[@]}" --leave-out
[ $code -eq 0 ] || fail "exit code $code where the spoiled line is left out"
says lines "3 samples, 2 of them can be used" || fail "other samples are left out than the spoiled line"
{ echo '['; sed '$!s/$/,/' "$folder/lines.json"; echo ']'; } >"$folder/array.json"
pack array "data.train=$folder/array.json" data.eval=null --leave-out
[ $code -eq 1 ] || fail "exit code $code with an array that is no JSON"
says array 'array.json:3: not valid JSON.*; 1 sample before it could be read, and what stands behind it' || fail "it does not say what is lost"
echo "a line that is no JSON is reported, and the next one is read"

for broken in '[{"id": 1' '{"id": 1}
{"id": ' 'no JSON' '[]'; do
    printf '%s' "$broken" >"$folder/broken.json"
    pack broken "data.train=$folder/broken.json" data.eval=null
    [ $code -eq 1 ] || fail "exit code $code with '$broken'"
    [ -z "$(find "$folder/broken" -name '*.h5' 2>/dev/null)" ] || fail "a pack of '$broken'"
    says broken "broken.json" || fail "the file is not named"
done
pack usage data.train=null
[ $code -eq 2 ] || fail "exit code $code without data.train"

# ---- the same bytes

name=llava_v1_5_mix665k.pack.h5
pack one --images training.threads=1
[ $code -eq 0 ] || fail "preparing ended with $code"
pack three --images training.threads=3
pack two --images --processes 2
for other in three two; do cmp "$folder/one/$name" "$folder/$other/$name" || fail "packs of $other differ"; done
[ ! -e "$folder/one/$name.parts" ] || fail "parts are left"
pack two --images --processes 2
says two "is there already" || fail "a pack is made twice"

# The same samples thirty times, so that there is time to kill in.
for ((i = 0; i < 30; i++)); do sed -e 's/^\[//' -e 's/\]$/,/' "$json"; done | sed -e '1s/^/[/' -e '$s/,$/]/' >"$folder/many.json"
many=("data.train=$folder/many.json" data.eval=null --images)
began=$(milliseconds)
pack whole "${many[@]}"
[ $code -eq 0 ] || fail "preparing ended with $code"
whole=$(($(milliseconds) - began))
kills=0
for ((i = 0; i < 12; i++)); do
    "$difflmm" prepare "$folder/empty.yaml" "${settings[@]}" --out "$folder/killed" "${many[@]}" --processes $((1 + i % 2)) \
        >"$folder/killed.log" 2>&1 &
    pid=$!
    delay=$((RANDOM % (whole + 1)))
    sleep "$((delay / 1000)).$(printf %03d $((delay % 1000)))"
    kill -KILL $pid 2>/dev/null && kills=$((kills + 1))
    wait $pid 2>/dev/null || true
    wait_for 30 "processes are left behind" is_quiet
    [ ! -e "$folder/killed/many.pack.h5" ] || cmp "$folder/whole/many.pack.h5" "$folder/killed/many.pack.h5" || fail "half a pack"
done
pack killed "${many[@]}"
[ $code -eq 0 ] || fail "preparing ended with $code after kills"
cmp "$folder/whole/many.pack.h5" "$folder/killed/many.pack.h5" || fail "kills have changed the pack"
[ "$(cd "$folder/killed" && echo *)" = "many.pack.h5 many.pack.h5.problems.jsonl" ] || fail "something is left beside the pack: $(ls -R "$folder/killed")"
echo "the same bytes with 1 and 3 threads, 2 processes, and after $kills kills"

# ---- a full disk

for size in 1 20 60; do
    code=0
    (
        trap '' XFSZ
        ulimit -S -f $size
        exec "$difflmm" prepare "$folder/empty.yaml" "${settings[@]}" --out "$folder/full" "${many[@]}" >"$folder/full.log" 2>&1
    ) || code=$?
    [ $code -eq 1 ] || fail "exit code $code on a full disk"
    [ ! -e "$folder/full/many.pack.h5" ] || fail "half a pack on a full disk"
done
pack full "${many[@]}"
cmp "$folder/whole/many.pack.h5" "$folder/full/many.pack.h5" || fail "a full disk has changed the pack"
echo "a full disk: exit 1, and the same command goes on"

# ---- images out of an archive

# The world's samples ten times, with a name of its own for each picture: the archive has them under all of these.
mkdir "$folder/copies"
for ((i = 0; i < 10; i++)); do
    cp -r "$world/train/images" "$folder/copies/images$i"
    sed -e 's/^\[//' -e 's/\]$/,/' -e "s|images/|images$i/|g" "$json"
done | sed -e '1s/^/[/' -e '$s/,$/]/' >"$folder/archived.json"
tar -C "$folder/copies" -cf "$folder/copies.tar" .
archived=("data.train=$folder/archived.json" data.eval=null "data.image_folder=$folder/copies.tar" --images training.threads=1)
fault=$build/tests/faults/libdisk_fault.so
pack archive "${archived[@]}"
[ $code -eq 0 ] || fail "exit code $code with images out of an archive"
(
    export LD_PRELOAD=$fault DISK_FAULT_PATH=archived.pack DISK_FAULT_COUNT=$folder/changes
    pack counted "${archived[@]}"
)
changes=$(wc -c <"$folder/changes")
cmp "$folder/archive/archived.pack.h5" "$folder/counted/archived.pack.h5" || fail "packs out of an archive differ"
for kind in kill full; do
    for at in 1 2 $((changes / 4)) $((changes / 2)) $((changes - 3)); do
        # In a subshell: the shell speaks of a program that is killed.
        (
            export LD_PRELOAD=$fault DISK_FAULT=$kind DISK_FAULT_PATH=archived.pack DISK_FAULT_AT=$at
            pack "$kind$at" "${archived[@]}"
            echo "$code" >"$folder/code"
        ) 2>/dev/null
        case $kind in kill) expected=137 ;; full) expected=1 ;; esac
        [ "$(cat "$folder/code")" = $expected ] || fail "exit code $(cat "$folder/code") after $kind at change $at of $changes"
        [ ! -e "$folder/$kind$at/archived.pack.h5" ] || fail "half a pack after $kind at change $at"
        pack "$kind$at" "${archived[@]}"
        [ $code -eq 0 ] || fail "exit code $code after $kind at change $at"
        cmp "$folder/archive/archived.pack.h5" "$folder/$kind$at/archived.pack.h5" || fail "$kind at change $at has changed the pack"
        [ "$(cd "$folder/$kind$at" && echo *)" = "archived.pack.h5 archived.pack.h5.problems.jsonl" ] || fail "something is left beside the pack: $(ls "$folder/$kind$at")"
        rm -rf "${folder:?}/$kind$at"
    done
done
# A look at all images writes nothing but its report.
code=0
"$difflmm" plan "$folder/empty.yaml" "${settings[@]}" "data.image_folder=$folder/copies.tar" "data.train=$folder/archived.json" "training.output_dir=$folder/planned" \
    --check-images >/dev/full 2>"$folder/planned.log" || code=$?
[ $code -eq 1 ] || fail "exit code $code where the report finds no room"
says planned '^difflmm: standard output: No space left on device$' || fail "it does not say that the report found no room"
"$difflmm" plan "$folder/empty.yaml" "${settings[@]}" "data.image_folder=$folder/copies.tar" "data.train=$folder/archived.json" "training.output_dir=$folder/planned" \
    --check-images >"$folder/planned.log" 2>&1 &
pid=$!
sleep 0.2
kill -KILL $pid 2>/dev/null || true
wait $pid 2>/dev/null || true
[ ! -e "$folder/planned" ] || fail "a look at images has written something"
echo "images out of an archive: kills and full disks at 10 of $changes changes, the same bytes"

# ---- training

finish 1 from-json
packed=("data.train=$folder/one/$name")
mv "$world/train" "$world/away" # pictures are in the pack
mkdir "$world/train"
finish 1 from-pack "${packed[@]}" data.dataloader_num_workers=3
same from-json from-pack
finish 2 two-from-pack "${packed[@]}"
mv "$world/away"/* "$world/train"
finish 2 two-from-json
same two-from-json two-from-pack

prepare 1 changed training.max_steps=$steps
"${command[@]}" >"$folder/changed.log" 2>&1 &
pid=$!
wait_for 60 "no checkpoint" has_step changed 4
kill -TERM $pid
wait $pid || fail "exit code $? when asked to stop"
[ "$(newest changed)" -lt $steps ] || fail "the run was over before it was stopped"
finish 1 changed "${packed[@]}" data.dataloader_num_workers=4
same from-json changed
echo "training from a pack is training from JSON, bit by bit, and goes on where that stopped"
