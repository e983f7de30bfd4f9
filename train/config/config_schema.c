// The one table of configuration keys. A key is added here and as a member in config.h (or, if it
// is the model's, in models/difflmm.h), nowhere else.
#include "train/config/config_schema.h"

#include "models/diffusion/noise_schedule.h"

#include <float.h>
#include <string.h>

static const char *const ARCHITECTURES[] = {"difflmm", "llava", NULL};
static const char *const COMPUTE_TYPES[] = {"float32", "bfloat16", NULL};
static const char *const FROZEN_TYPES[] = {"auto", "fp8", NULL};
static const char *const RECOMPUTE_NAMES[] = {"none", "all", NULL};
static const char *const PUBLISHED_WIDTH[] = {"auto", NULL};
static const char *const VERSIONS[] = {"plain",   "vicuna_v1", "llava_v1", "llama_2", "llama_3",
                                       "mistral", "qwen_2",    "smollm2",  NULL};
static const char *const ASPECT_RATIOS[] = {"square", "pad", NULL};
static const char *const NORMALIZATIONS[] = {"half", "clip_twice", NULL};
static const char *const MISSING_IMAGES[] = {"fail", "skip", NULL};
static const char *const SCHEDULES[] = {"cosine", "constant", "linear", NULL};
static const char *const DEVICES[] = {"auto", "cpu", "cuda", NULL};
static const char *const OUTLIER_ACTIONS[] = {"warn", "skip", "stop", NULL};
#define NAME_OF_TASK(name, NAME) #name,
static const char *const TASK_NAMES[] = {EVALUATION_TASKS(NAME_OF_TASK) "point_accuracy", NULL};
static const char *const QUERIES[] = {"producing", "own", "auto", NULL};
static const char *const AGGREGATES[] = {"mean", "max", "first", "auto", NULL};
static const char *const SEGMENTERS[] = {"none", "region_growing", "truth", "sam", "regions", NULL};
static const char *const SENTENCES[] = {"all", "first", NULL};
static const char *const KEPT_MAPS[] = {"mean", "layers", "heads", NULL};
static const char *const REFERRING_TOKENS[] = {"behind_verb", "behind_verb_piece", "first_eight",
                                               NULL};
static const char *const GEOMETRIES[] = {"pad", "original", NULL};
static const char *const PLURALS[] = {"segments", "flag", NULL};
static const char *const SAM_PROMPTS[] = {"point", "mask", NULL};
static const char *const SAVE_BEST[] = {"false", "true", NULL};
static const char *const TASK_DEFAULT[] = {"auto", NULL};

const ConfigSectionDoc CONFIG_SECTIONS[] = {
    {"model", "what the model is made of: frozen networks, adapters, ablations"},
    {"lora", "low-rank adaptation of the language model (stage 2)"},
    {"data", "training data in LLaVA's format, and how images and text are prepared"},
    {"training", "optimization, checkpoints and logging"},
    {"eval", "evaluation of the attention maps"},
};
const int NUM_CONFIG_SECTIONS = (int)(sizeof CONFIG_SECTIONS / sizeof *CONFIG_SECTIONS);

// Largest integer that every double around it can tell from its neighbours: of seeds, which are
// kept as they are. All other integers fit into an int, and numbers into a float, where they are
// used.
#define MOST_SEED 9007199254740992.0
#define AT(member) offsetof(Config, member), sizeof(((Config *)0)->member)
#define AT_LEAST(minimum) minimum, INT32_MAX, NULL
#define SEED 0, MOST_SEED, NULL
#define BETWEEN(minimum, maximum) minimum, maximum, NULL
#define POSITIVE FLT_MIN, FLT_MAX, NULL
#define NOT_NEGATIVE 0, FLT_MAX, NULL
#define ONE_OF(names) 0, 0, names
#define NO_RANGE 0, 0, NULL
// What a change means when a run goes on.
#define ANOTHER_RUN ON_RESUME_ANOTHER_RUN
#define MAY_CHANGE ON_RESUME_MAY_CHANGE
#define BY_BATCH ON_RESUME_BY_BATCH
#define BY_DATA ON_RESUME_BY_DATA

// clang-format off
const ConfigField CONFIG_FIELDS[] = {
    {"model", "architecture", FIELD_ENUM, AT(model.architecture), "difflmm", ONE_OF(ARCHITECTURES),
     "difflmm: CLIP and diffusion features; llava: the LLaVA-1.5 baseline, CLIP alone with an mlp2x_gelu projector", ANOTHER_RUN},
    {"model", "sd", FIELD_PATH, AT(model.sd), NULL, NO_RANGE,
     "directory of Stable Diffusion in its published layout (vae/, unet/, scheduler/, and text_encoder/ if implicit_captioner is false)", ANOTHER_RUN},
    {"model", "vision_tower", FIELD_PATH, AT(model.vision_tower), NULL, NO_RANGE,
     "directory of the CLIP vision model (config.json, safetensors)", ANOTHER_RUN},
    {"model", "llm", FIELD_PATH, AT(model.llm), NULL, NO_RANGE,
     "directory of the language model (config.json, tokenizer.model or tokenizer.json, safetensors)", ANOTHER_RUN},
    {"model", "adapters", FIELD_PATH, AT(adapters), NULL, NO_RANGE,
     "what training starts from, as stage 2 does from stage 1: a checkpoint, or published adapters (LLaVA's pretrain_mm_mlp_adapter: mm_projector.bin, or a folder with non_lora_trainables.bin and a PEFT adapter); null: initialised by training.seed", MAY_CHANGE},
    {"model", "implicit_captioner", FIELD_BOOL, AT(model.implicit_captioner), "true", NO_RANGE,
     "the U-Net's text condition is made from CLIP's image features; false: it is the embedding of the empty prompt", ANOTHER_RUN},
    {"model", "positional_encodings", FIELD_BOOL, AT(model.positional_encodings), "true", NO_RANGE,
     "trained positional encodings are added to the captioner's output and to the visual tokens", ANOTHER_RUN},
    {"model", "clip_concat", FIELD_BOOL, AT(model.clip_concat), "true", NO_RANGE,
     "the projector sees CLIP's features beside those of the U-Net", ANOTHER_RUN},
    {"model", "projector_width", FIELD_INT, AT(model.projector_width), "auto", 1, 1048576, PUBLISHED_WIDTH,
     "W of the projector's two layers, Linear(in, W), GELU, Linear(W, the LLM's width); auto: the LLM's width, as published, or that of the published adapters "
     "which model.adapters or eval.checkpoint names", ANOTHER_RUN},
    {"model", "unet_feature_block", FIELD_INT, AT(model.unet_feature_block), "1", BETWEEN(0, 3),
     "up block of the U-Net whose output is the feature; later blocks are not run", ANOTHER_RUN},
    {"model", "timestep", FIELD_INT, AT(model.timestep), "100", BETWEEN(0, NOISE_SCHEDULE_MAX_TIMESTEPS - 1),
     "diffusion step whose amount of noise is added to the latents; below the noise schedule's num_train_timesteps, which is 1000 as published", ANOTHER_RUN},
    {"model", "ensemble_size", FIELD_INT, AT(model.ensemble_size), "1", BETWEEN(1, 64),
     "noise draws per image whose U-Net features are averaged", ANOTHER_RUN},
    {"model", "positional_encoding_std", FIELD_FLOAT, AT(model.positional_encoding_std), "1.0", NOT_NEGATIVE,
     "standard deviation of the positional encodings at initialisation", ANOTHER_RUN},
    {"model", "dtype", FIELD_ENUM, AT(model.dtype), "bfloat16", ONE_OF(COMPUTE_TYPES),
     "type of frozen weights and activations; trained parameters are float32 in either case", ANOTHER_RUN},
    {"model", "frozen_dtype", FIELD_ENUM, AT(model.frozen_dtype), "auto", ONE_OF(FROZEN_TYPES),
     "type of the matrices in the LLM's layers; auto: model.dtype; fp8: e4m3 with a scale for each output row, half of bfloat16's memory, multiplied with "
     "activations that are rounded to it as well, row by row. Updates by lora, embeddings, norms and lm_head are not rounded", ANOTHER_RUN},
    {"model", "recompute", FIELD_INT, AT(model.recompute), "none", 0, INT32_MAX, RECOMPUTE_NAMES,
     "layers of the LLM whose activations are computed again in backward to save memory (gradient checkpointing): none, all, or every n-th", MAY_CHANGE},

    {"lora", "lora_enable", FIELD_BOOL, AT(lora.lora_enable), "false", NO_RANGE,
     "train low-rank updates of the LLM's linear layers (stage 2)", ANOTHER_RUN},
    {"lora", "lora_r", FIELD_INT, AT(lora.lora_r), "128", BETWEEN(1, 65536), "rank of the updates", ANOTHER_RUN},
    {"lora", "lora_alpha", FIELD_FLOAT, AT(lora.lora_alpha), "256", POSITIVE,
     "updates are scaled by lora_alpha / lora_r", ANOTHER_RUN},
    {"lora", "use_rslora", FIELD_BOOL, AT(lora.use_rslora), "false", NO_RANGE,
     "updates are scaled by lora_alpha / sqrt(lora_r) instead, as PEFT's option of that name does", ANOTHER_RUN},
    {"lora", "lora_dropout", FIELD_FLOAT, AT(lora.lora_dropout), "0.05", BETWEEN(0, 0.99),
     "share of an update's inputs that is set to zero in training", ANOTHER_RUN},
    {"lora", "target_modules", FIELD_STRING_LIST, AT(lora.target_modules),
     "[q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]", NO_RANGE,
     "linear layers of each block that are updated", ANOTHER_RUN},

    {"data", "train", FIELD_DATASET_FILES, AT(data.train), NULL, NO_RANGE,
     "training conversations (LLaVA's data_path): a file in LLaVA's or LLaMA-Factory's form, JSON or JSON Lines, or a list of such files, each with "
     "its image_folder (null: data.image_folder) and its weight: how often an epoch has a sample of it (0.5: another half of them each epoch)", BY_DATA},
    {"data", "image_folder", FIELD_PATH, AT(data.image_folder), NULL, NO_RANGE,
     "folder, or zip or tar archive, that image names in data.train are relative to", ANOTHER_RUN},
    {"data", "eval", FIELD_DATASET_FILES, AT(data.eval), NULL, NO_RANGE,
     "held-out conversations whose loss is measured every training.eval_steps, written as data.train is, without weights; null: none", MAY_CHANGE},
    {"data", "eval_image_folder", FIELD_PATH, AT(data.eval_image_folder), NULL, NO_RANGE,
     "folder, or zip or tar archive, that image names in data.eval are relative to; null: data.image_folder", MAY_CHANGE},
    {"data", "version", FIELD_ENUM, AT(data.version), "vicuna_v1", ONE_OF(VERSIONS),
     "conversation template: plain (stage 1: image, caption, newline), or (stage 2) vicuna_v1, llava_v1 (the same with "
     "\"a curious human\", as the published evaluation asks), or the model's own: llama_2, llama_3, mistral, qwen_2, smollm2", ANOTHER_RUN},
    {"data", "system_message", FIELD_STRING, AT(data.system_message), NULL, NO_RANGE,
     "system message of every conversation that has none of its own (not of plain); null: the template's own; \"\": none", ANOTHER_RUN},
    {"data", "image_aspect_ratio", FIELD_ENUM, AT(data.image_aspect_ratio), "square", ONE_OF(ASPECT_RATIOS),
     "square: the shortest edge is resized to image_size and the centre cropped; pad: padded to a square, then resized", ANOTHER_RUN},
    {"data", "image_normalization", FIELD_ENUM, AT(data.image_normalization), "half", ONE_OF(NORMALIZATIONS),
     "half: pixels in [-1, 1], padding (127,127,127); clip_twice, for adapters that DiffLMM's published code trained: pixels by CLIP's mean and deviation, "
     "and on the way to CLIP by them once more, padding (122,116,104)", ANOTHER_RUN},
    {"data", "image_size", FIELD_INT, AT(data.image_size), "384", BETWEEN(8, 4096),
     "side of the square image that the networks see, in pixels", ANOTHER_RUN},
    {"data", "model_max_length", FIELD_INT, AT(data.model_max_length), "2048", BETWEEN(2, 1048576),
     "longest sequence, visual tokens included; longer ones are cut", ANOTHER_RUN},
    {"data", "group_by_modality_length", FIELD_BOOL, AT(data.group_by_modality_length), "false", NO_RANGE,
     "batches are all-image or all-text and of near-equal lengths (stage 2); false: shuffled", ANOTHER_RUN},
    {"data", "tokens_per_batch", FIELD_INT, AT(data.tokens_per_batch), "0", BETWEEN(0, 16777216),
     "text and visual tokens in one pass of one process: as many samples as fit, packed by their lengths, instead of training.per_device_train_batch_size; "
     "a longer sample has a pass to itself. Without a pack all samples are tokenized once at the start. 0: a fixed number of samples", ANOTHER_RUN},
    {"data", "missing_image", FIELD_ENUM, AT(data.missing_image), "fail", ONE_OF(MISSING_IMAGES),
     "an image that is missing or cannot be read: fail stops with its name, skip counts the sample and takes another with an image in its place", ANOTHER_RUN},
    {"data", "cache_features", FIELD_BOOL, AT(data.cache_features), "false", NO_RANGE,
     "keep in memory, per image, what no trained parameter changes (CLIP features, latent moments)", MAY_CHANGE},
    {"data", "feature_folder", FIELD_PATH, AT(data.feature_folder), NULL, NO_RANGE,
     "with cache_features: a folder where they stay on disk and not in memory, for all runs that see the same pictures through the same encoders; what "
     "is there is read instead of computed. U-Net features cannot be kept: they change while the captioner trains. null: none", MAY_CHANGE},
    {"data", "dataloader_num_workers", FIELD_INT, AT(data.dataloader_num_workers), "1", BETWEEN(0, 1024),
     "threads that read and prepare samples ahead; 0: none, in the training thread", MAY_CHANGE},
    {"data", "dataloader_prefetch_factor", FIELD_INT, AT(data.dataloader_prefetch_factor), "2", BETWEEN(1, 1024),
     "batches that are prepared ahead", MAY_CHANGE},

    {"training", "output_dir", FIELD_PATH, AT(training.output_dir), NULL, NO_RANGE,
     "folder for checkpoints, metrics.jsonl and the resolved configuration", MAY_CHANGE},
    {"training", "seed", FIELD_INT, AT(training.seed), "42", SEED,
     "of initialisation, noise, dropout and order: the same seed gives the same run", ANOTHER_RUN},
    {"training", "num_train_epochs", FIELD_FLOAT, AT(training.num_train_epochs), "1", POSITIVE,
     "passes over the data, where max_steps does not say otherwise", ANOTHER_RUN},
    {"training", "max_steps", FIELD_INT, AT(training.max_steps), "-1", AT_LEAST(-1),
     "optimizer steps in all; -1: as num_train_epochs says", ANOTHER_RUN},
    {"training", "per_device_train_batch_size", FIELD_INT, AT(training.per_device_train_batch_size), "8", BETWEEN(1, 65536),
     "samples in one pass of one process (of no meaning with data.tokens_per_batch)", BY_BATCH},
    {"training", "per_device_eval_batch_size", FIELD_INT, AT(training.per_device_eval_batch_size), "8", BETWEEN(1, 65536),
     "the same when loss is measured on data.eval", MAY_CHANGE},
    {"training", "gradient_accumulation_steps", FIELD_INT, AT(training.gradient_accumulation_steps), "1", BETWEEN(1, 65536),
     "passes per optimizer step; the global batch is passes x samples x processes (with data.tokens_per_batch passes x processes)", BY_BATCH},
    {"training", "learning_rate", FIELD_FLOAT, AT(training.learning_rate), "1e-3", NOT_NEGATIVE,
     "highest learning rate: of LoRA, and of the adapters unless mm_projector_lr is given", ANOTHER_RUN},
    {"training", "mm_projector_lr", FIELD_FLOAT, AT(training.mm_projector_lr), NULL, NOT_NEGATIVE,
     "highest learning rate of the adapters (captioner, encodings, projector); null: learning_rate", ANOTHER_RUN},
    {"training", "weight_decay", FIELD_FLOAT, AT(training.weight_decay), "0.0", NOT_NEGATIVE,
     "decoupled weight decay of AdamW, not applied to biases and norms", ANOTHER_RUN},
    {"training", "adam_beta1", FIELD_FLOAT, AT(training.adam_beta1), "0.9", BETWEEN(0, 0.9999999),
     "decay of AdamW's first moment", ANOTHER_RUN},
    {"training", "adam_beta2", FIELD_FLOAT, AT(training.adam_beta2), "0.999", BETWEEN(0, 0.9999999),
     "decay of AdamW's second moment", ANOTHER_RUN},
    {"training", "adam_epsilon", FIELD_FLOAT, AT(training.adam_epsilon), "1e-8", POSITIVE,
     "AdamW's epsilon", ANOTHER_RUN},
    {"training", "max_grad_norm", FIELD_FLOAT, AT(training.max_grad_norm), "1.0", NOT_NEGATIVE,
     "gradients are scaled down to this norm over all parameters; 0: never", ANOTHER_RUN},
    {"training", "warmup_ratio", FIELD_FLOAT, AT(training.warmup_ratio), "0.03", BETWEEN(0, 1),
     "share of the steps in which the learning rate rises linearly from zero", ANOTHER_RUN},
    {"training", "lr_scheduler_type", FIELD_ENUM, AT(training.lr_scheduler_type), "cosine", ONE_OF(SCHEDULES),
     "course of the learning rate after warm-up: cosine and linear fall to zero", ANOTHER_RUN},
    {"training", "save_steps", FIELD_INT, AT(training.save_steps), "500", AT_LEAST(0),
     "steps between checkpoints; 0: only at the end", MAY_CHANGE},
    {"training", "save_total_limit", FIELD_INT, AT(training.save_total_limit), "2", AT_LEAST(0),
     "newest checkpoints that are kept; 0: all", MAY_CHANGE},
    {"training", "save_keep_steps", FIELD_INT, AT(training.save_keep_steps), "0", AT_LEAST(0),
     "checkpoints at multiples of this many steps are kept for good; 0: none", MAY_CHANGE},
    {"training", "save_best", FIELD_STRING, AT(training.save_best), "false", ONE_OF(SAVE_BEST),
     "save and keep the best checkpoint, as checkpoint-best.h5: true: that with the lowest loss on data.eval; a figure of eval.tasks, as points.point_accuracy: that where it was highest", MAY_CHANGE},
    {"training", "save_in_background", FIELD_BOOL, AT(training.save_in_background), "true", NO_RANGE,
     "training goes on while a checkpoint is written, from a copy of weights and moments; false: it waits, and on "
     "processors no copy is made (unless the moments are shared out)", MAY_CHANGE},
    {"training", "eval_steps", FIELD_INT, AT(training.eval_steps), "0", AT_LEAST(0),
     "steps between measurements of the loss on data.eval and of the figures of eval.tasks; 0: only at the end", MAY_CHANGE},
    {"training", "eval_samples", FIELD_INT, AT(training.eval_samples), "-1", AT_LEAST(-1),
     "samples of data.eval that are used, from the first; -1: all", MAY_CHANGE},
    {"training", "logging_steps", FIELD_INT, AT(training.logging_steps), "10", AT_LEAST(1),
     "steps between lines on the terminal; metrics.jsonl has every step", MAY_CHANGE},
    {"training", "tensorboard", FIELD_BOOL, AT(training.tensorboard), "true", NO_RANGE,
     "write TensorBoard event files beside metrics.jsonl", MAY_CHANGE},
    {"training", "log_samples", FIELD_INT, AT(training.log_samples), "4", BETWEEN(0, 64),
     "pictures of data.eval that the model is asked about (eval.prompt) at each evaluation, for TensorBoard", MAY_CHANGE},
    {"training", "outlier_zscore", FIELD_FLOAT, AT(training.outlier_zscore), "6.0", NOT_NEGATIVE,
     "a loss or gradient norm this many standard deviations above the last 128 is an outlier; 0: none is", ANOTHER_RUN},
    {"training", "outlier_action", FIELD_ENUM, AT(training.outlier_action), "warn", ONE_OF(OUTLIER_ACTIONS),
     "what an outlier leads to: a warning, a warning and no update in that step, or the end of the run with its state saved", ANOTHER_RUN},
    {"training", "shard_optimizer", FIELD_BOOL, AT(training.shard_optimizer), "false", NO_RANGE,
     "each process keeps a share of the optimizer's moments (ZeRO stage 1)", MAY_CHANGE},
    {"training", "distributed_timeout", FIELD_INT, AT(training.distributed_timeout), "45", BETWEEN(1, 86400),
     "seconds that a process waits for the others in a step before it takes one for dead", MAY_CHANGE},
    {"training", "resume", FIELD_PATH, AT(training.resume), "auto", NO_RANGE,
     "auto: go on from the newest checkpoint in output_dir if there is one; never: start anew; or the path of a checkpoint", MAY_CHANGE},
    {"training", "accept_changes", FIELD_BOOL, AT(training.accept_changes), "false", NO_RANGE,
     "go on from a checkpoint although settings changed that decide what is learned", MAY_CHANGE},
    {"training", "device", FIELD_ENUM, AT(training.device), "auto", ONE_OF(DEVICES),
     "what computes; auto: a CUDA device if there is one", MAY_CHANGE},
    {"training", "threads", FIELD_INT, AT(training.threads), "0", BETWEEN(0, 4096),
     "processor threads; 0: one per core", MAY_CHANGE},

    {"eval", "task", FIELD_ENUM, AT(eval.task), "points", ONE_OF(TASK_NAMES),
     "what is measured: points (attention alone), gcg (grounded conversations), res (referring expressions), png (panoptic narratives), instances (COCO), caption, pope (is it in the image?), gqa (questions that a word answers); 'difflmm eval --help' says which files each reads", MAY_CHANGE},
    {"eval", "tasks", FIELD_STRING_LIST, AT(eval.tasks), "[]", NO_RANGE,
     "in training: what is measured every training.eval_steps and at the end, beside the loss: names of tasks, with the files of this section, or YAML files (.yaml, .yml) whose section eval is taken, and nothing else of them: the model is the one that is trained; of each the first eval.samples images, 16 where that is -1", MAY_CHANGE},
    {"eval", "annotations", FIELD_PATH, AT(eval.annotations), NULL, NO_RANGE,
     "what is true of the images, in the task's published form", MAY_CHANGE},
    {"eval", "masks", FIELD_PATH, AT(eval.masks), NULL, NO_RANGE,
     "gcg: the JSON of masks; png: the folder of panoptic PNGs", MAY_CHANGE},
    {"eval", "segments", FIELD_PATH, AT(eval.segments), NULL, NO_RANGE,
     "png: the panoptic JSON", MAY_CHANGE},
    {"eval", "image_folder", FIELD_PATH, AT(eval.image_folder), NULL, NO_RANGE,
     "folder, or zip or tar archive, that file names in eval.annotations are relative to", MAY_CHANGE},
    {"eval", "split", FIELD_STRING, AT(eval.split), NULL, NO_RANGE,
     "res: whose references are evaluated; null: val", MAY_CHANGE},
    {"eval", "sentences", FIELD_ENUM, AT(eval.sentences), "all", ONE_OF(SENTENCES),
     "res: every sentence of a reference, or its first", MAY_CHANGE},
    {"eval", "checkpoint", FIELD_PATH, AT(eval.checkpoint), NULL, NO_RANGE,
     "the trained weights that are evaluated: a checkpoint, or published adapters (mm_projector.bin, or a folder with non_lora_trainables.bin and a PEFT adapter); null: untrained, as initialised by eval.seed", MAY_CHANGE},
    {"eval", "output_dir", FIELD_PATH, AT(eval.output_dir), NULL, NO_RANGE,
     "folder for answers, results, predictions and pictures", MAY_CHANGE},
    {"eval", "answers", FIELD_PATH, AT(eval.answers), NULL, NO_RANGE,
     "a folder of stored answers, or of the .pth files of groundLMM's attention scripts, which are judged without the model; null: eval.output_dir/answers, where the model is asked for what is not there yet", MAY_CHANGE},
    {"eval", "tokenizer", FIELD_PATH, AT(eval.tokenizer), NULL, NO_RANGE,
     "of eval.answers that are .pth files: tokenizer of the model that answered, tokenizer.model or tokenizer.json or their folder; null: model.llm's", MAY_CHANGE},
    {"eval", "geometry", FIELD_ENUM, AT(eval.geometry), "pad", ONE_OF(GEOMETRIES),
     "of eval.answers that are .pth files: pictures were padded to squares (LLaVA), or resized as a whole (Qwen2.5-VL, InternVL2.5)", MAY_CHANGE},
    {"eval", "offset", FIELD_INT, AT(eval.offset), "1", BETWEEN(0, 1024),
     "of eval.answers that are .pth files: ids in front of an answer, which have no attention, at most; the scripts' repeated <s> is one", MAY_CHANGE},
    {"eval", "prompt", FIELD_STRING, AT(eval.prompt), NULL, NO_RANGE,
     "what the model is asked about an image, {} being the expression in res and the question in pope and gqa; null: the task's own, mostly 'Describe the image in detail.'", MAY_CHANGE},
    {"eval", "max_new_tokens", FIELD_INT, AT(eval.max_new_tokens), "auto", 0, 1048576, TASK_DEFAULT,
     "longest answer; auto: the task's own, 512, in res 64, in pope and gqa 128", MAY_CHANGE},
    {"eval", "temperature", FIELD_FLOAT, AT(eval.temperature), "0", NOT_NEGATIVE,
     "0: the most probable token follows (greedy); above: it is drawn, by the softmax of logits / temperature and eval.seed", MAY_CHANGE},
    {"eval", "top_p", FIELD_FLOAT, AT(eval.top_p), "1", BETWEEN(0, 1),
     "with a temperature: drawn is among the fewest tokens, the most probable first, whose probabilities add up to this much; 1: among all", MAY_CHANGE},
    {"eval", "batch_size", FIELD_INT, AT(eval.batch_size), "16", BETWEEN(1, 1024),
     "questions that a process puts to the model at once; results do not depend on it", MAY_CHANGE},
    {"eval", "query", FIELD_ENUM, AT(eval.query), "auto", ONE_OF(QUERIES),
     "whose attention a token's map is: of the position that produced it, or of its own; auto: own in png, else producing", MAY_CHANGE},
    {"eval", "layers", FIELD_INT_LIST, AT(eval.layers), "[]", BETWEEN(0, 1023),
     "layers whose attention is averaged, counted from 0; []: all", MAY_CHANGE},
    {"eval", "heads", FIELD_INT_LIST, AT(eval.heads), "[]", BETWEEN(0, 1023),
     "heads whose attention is averaged, counted from 0; []: all", MAY_CHANGE},
    {"eval", "keep", FIELD_ENUM, AT(eval.keep), "mean", ONE_OF(KEPT_MAPS),
     "maps that are stored: the mean over eval.layers and eval.heads, one per layer (the mean over eval.heads), or every head's; from the latter two any layers (and heads) can be judged later", MAY_CHANGE},
    {"eval", "normalise", FIELD_BOOL, AT(eval.normalise), "true", NO_RANGE,
     "the mean map of an answer is subtracted from its tokens' maps", MAY_CHANGE},
    {"eval", "remove_corner", FIELD_BOOL, AT(eval.remove_corner), "false", NO_RANGE,
     "the four corner cells of a phrase's map get the smallest value of all phrases' maps of the answer, so that they do not count", MAY_CHANGE},
    {"eval", "aggregate", FIELD_ENUM, AT(eval.aggregate), "auto", ONE_OF(AGGREGATES),
     "how the maps of a phrase's tokens become one; auto: first in png, else mean", MAY_CHANGE},
    {"eval", "referring_tokens", FIELD_ENUM, AT(eval.referring_tokens), "behind_verb", ONE_OF(REFERRING_TOKENS),
     "res: the token whose attention counts: behind the first of the words is, are, be; behind_verb_piece: the same by pieces of words, as the published script does it; first_eight: the largest of the first eight", MAY_CHANGE},
    {"eval", "plurals", FIELD_ENUM, AT(eval.plurals), "segments", ONE_OF(PLURALS),
     "png: an utterance is plural if it names several segments (as published), or if the file's flag says so", MAY_CHANGE},
    {"eval", "segmenter", FIELD_ENUM, AT(eval.segmenter), "region_growing", ONE_OF(SEGMENTERS),
     "what turns a point into a mask: sam (eval.sam), regions (eval.regions), region_growing (no weights), truth (the true mask at the point: measures pointing alone), none", MAY_CHANGE},
    {"eval", "sam", FIELD_PATH, AT(eval.sam), NULL, NO_RANGE,
     "Segment Anything: its published .pth, or the folder of transformers' SamModel", MAY_CHANGE},
    {"eval", "sam_prompt", FIELD_ENUM, AT(eval.sam_prompt), "point", ONE_OF(SAM_PROMPTS),
     "what SAM is shown: the point, or the attention map and the box around it", MAY_CHANGE},
    {"eval", "more_masks", FIELD_BOOL, AT(eval.more_masks), "false", NO_RANGE,
     "all three of SAM's masks of a point are detections of their own, in instances", MAY_CHANGE},
    {"eval", "regions", FIELD_PATH, AT(eval.regions), NULL, NO_RANGE,
     "regions found beforehand, of which the first, by score, that contains the point is taken: COCO results JSON, a detector's .pkl, or a folder of panoptic PNGs", MAY_CHANGE},
    {"eval", "region_images", FIELD_PATH, AT(eval.region_images), NULL, NO_RANGE,
     "COCO JSON whose images eval.regions lists, in its order (a .pkl needs it; of RefCOCO: instances_refcoco_valtest.json); null: eval.annotations where that is one", MAY_CHANGE},
    {"eval", "phrases", FIELD_STRING, AT(eval.phrases), NULL, NO_RANGE,
     "command that finds noun chunks, such as 'python3 eval/phrases/spacy_chunks.py'; null: the built-in ones", MAY_CHANGE},
    {"eval", "wordnet", FIELD_PATH, AT(eval.wordnet), "/usr/share/wordnet", NO_RANGE,
     "instances: folder of WordNet's files (Debian's package wordnet-base), with which words are compared with categories where no eval.phrases gives vectors; only names are where it is not there", MAY_CHANGE},
    {"eval", "category_threshold", FIELD_FLOAT, AT(eval.category_threshold), "0", BETWEEN(0, 1),
     "instances: least similarity of a phrase's word and a category's name", MAY_CHANGE},
    {"eval", "meteor", FIELD_PATH, AT(eval.meteor), NULL, NO_RANGE,
     "folder of METEOR 1.5's English data; null: METEOR is not computed", MAY_CHANGE},
    {"eval", "bert", FIELD_PATH, AT(eval.bert), NULL, NO_RANGE,
     "folder of bert-base-uncased, with which phrases are compared in gcg; null: exact words instead", MAY_CHANGE},
    {"eval", "as_published", FIELD_BOOL, AT(eval.as_published), "false", NO_RANGE,
     "where a task's published script departs from its description, do as the script does", MAY_CHANGE},
    {"eval", "samples", FIELD_INT, AT(eval.samples), "-1", AT_LEAST(-1),
     "images that are evaluated, from the first; -1: all (by eval.tasks 16)", MAY_CHANGE},
    {"eval", "pictures", FIELD_INT, AT(eval.pictures), "8", BETWEEN(0, 10000),
     "images for which a picture with coloured phrases is written", MAY_CHANGE},
    {"eval", "seed", FIELD_INT, AT(eval.seed), "42", SEED,
     "of the noise on the latents, of drawn tokens and of the intervals", MAY_CHANGE},
};

#define OF_FILE(member) offsetof(DatasetFile, member), sizeof(((DatasetFile *)0)->member)
#define MOST_WEIGHT 1000
const ConfigField DATASET_FILE_FIELDS[] = {
    {NULL, "path", FIELD_PATH, OF_FILE(path), "", NO_RANGE, "the file", BY_DATA},
    {NULL, "image_folder", FIELD_PATH, OF_FILE(image_folder), NULL, NO_RANGE, "folder that its image names are relative to", BY_DATA},
    {NULL, "weight", FIELD_FLOAT, OF_FILE(weight), "1", FLT_MIN, MOST_WEIGHT, NULL, "how often an epoch has a sample of it", BY_DATA},
};
// clang-format on
const int NUM_DATASET_FILE_FIELDS = (int)(sizeof DATASET_FILE_FIELDS / sizeof *DATASET_FILE_FIELDS);
const int NUM_CONFIG_FIELDS = (int)(sizeof CONFIG_FIELDS / sizeof *CONFIG_FIELDS);

int config_find_section(const char *name) {
    for (int i = 0; i < NUM_CONFIG_SECTIONS; i++)
        if (!strcmp(CONFIG_SECTIONS[i].name, name)) return i;
    return -1;
}

int config_find_field(const char *section, const char *name) {
    for (int i = 0; i < NUM_CONFIG_FIELDS; i++)
        if (!strcmp(CONFIG_FIELDS[i].section, section) && !strcmp(CONFIG_FIELDS[i].name, name))
            return i;
    return -1;
}

int config_find_key(const char *dotted) {
    const char *dot = strchr(dotted, '.');
    if (!dot) return -1;
    size_t length = (size_t)(dot - dotted);
    for (int i = 0; i < NUM_CONFIG_FIELDS; i++)
        if (strlen(CONFIG_FIELDS[i].section) == length &&
            !strncmp(CONFIG_FIELDS[i].section, dotted, length) &&
            !strcmp(CONFIG_FIELDS[i].name, dot + 1))
            return i;
    return -1;
}
