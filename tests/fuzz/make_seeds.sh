#!/usr/bin/env bash
# The folder that fuzzing starts from: small networks, a tiny world, configurations, finished runs,
# and files of every kind that is read.
#
#   tests/fuzz/make_seeds.sh BUILD SEEDS
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$1" && pwd)
mkdir -p "$2"
cd "$2"
recorded=$here/tests/parity/data
export OMP_NUM_THREADS=1 ASAN_OPTIONS=detect_leaks=0

cp -r "$recorded/difflmm/sd" "$recorded/difflmm/clip" .
mkdir -p llm pictures/{jpeg,png,gif,webp,bmp,tiff,damaged,zip,tar,other} open archives tokenizers decoders adapters
sed 's/"vocab_size": 61/"vocab_size": 640/' "$recorded/difflmm/llm/config.json" >llm/config.json
cp "$recorded/difflmm/llm/generation_config.json" "$here/checkpoints/tiny/llm/tokenizer.model" llm
cp "$here/checkpoints/tiny/clip/preprocessor_config.json" clip
cp "$here"/checkpoints/tiny/sd/tokenizer/merges.txt sd/tokenizer
cp -r "$recorded"/clip_open "$recorded"/clip_openai "$recorded"/clip_shards open
cp "$recorded"/archives/*.{pt,p} archives
mkdir dumps answers answers_hdf5
cp "$recorded"/official_dumps/points/000000000001.pth dumps/conversation.pth
cp "$recorded"/official_dumps/res/101.pth dumps/expression.pth
cp "$recorded"/official_dumps/png/000000000000.pth dumps/narrative.pth
cp -r "$recorded"/tokenizers/{gpt_2,llama_2,llama_3,mistral,qwen_2,smollm2,bert} tokenizers
rm -f tokenizers/*/{expected,conversations}.json
cp -r "$recorded"/decoders/{linear,dynamic,llama3,mistral,qwen2,yarn} decoders
cp -r "$recorded"/adapters/{stage1,stage2} adapters
"$build/tests/fuzz/make_seeds" "$here" .
"$build/data/tiny/make_tiny_world" world --seed 5 --train 6 --test 2 --quiet

# Masks in all their forms; the tiny world has compressed runs only.
cat >masks.json <<'EOF'
{"images": [{"id": 500000, "file_name": "000000500000.jpg", "height": 128, "width": 128}],
 "categories": [{"id": 1, "name": "ring"}, {"id": 2, "name": "star"}],
 "annotations": [
  {"id": 1, "image_id": 500000, "category_id": 1, "iscrowd": 0, "bbox": [4, 4, 60, 60], "area": 1800,
   "segmentation": [[4, 4, 64, 4, 64, 64, 30.5, 80.25], [100, 100, 120, 100, 110, 127.5]]},
  {"id": 2, "image_id": 500000, "category_id": 2, "iscrowd": 0,
   "segmentation": {"size": [128, 128], "counts": [5000, 60, 68, 60, 68, 60, 11068]}},
  {"id": 3, "image_id": 500000, "category_id": 2, "iscrowd": 1,
   "segmentation": {"size": [128, 128], "counts": [0, 16384]}}]}
EOF

# Instruction data in the forms that the tiny world does not write.
mkdir forms
cat >forms/lines.jsonl <<'EOF'
{"id": "a", "image": ["images/000000000000.jpg"], "conversations": [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A ring."}]}

{"id": 2, "conversations": [{"from": "system", "value": "Be brief."}, {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "\ud83d\ude00"}]}
EOF
cat >forms/sharegpt.json <<'EOF'
[{"images": ["images/000000000000.jpg"], "system": "Be kind.", "tools": "", "videos": [],
  "conversations": [{"from": "human", "value": "What <image> is it?"}, {"from": "gpt", "value": "A star."}]},
 {"images": [], "conversations": [{"from": "human", "value": ""}, {"from": "gpt", "value": "</s> USER:"}]}]
EOF
cat >forms/messages.json <<'EOF'
[{"images": "images/000000000000.jpg", "messages": [{"role": "system", "content": "Be brief."},
  {"role": "user", "content": "<image>What is it?"}, {"role": "assistant", "content": "A cross."}]},
 {"messages": [{"role": "user", "content": "And?"}, {"role": "assistant", "content": "Nothing."}]}]
EOF
cat >forms/one.json <<'EOF'
{"image": "images/000000000000.jpg", "conversations": [{"from": "gpt", "value": "Well."}, {"from": "human", "value": "a <image> b<image>"}, {"from": "gpt", "value": "c"}]}
EOF

# Configurations with files as lists, each with a folder and a weight of its own.
mkdir lists
cat >lists/all.yaml <<'EOF'
model:
  llm: llm
data:
  train:
    - {path: world/train/a.json, image_folder: world/train, weight: 0.5}
    - path: "b.jsonl"
      weight: 2
    - path: packs/c.pack.h5
      image_folder: null
  eval: [{path: world/test/a.json}, {path: 'd.json', image_folder: ~}]
training:
  output_dir: out
EOF
cat >lists/names.yaml <<'EOF'
data: {train: [a.json, b.json], eval: a.json, image_folder: world/train, version: plain}
training: {output_dir: out, learning_rate: 1e-3}
EOF

# Files of evaluations.
mkdir -p regions referring grounded panoptic
cp "$recorded"/regions/{float32_0,float32_2,float32_5,scalars_4}.pkl "$recorded"/regions/*.json regions
printf '%s\n' "(l(dS'ref_id'" I5 "sS'ann_id'" I25 "sS'image_id'" I7 "sS'split'" "S'val'" "sS'sentences'" "(l(dS'sent'" "S'red ring'" "sS'sent_id'" I1 >referring/refs.p
printf 'sasa.' >>referring/refs.p
cat >referring/instances.json <<'EOF'
{"annotations": [{"id": 25, "image_id": 7, "segmentation": [[1, 1, 5, 1, 5, 5, 1, 5], [4, 1, 7, 1, 7, 5, 4, 5]]}],
 "images": [{"id": 7, "file_name": "7.jpg", "width": 8, "height": 6}]}
EOF
cat >grounded/captions.json <<'EOF'
{"images": [{"id": "sa_1", "height": "6", "width": 8}, {"id": "sa_2"}],
 "annotations": [{"id": 1, "image_id": "sa_1", "caption": "A ring and a star.", "labels": ["A ring", "a star"]},
                 {"id": 2, "image_id": "sa_2", "caption": "Nothing.", "labels": []}]}
EOF
cat >grounded/masks.json <<'EOF'
{"images": [{"id": "sa_1", "height": 6, "width": "8"}],
 "annotations": [{"id": 1, "image_id": "sa_1", "category_id": 1, "segmentation": {"size": [6, 8], "counts": [40, 5, 3]}},
                 {"id": 2, "image_id": "sa_1", "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 5]]}]}
EOF
cat >grounded/prediction.json <<'EOF'
{"sa_1": {"image_id": "sa_1", "caption": "A ring.", "phrases": ["A ring"], "points": [[3, 4]],
          "pred_masks": [{"size": [6, 8], "counts": [40, 5, 3]}]}}
EOF
cat >panoptic/panoptic.json <<'EOF'
{"categories": [{"id": 1, "name": "ring", "isthing": 1}, {"id": 2, "name": "sand", "isthing": 0}],
 "images": [{"id": 139, "file_name": "139.jpg", "height": 6, "width": 8}],
 "annotations": [{"image_id": 139, "file_name": "139.png", "segments_info": [
  {"id": 5, "category_id": 1, "iscrowd": 0, "area": 9}, {"id": 6, "category_id": 2, "iscrowd": 0, "area": 3}]}]}
EOF
cat >panoptic/narratives.json <<'EOF'
[{"image_id": "139", "caption": "A ring on sand.", "segments": [
  {"utterance": "A ring", "segment_ids": ["5"], "plural": false, "noun": true},
  {"utterance": " on", "segment_ids": [], "plural": false, "noun": false},
  {"utterance": " sand", "segment_ids": [6, 5], "plural": true, "noun": true}]}]
EOF

configuration() { # configuration STAGE TRAIN_JSON MORE...
    cat <<EOF
model:
  sd: sd
  vision_tower: clip
  llm: llm
$3data:
  train: world/train/$2
  image_folder: world/train
  eval: world/test/$2
  eval_image_folder: world/test
  version: $4
  image_aspect_ratio: $5
  image_size: 64
  model_max_length: 128
training:
  output_dir: runs/stage$1
  max_steps: 2
  per_device_train_batch_size: 2
  save_steps: 1
  eval_samples: 1
  log_samples: 1
  device: cpu
  threads: 1
eval:
  checkpoint: runs/stage$1
  annotations: world/test/instances.json
  image_folder: world/test/images
  output_dir: out/eval
  max_new_tokens: 6
  samples: 1
EOF
}
configuration 1 blip_laion_cc_sbu_558k.json "" plain square >stage1.yaml
configuration 2 llava_v1_5_mix665k.json "  adapters: runs/stage1
lora:
  lora_enable: true
  lora_r: 2
  lora_alpha: 4
" vicuna_v1 pad >stage2.yaml

{
    cat <<'EOF'
sweep:
  output_dir: out/sweep
  train: [stage1.yaml, stage2.yaml]
  settings: {training.learning_rate: 1e-3}
  variants: {a: {}, b: {model.clip_concat: false}, c: {eval.checkpoint: null, lora.lora_enable: false}}
  grid: {eval.layers: [[], [0], [0, 1]], eval.prompt: [null, 'What?']}
  zip: {training.seed: [1, 2], eval.seed: [1, 2]}
  evaluation_only: [model.timestep]
  base: a
  sort_by: point_accuracy
  launch: [nice, -n, 1]
EOF
    sed '/^  checkpoint:/d; /^  output_dir: out/d; /^  adapters:/d' stage2.yaml
} >sweep.yaml

quietly() { "$@" >log 2>&1 || { cat log >&2 && exit 1; }; }
quietly "$build/difflmm" train stage1.yaml
quietly "$build/difflmm" train stage2.yaml
quietly "$build/difflmm" train stage1.yaml training.output_dir=run data.cache_features=true data.feature_folder=kept
rm -r run
quietly "$build/difflmm" eval stage2.yaml eval.output_dir=runs/eval/trained
quietly "$build/difflmm" export runs/stage2 published
quietly "$build/difflmm" prepare stage2.yaml --images --out packs
# Small packs, so that a million can be damaged, and what is left of a preparation that was refused.
mkdir few
cat >few/plain.json <<'EOF'
[{"id": "a", "image": "rgb.jpg", "conversations": [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A ring."}]},
 {"id": "b", "image": ["grey.png"], "conversations": [{"from": "human", "value": "Describe it.\n<image>"}, {"from": "gpt", "value": "A star."}]}]
EOF
cat >few/turns.json <<'EOF'
[{"id": "a", "image": "rgb.jpg", "conversations": [{"from": "system", "value": "Be brief."}, {"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A ring."}, {"from": "human", "value": "And?"}, {"from": "gpt", "value": "No."}]},
 {"id": 2, "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho \u20ac"}]}]
EOF
cp few/turns.json few/bare.json
sed 's/"id": 2, /"id": 2, "image": "none.png", /; s/"Hi"/"<image>"/' few/turns.json >few/refused.json
prepare() { "$build/difflmm" prepare "$1" data.train="few/$2.json" data.eval=null data.image_folder=pictures --out few "${@:3}"; }
features="data.cache_features=true data.feature_folder=features"
quietly prepare stage1.yaml plain --images $features
quietly prepare stage2.yaml turns --images $features model.architecture=llava
quietly prepare stage2.yaml bare $features model.dtype=float32
prepare stage2.yaml refused --images >log 2>&1 && exit 1
mv few/refused.pack.h5.parts/blocks-000-000.journal few
rm log
# No file's name depends on when or by whom it was made.
for stage in 1 2; do
    mv runs/stage$stage/tensorboard/* "runs/stage$stage/tensorboard/events.out.tfevents.1.seed.1.0"
done
"$build/difflmm" config >all.yaml
