#!/usr/bin/env bash
# Answers about any picture: a conversation sent by a pipe goes on after every mistake, Ctrl-C and another picture; a folder of pictures has the
# same bits however many are asked at once, killed at any change that it makes to the disk, told to stop, on a full disk, with a damaged picture
# among the others; what does not go together is one clear line.
#
#   tests/faults/ground.sh [BUILD]
set -euo pipefail
export BUILD=${1:-}
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/common.sh"

"$build/data/tiny/make_tiny_world" "$folder/scenes" --seed 5 --train 1 --test 3 --quiet
pictures=$folder/pictures
mkdir "$pictures"
cp "$folder"/scenes/test/images/*.jpg "$pictures"
mapfile -t images < <(find "$pictures" -name '*.jpg' | sort)
settings=(
    "model.sd=$here/checkpoints/tiny/sd" "model.vision_tower=$here/checkpoints/tiny/clip" "model.llm=$here/checkpoints/tiny/llm"
    data.image_size=128 data.model_max_length=512 data.image_aspect_ratio=pad training.device=cpu training.threads=1
    eval.checkpoint=null eval.max_new_tokens=32 eval.batch_size=2
)

# ground RUN IMAGE [ARGUMENT ...]: stdout goes to $folder/RUN.out, stderr to $folder/RUN.log.
ground() {
    local run=$1 image=$2
    shift 2
    "$difflmm" ground "$folder/empty.yaml" "$image" "${settings[@]}" "$@" >"$folder/$run.out" 2>"$folder/$run.log"
}

# hurt FAULT PATH AT RUN IMAGE [ARGUMENT ...]: the same, with a fault (disk_fault.c) at change AT to files of that path.
hurt() {
    local kind=$1 path=$2 at=$3
    shift 3
    (DISK_FAULT=$kind DISK_FAULT_PATH=$path DISK_FAULT_AT=$at LD_PRELOAD=$build/tests/faults/libdisk_fault.so ground "$@") 2>/dev/null
}

# refused CODE RUN TEXT: the last run ended so, with this one line.
refused() {
    [ "$code" -eq "$1" ] || fail "$2: exit code $code"
    says "$2" "$3" || fail "$2: it does not say: $3"
    [ "$(grep -c '^difflmm ground:' "$folder/$2.log")" = 1 ] || fail "$2: not one error"
}
prints() { grep -qs -- "$2" "$folder/$1.out" || fail "$1: it does not print: $2"; }

# --- one picture

ground one "${images[0]}" --out "$folder/one" --html || fail "one: exit code $?"
prints one '^  1  .*  at x [0-9]*, y [0-9]*$'
phrases=$(grep -c '"phrase":' "$folder/one/answer.json")
[ "$phrases" -ge 2 ] || fail "one: $phrases phrases"
for file in overlay.png explorer.html "mask-$phrases.png" "attention-$phrases.png"; do
    [ -s "$folder/one/$file" ] || fail "one: no $file"
done
grep -qF "\"answer\": \"$(head -n 1 "$folder/one.out")\"" "$folder/one/answer.json" || fail "one: another text was printed than is written"
cp -r "$folder/one" "$folder/again"
ground again "${images[1]}" --out "$folder/again" --words nothing || fail "again: exit code $?"
[ "$(ls "$folder/again")" = "$(printf 'answer.json\noverlay.png')" ] || fail "again: files of the earlier answer are left"
cp -r "$folder/one" "$folder/full"
code=0
hurt full full/ 3 full "${images[1]}" --out "$folder/full" || code=$?
refused 1 full 'No space left on device\|disk is full'
diff -r "$folder/one" "$folder/full" >/dev/null || fail "full: the answer that was there is lost"
! hurt kill killed/ 3 killed "${images[1]}" --out "$folder/killed" || fail "killed: exit code 0"
ground killed "${images[1]}" --out "$folder/killed" || fail "killed: exit code $?"
[ -z "$(find "$folder/killed" -name '.answer.*')" ] || fail "killed: something is left behind"
ground none "${images[0]}" --segmenter none --out "$folder/none" || fail "none: exit code $?"
[ ! -e "$folder/none/mask-1.png" ] || fail "none: there is a mask"
ground sam "${images[0]}" --segmenter sam "eval.sam=$here/tests/parity/data/sam_transformers" --out "$folder/sam" || fail "sam: exit code $?"
grep -q '"segmenter": "sam"' "$folder/sam/answer.json" || fail "sam: it does not say who made the masks"
! cmp -s "$folder/one/mask-1.png" "$folder/sam/mask-1.png" || fail "sam: its mask is that of region growing"
echo "one picture: $phrases phrases; whole or not at all"

# --- drawn answers

ground drawn "${images[0]}" --temperature 1 --top_p 0.9 --seed 7 || fail "drawn: exit code $?"
ground drawn-again "${images[0]}" --temperature 1 --top_p 0.9 --seed 7 || fail "drawn-again: exit code $?"
cmp -s "$folder/drawn.out" "$folder/drawn-again.out" || fail "the same seed draws another answer"
ground drawn-8 "${images[0]}" --temperature 1 --top_p 0.9 --seed 8 || fail "drawn-8: exit code $?"
! cmp -s "$folder/drawn.out" "$folder/drawn-8.out" || fail "another seed draws the same answer"
ground cold "${images[0]}" --temperature 1e-6 || fail "cold: exit code $?"
cmp -s "$folder/cold.out" "$folder/one.out" || fail "near temperature 0 the answer is not the greedy one"

# An answer ends with the tokenizer's </s> where the model's files name another token.
cp -r "$here/checkpoints/tiny/llm" "$folder/llm"
sed -i 's/"eos_token_id": 2/"eos_token_id": 639/' "$folder/llm"/*.json
ground unnamed "${images[0]}" "model.llm=$folder/llm" || fail "unnamed: exit code $?"
cmp -s "$folder/unnamed.out" "$folder/one.out" || fail "unnamed: the answer does not end where it did"

# --- a conversation

# talk RUN IMAGE [ARGUMENT ...] < lines
talk() { ground "$@" --interactive; }
first=$(head -n 1 "$folder/one.out")
HOME=$folder talk talk "${images[0]}" <<END || fail "talk: exit code $?"
/save $folder/saved-early

Describe the image in detail.
/image $folder/nowhere.png
/image ~nobody-of-that-name/x.png
/hlp
/words , ,
/save
What else?
/new
Describe the image in detail.
/save $folder/saved
/words disc,square,bar
/words
/image ~/pictures/$(basename "${images[1]}")
Describe the image in detail.
/help
/quit
What is never read?
END
for text in "nobody-of-that-name" "there is no answer yet" "nowhere.png: cannot be read" "'/hlp' is no command; did you mean '/help'?" "no word in ', ,'" "/save DIR"; do
    says talk "$text" || fail "talk: it does not say: $text"
done
[ "$(grep -cxF -- "$first" "$folder/talk.out")" = 2 ] || fail "talk: the first question is not answered alike before and after /new"
ground other "${images[1]}" || fail "other: exit code $?"
prints talk "^$(head -n 1 "$folder/other.out")$"
prints talk '^  /words '
[ ! -e "$folder/saved-early" ] || fail "talk: an answer was saved before there was one"
ground saved "${images[0]}" --out "$folder/saved-2" || fail "saved: exit code $?"
diff -r "$folder/saved" "$folder/saved-2" >/dev/null || fail "talk: /save writes something else than --out"
printf 'Describe the image in detail.\r\n\xff\nDescribe the image' | talk odd "${images[0]}" || fail "odd: exit code $?"
says odd "not UTF-8" || fail "odd: it takes what is not UTF-8"
[ "$(head -n 1 "$folder/odd.out")" = "$first" ] || fail "odd: a line that ends with CR LF"
[ "$(grep -vc '^  ' "$folder/odd.out")" = 2 ] || fail "odd: a last line without an end is not read"
talk long "${images[0]}" data.model_max_length=130 <<<$'Describe the image in detail.\nDescribe the image in detail.\n/new\nDescribe the image in detail.' ||
    fail "long: exit code $?"
says long "does not fit.*; /new forgets what was said before" || fail "long: it does not say that the conversation is too long"
[ "$(grep -cxF -- "$first" "$folder/long.out")" = 2 ] || fail "long: it does not go on after /new"

# Ctrl-C at the fifth piece of the first answer; the second is whole.
printf '%s\n/new\n%s\n' "Describe the image in detail." "Describe the image in detail." |
    INTERRUPT_AT=5 LD_PRELOAD=$build/tests/faults/libinterrupt_at_flush.so talk interrupted "${images[0]}" || fail "interrupted: exit code $?"
cut=$(head -n 1 "$folder/interrupted.out")
if [ -z "$cut" ] || [ "$cut" = "$first" ] || [ "${first#"$cut"}" = "$first" ]; then fail "interrupted: the answer is '$cut'"; fi
[ "$(grep -cxF -- "$first" "$folder/interrupted.out")" = 1 ] || fail "interrupted: the conversation does not go on"

# While it waits for a line: Ctrl-C changes nothing, SIGTERM ends it.
mkfifo "$folder/lines"
talk waiting "${images[0]}" <"$folder/lines" &
job=$!
exec 9>"$folder/lines"
echo "Describe the image in detail." >&9
wait_for 20 "waiting: no answer" grep -qs "at x" "$folder/waiting.out"
pid=$(pgrep -f "^[^ ]*difflmm ground $folder/empty.yaml")
kill -INT "$pid"
echo "Describe the image in detail." >&9
has_two_answers() { [ "$(grep -vc '^  ' "$folder/waiting.out")" = 2 ]; }
wait_for 20 "waiting: no second answer" has_two_answers
kill -TERM "$pid"
code=0
wait $job || code=$?
exec 9>&-
refused 1 waiting "stopped on request"
echo "a conversation goes on after mistakes and Ctrl-C, and ends when it is told to"

# --- a folder

few=(--words "square,cross" --segmenter none) # not to spend the time on pictures
printf 'no picture' >"$pictures/broken.jpg"
cp "${images[0]}" "${images[0]%.jpg}.png"
code=0
ground whole "$pictures" --out "$folder/whole" "${few[@]}" || code=$?
refused 1 whole "1 of 5 pictures could not be answered, the first because: $pictures/broken.jpg: .*JPEG, PNG"
[ "$(find "$folder/whole" -name answer.json | wc -l)" = 4 ] || fail "whole: not all others are answered"
[ -d "$folder/whole/$(basename "${images[0]}")" ] || fail "whole: two pictures share a folder"
rm "$pictures/broken.jpg" "${images[0]%.jpg}.png"
ground alone "${images[1]}" --out "$folder/alone" "${few[@]}" || fail "alone: exit code $?"
ground folder "$pictures" --out "$folder/folder" "${few[@]}" || fail "folder: exit code $?"
diff -r "$folder/alone" "$folder/folder/$(basename "${images[1]}" .jpg)" || fail "folder: other bits than alone"
# same RUN: as if nothing had happened.
same() { diff -r "$folder/folder" "$folder/$1" >"$folder/differences" || fail "$1 is not folder: $(head -n 3 "$folder/differences")"; }
ground by-3 "$pictures" --out "$folder/by-3" "${few[@]}" eval.batch_size=3 || fail "by-3: exit code $?"
same by-3

kills=0
for ((at = 1; ; at += 4)); do
    run=kill-$at
    if hurt kill "$folder/$run/" $at $run "$pictures" --out "$folder/$run" "${few[@]}"; then break; fi
    ground $run "$pictures" --out "$folder/$run" "${few[@]}" || fail "$run: exit code $?"
    same $run
    rm -r "${folder:?}/$run"
    kills=$((kills + 1))
done
[ $kills -ge 5 ] || fail "only $kills kills"
same "$run"
code=0
hurt term answer.json 1 term "$pictures" --out "$folder/term" "${few[@]}" || code=$?
refused 1 term "stopped on request: what was answered is kept"
ground term "$pictures" --out "$folder/term" "${few[@]}" || fail "term: exit code $?"
same term
for at in ground.json:1 overlay:1 attention:3 answer.json:2; do
    run=disk-${at%:*} code=0
    hurt full "${at%:*}" "${at#*:}" "$run" "$pictures" --out "$folder/$run" "${few[@]}" || code=$?
    refused 1 "$run" 'No space left on device\|disk is full'
    [ -z "$(find "$folder/$run" -name '*.??????' -o -name run.lock 2>/dev/null)" ] || fail "$run: something half-written is left"
    ground "$run" "$pictures" --out "$folder/$run" "${few[@]}" || fail "$run: exit code $?"
    same "$run"
done
ground folder "$pictures" --out "$folder/folder" "${few[@]}" model.sd="$here/checkpoints/tiny/sd" || fail "folder: exit code $? when all is done"
prints folder "3 of 3 pictures answered in .*, 3 of them before"
! says folder "computing on" || fail "folder: the model is loaded for nothing"
echo "a folder: killed at $kills changes, stopped, on a full disk: the same bits"

# --- what does not go together

# wrong CODE TEXT IMAGE [ARGUMENT ...]: refused with this one line.
wrong() {
    local status=$1 text=$2
    shift 2
    code=0
    ground wrong "$@" --words ring </dev/null || code=$?
    refused "$status" wrong "$text"
}
image=${images[0]}
wrong 2 "is a folder; --out DIR is to say where" "$pictures"
wrong 2 "is a folder; --interactive is about one picture" "$pictures" --interactive
wrong 2 "--out is not for --interactive" "$image" --interactive --out "$folder/wrong"
wrong 2 "--html writes a page into --out DIR, which is missing" "$image" --html
wrong 2 "eval.temperature is 'warm', expected a number of at least 0" "$image" --temperature warm
wrong 2 "eval.top_p is '1.5', expected a number from 0 to 1" "$image" --top_p 1.5
wrong 2 "eval.seed is '-1'" "$image" --seed -1
wrong 2 "eval.segmenter is 'samm', expected one of" "$image" --segmenter samm
wrong 2 "eval.sam is missing" "$image" --segmenter sam
wrong 2 "eval.segmenter: takes its masks from annotations" "$image" --segmenter truth
wrong 1 "nowhere: cannot be read" "$folder/nowhere"
wrong 1 "scenes: there is no picture in it" "$folder/scenes" --out "$folder/wrong"
wrong 1 'was asked with --words = "square,cross", now it is "ring"; the answers do not go together' "$pictures" --out "$folder/folder" --segmenter none
[ ! -e "$folder/wrong" ] || fail "something is left of a run that was refused"
