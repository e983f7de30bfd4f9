#include "tests/fuzz/targets.h"

#include "tests/fuzz/parsers.h"
#include "train/command.h"
#include "train/config/config_schema.h"

#include <stdlib.h>
#include <string.h>

#define MODELS "sd/*config.json sd/*/*.json sd/*/*.safetensors sd/tokenizer/* clip/* llm/* "
#define TRAINING_DATA "world/train/*.json world/train/*.jpg world/test/*.jpg "

const Target TARGETS[] = {
    {.name = "config",
     .run = command_config,
     .batch = 500,
     .templates = {{"config", ""},
                   {"config training.seed", ""},
                   {"config stage1.yaml", "stage1.yaml"},
                   {"config stage2.yaml training.max_steps=10", "stage2.yaml"},
                   {"config all.yaml", "all.yaml"},
                   {"config runs/stage2/config.yaml", "runs/stage2/config.yaml"}}},
    {.name = "plan",
     .run = command_plan,
     .batch = 200,
     .computes = true,
     .has_json = true,
     .templates = {{"plan stage1.yaml", "stage1.yaml " MODELS "world/*.json"},
                   {"plan stage2.yaml", "stage2.yaml " MODELS "world/*.json runs/stage1/*"},
                   {"plan stage2.yaml --json", "stage2.yaml " MODELS "runs/stage1/*"},
                   {"plan stage2.yaml --processes 3 training.shard_optimizer=true",
                    "stage2.yaml " MODELS},
                   {"plan stage2.yaml model.adapters=published training.output_dir=out/run",
                    "published/* " MODELS},
                   {"plan stage1.yaml model.vision_tower=open/clip_openai data.image_size=32",
                    "open/clip_openai/*"},
                   {"plan stage1.yaml model.vision_tower=open/clip_shards data.image_size=32",
                    "open/clip_shards/*"},
                   {"plan stage1.yaml model.vision_tower=open/clip_open data.image_size=32",
                    "open/clip_open/*"},
                   {"plan stage1.yaml model.llm=decoders/qwen2 model.architecture=llava",
                    "decoders/qwen2/*"},
                   {"plan stage1.yaml model.llm=decoders/yarn", "decoders/yarn/*"},
                   {"plan stage1.yaml model.llm=decoders/llama3", "decoders/llama3/*"},
                   {"plan stage1.yaml model.llm=decoders/dynamic", "decoders/dynamic/*"},
                   {"plan stage1.yaml model.llm=decoders/mistral", "decoders/mistral/*"},
                   {"plan stage1.yaml model.implicit_captioner=false",
                    "sd/text_encoder/* sd/tokenizer/*"},
                   {"plan stage2.yaml model.llm=tokenizers/llama_3", "tokenizers/llama_3/*"},
                   {"plan stage1.yaml --time training.output_dir=out/run",
                    "stage1.yaml " MODELS TRAINING_DATA}}},
    {.name = "train",
     .run = command_train,
     .batch = 50,
     .computes = true,
     .writes = true,
     .templates =
         {{"train stage1.yaml training.output_dir=out/run", "stage1.yaml " MODELS TRAINING_DATA},
          {"train stage2.yaml training.output_dir=out/run",
           "stage2.yaml " MODELS TRAINING_DATA "runs/stage1/*.h5"},
          {"train stage1.yaml training.max_steps=3",
           "runs/stage1/* runs/stage1/*.h5 runs/stage1/*.h5"},
          {"train stage2.yaml training.max_steps=3",
           "runs/stage2/* runs/stage2/*.h5 runs/stage2/*.h5"},
          {"train stage2.yaml training.output_dir=out/run "
           "training.resume=runs/stage2/checkpoint-1.h5",
           "runs/stage2/checkpoint-1.h5"},
          {"train stage2.yaml training.output_dir=out/run model.adapters=published", "published/*"},
          {"train stage2.yaml training.output_dir=out/run data.cache_features=true "
           "data.missing_image=skip",
           "stage2.yaml " TRAINING_DATA},
          {"train stage1.yaml training.output_dir=out/run model.implicit_captioner=false",
           "sd/text_encoder/* sd/tokenizer/*"},
          {"train stage2.yaml training.output_dir=out/run model.recompute=all model.dtype=float32",
           ""},
          {"train stage1.yaml training.output_dir=out/run model.architecture=llava "
           "model.vision_tower=open/clip_shards data.image_size=32",
           "open/clip_shards/*"}}},
    {.name = "eval",
     .run = command_eval,
     .batch = 50,
     .computes = true,
     .writes = true,
     .templates = {{"eval stage2.yaml",
                    "stage2.yaml " MODELS
                    "world/test/instances.json world/test/images/* runs/stage2/*.h5"},
                   {"eval stage1.yaml",
                    "stage1.yaml world/test/instances.json world/test/images/* runs/stage1/*.h5"},
                   {"eval stage2.yaml eval.checkpoint=published", "published/*"},
                   {"eval stage2.yaml eval.checkpoint=null lora.lora_enable=false",
                    "world/test/instances.json"},
                   {"eval stage1.yaml eval.annotations=masks.json eval.query=own", "masks.json"}}},
    {.name = "ground",
     .run = command_ground,
     .batch = 50,
     .computes = true,
     .writes = true,
     .templates = {{"ground stage2.yaml world/test/images/000000500000.jpg --out out/ground "
                    "--words ring,star",
                    "stage2.yaml " MODELS "world/test/images/* runs/stage2/*.h5"},
                   {"ground stage1.yaml pictures/rgb.jpg What? --out out/ground",
                    "world/test/instances.json pictures/rgb.jpg"},
                   {"ground stage2.yaml pictures/rgb16.png --out out/ground "
                    "eval.checkpoint=published --words a",
                    "published/* pictures/rgb16.png"}}},
    {.name = "features",
     .run = command_features,
     .batch = 50,
     .computes = true,
     .writes = true,
     .templates =
         {{"features stage1.yaml pictures/rgb.jpg --out out.safetensors --noise noise.safetensors",
           "stage1.yaml noise.safetensors noise.safetensors pictures/rgb.jpg " MODELS},
          {"features stage2.yaml pictures/interlaced.png --out out.safetensors --text yes",
           "stage2.yaml pictures/interlaced.png runs/stage2/*.h5 " MODELS},
          {"features stage1.yaml pictures/cmyk.jpg --out out.safetensors eval.checkpoint=published",
           "published/* pictures/cmyk.jpg"}}},
    {.name = "export",
     .run = command_export,
     .batch = 100,
     .writes = true,
     .templates =
         {{"export runs/stage1 out", "runs/stage1/*.h5"},
          {"export runs/stage2 out --format safetensors", "runs/stage2/*.h5"},
          {"export runs/stage2/checkpoint-1.h5 out --merge", "runs/stage2/checkpoint-1.h5 llm/*"},
          {"export published out --merge model.llm=llm model.sd=sd model.vision_tower=clip",
           "published/* llm/*"},
          {"export adapters/stage1/mm_projector.bin out", "adapters/stage1/mm_projector.bin"}}},
    {.name = "inspect",
     .run = command_inspect,
     .batch = 300,
     .has_json = true,
     .templates = {{"inspect llm", "llm/*"},
                   {"inspect open/clip_shards --json", "open/clip_shards/*"},
                   {"inspect archives/training.pt --checksums", "archives/training.pt"},
                   {"inspect archives/dtypes.pt --json", "archives/dtypes.pt"},
                   {"inspect archives/dtypes_legacy.pt", "archives/dtypes_legacy.pt"},
                   {"inspect archives/views_legacy.pt --checksums", "archives/views_legacy.pt"},
                   {"inspect archives/nested.pt --json", "archives/nested.pt"},
                   {"inspect archives/values_2.p --json", "archives/values_2.p"},
                   {"inspect archives/python2.p", "archives/python2.p"},
                   {"inspect runs/stage2/checkpoint-2.h5 --json", "runs/stage2/checkpoint-2.h5"},
                   {"inspect runs/stage1/checkpoint-1.h5 --checksums",
                    "runs/stage1/checkpoint-1.h5"},
                   {"inspect noise.safetensors --json --checksums", "noise.safetensors"},
                   {"inspect adapters/stage2 --json", "adapters/stage2/*"},
                   {"inspect published/adapter_model.safetensors",
                    "published/adapter_model.safetensors"},
                   {"inspect world/test/instances.json", "world/test/instances.json"}}},
    {.name = "report",
     .run = command_report,
     .batch = 200,
     .writes = true,
     .templates =
         {{"report runs", "runs/*/*.jsonl runs/eval/* runs/*/config.yaml runs/*/command.sh"},
          {"report runs/stage1 --out page.html", "runs/stage1/*.jsonl runs/stage1/config.yaml"},
          {"report runs/stage1 runs/stage2 --out page.html", "runs/*/*.jsonl runs/*/config.yaml"},
          {"report runs --started 1700000000", "runs/eval/trained/results.json"}}},
    {.name = "image",
     .run = parse_image,
     .batch = 2000,
     .is_parser = true,
     .templates = {{"image pictures/alpha.png", "pictures/alpha.png"},
                   {"image pictures/bits1.png", "pictures/bits1.png"},
                   {"image pictures/cmyk.jpg", "pictures/cmyk.jpg"},
                   {"image pictures/grey.jpg", "pictures/grey.jpg"},
                   {"image pictures/grey16.png", "pictures/grey16.png"},
                   {"image pictures/grey_alpha.png", "pictures/grey_alpha.png"},
                   {"image pictures/interlaced.png", "pictures/interlaced.png"},
                   {"image pictures/interlaced_tiny.png", "pictures/interlaced_tiny.png"},
                   {"image pictures/palette2.png", "pictures/palette2.png"},
                   {"image pictures/palette_transparent.png", "pictures/palette_transparent.png"},
                   {"image pictures/progressive.jpg", "pictures/progressive.jpg"},
                   {"image pictures/rgb.jpg", "pictures/rgb.jpg"},
                   {"image pictures/rgb444.jpg", "pictures/rgb444.jpg"},
                   {"image pictures/rgb16.png", "pictures/rgb16.png"}}},
    {.name = "tokenizer",
     .run = parse_tokenizer,
     .batch = 500,
     .is_parser = true,
     .templates = {{"tokenizer llm", "llm/tokenizer.model"},
                   {"tokenizer tokenizers/gpt_2", "tokenizers/gpt_2/*"},
                   {"tokenizer tokenizers/llama_2", "tokenizers/llama_2/*"},
                   {"tokenizer tokenizers/llama_3", "tokenizers/llama_3/*"},
                   {"tokenizer tokenizers/mistral", "tokenizers/mistral/*"},
                   {"tokenizer tokenizers/qwen_2", "tokenizers/qwen_2/*"},
                   {"tokenizer tokenizers/smollm2", "tokenizers/smollm2/*"}}},
    {.name = "word_piece",
     .run = parse_word_piece,
     .batch = 500,
     .is_parser = true,
     .templates = {{"word_piece tokenizers/bert/vocab.txt", "tokenizers/bert/vocab.txt"}}},
    {.name = "conversations",
     .run = parse_conversations,
     .batch = 500,
     .is_parser = true,
     .templates = {{"conversations world/train/llava_v1_5_mix665k.json world/train",
                    "world/train/llava_v1_5_mix665k.json"},
                   {"conversations world/train/blip_laion_cc_sbu_558k.json world/train",
                    "world/train/blip_laion_cc_sbu_558k.json"}}},
    {.name = "coco",
     .run = parse_coco,
     .batch = 500,
     .is_parser = true,
     .templates = {{"coco world/test/instances.json", "world/test/instances.json"},
                   {"coco masks.json", "masks.json"}}},
    {.name = "referring",
     .run = parse_referring,
     .batch = 1000,
     .is_parser = true,
     .templates = {{"referring referring/refs.p", "referring/*"}}},
    {.name = "grounded_captions",
     .run = parse_grounded_captions,
     .batch = 1000,
     .is_parser = true,
     .templates = {{"grounded_captions grounded/captions.json grounded/masks.json",
                    "grounded/captions.json grounded/masks.json"}}},
    {.name = "grounded_prediction",
     .run = parse_grounded_prediction,
     .batch = 1000,
     .is_parser = true,
     .templates = {{"grounded_prediction grounded/prediction.json", "grounded/prediction.json"}}},
    {.name = "narratives",
     .run = parse_narratives,
     .batch = 1000,
     .is_parser = true,
     .templates = {{"narratives panoptic/narratives.json panoptic/panoptic.json", "panoptic/*"}}},
    {.name = "regions",
     .run = parse_regions,
     .batch = 1000,
     .is_parser = true,
     .templates = {{"regions regions/results.json regions/images.json", "regions/*.json"},
                   {"regions regions/results.json", "regions/results.json"},
                   {"regions regions/float32_0.pkl regions/images.json", "regions/float32_0.pkl"},
                   {"regions regions/float32_2.pkl regions/images.json", "regions/float32_2.pkl"},
                   {"regions regions/float32_5.pkl regions/images.json", "regions/float32_5.pkl"},
                   {"regions regions/scalars_4.pkl regions/images.json", "regions/scalars_4.pkl"}}},
    {.name = "weights",
     .run = parse_weights,
     .batch = 1000,
     .is_parser = true,
     .templates = {{"weights archives/training.pt", "archives/training.pt"},
                   {"weights archives/dtypes.pt", "archives/dtypes.pt"},
                   {"weights archives/dtypes_legacy.pt", "archives/dtypes_legacy.pt"},
                   {"weights archives/views.pt", "archives/views.pt"},
                   {"weights archives/views_legacy.pt", "archives/views_legacy.pt"},
                   {"weights adapters/stage2/adapter_model.bin",
                    "adapters/stage2/adapter_model.bin"},
                   {"weights noise.safetensors", "noise.safetensors"},
                   {"weights published/adapter_model.safetensors",
                    "published/adapter_model.safetensors"}}},
    {.name = "pickle",
     .run = parse_pickle,
     .batch = 2000,
     .is_parser = true,
     .templates = {{"pickle archives/values_0.p", "archives/values_0.p"},
                   {"pickle archives/values_1.p", "archives/values_1.p"},
                   {"pickle archives/values_2.p", "archives/values_2.p"},
                   {"pickle archives/values_4.p", "archives/values_4.p"},
                   {"pickle archives/values_5.p", "archives/values_5.p"},
                   {"pickle archives/python2.p", "archives/python2.p"}}},
    {.name = "state",
     .run = parse_state,
     .batch = 500,
     .is_parser = true,
     .templates = {{"state runs/stage1/checkpoint-1.h5", "runs/stage1/checkpoint-1.h5"},
                   {"state runs/stage2/checkpoint-2.h5", "runs/stage2/checkpoint-2.h5"}}},
    {.name = "peft",
     .run = parse_peft,
     .batch = 1000,
     .is_parser = true,
     .templates = {{"peft adapters/stage2/adapter_config.json",
                    "adapters/stage2/adapter_config.json"},
                   {"peft published/adapter_config.json", "published/adapter_config.json"}}},
};
const int NUM_TARGETS = sizeof TARGETS / sizeof *TARGETS;

const Target *target_find(const char *name) {
    for (int i = 0; i < NUM_TARGETS; i++)
        if (!strcmp(TARGETS[i].name, name)) return &TARGETS[i];
    return NULL;
}

// ---- cost

typedef struct Cap {
    const char *key;
    /// above `most`, and below 0, the value becomes `otherwise`
    double most, otherwise;
} Cap;

static const Cap CAPS[] = {{"training.max_steps", 3, 1},
                           {"training.num_train_epochs", 2, 1},
                           {"training.per_device_train_batch_size", 4, 2},
                           {"training.per_device_eval_batch_size", 8, 2},
                           {"training.gradient_accumulation_steps", 2, 2},
                           {"training.eval_samples", 4, 2},
                           {"training.log_samples", 2, 1},
                           {"training.threads", 2, 1},
                           {"model.ensemble_size", 2, 2},
                           {"lora.lora_r", 64, 4},
                           {"data.image_size", 128, 64},
                           {"data.model_max_length", 512, 512},
                           {"data.dataloader_num_workers", 4, 2},
                           {"data.dataloader_prefetch_factor", 4, 2},
                           {"eval.max_new_tokens", 8, 6},
                           {"eval.samples", 2, 1},
                           {"eval.pictures", 2, 1}};

void target_limit_cost(const Target *target, FuzzCase *fuzz_case) {
    if (!target->computes) return;
    const char *overrides[MOST_ARGUMENTS], *path = NULL;
    int count = 0;
    for (int i = 1; i < fuzz_case->count; i++) {
        const char *text = fuzz_case->arguments[i], *dot = strchr(text, '.'),
                   *equals = strchr(text, '=');
        if (text[0] == '-') continue;
        if (!path)
            path = text;
        else if (dot && equals && dot < equals)
            overrides[count++] = text;
    }
    Config *config = path ? config_load(path, overrides, count, NULL) : NULL;
    for (size_t i = 0; config && i < sizeof CAPS / sizeof *CAPS; i++) {
        const ConfigField *field = &CONFIG_FIELDS[config_find_key(CAPS[i].key)];
        const void *at = (const char *)config + field->offset;
        double value =
            field->type == FIELD_FLOAT ? *(const double *)at : (double)*(const int64_t *)at;
        if (value >= 0 && value <= CAPS[i].most) continue;
        char *setting = format_string("%s=%g", CAPS[i].key, CAPS[i].otherwise);
        case_add_argument(fuzz_case, setting, strlen(setting));
        free(setting);
    }
    config_free(config);
}
