// difflmm export: trained weights in the published files.
#include "autograd/output/output_directory.h"
#include "autograd/stop_request.h"
#include "autograd/text/utf8.h"
#include "checkpoints/checkpoint_folder.h"
#include "train/command.h"
#include "train/config/config_schema.h"
#include "train/log/progress.h"
#include "train/saved/export.h"
#include "train/saved/trained_normalization.h"
#include "train/saved/trained_weights.h"
#include "train/saved/training_checkpoint.h"
#include "train/trainer/model_setup.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/// As Hugging Face's libraries cut.
static const int64_t SHARD_BYTES = 5000000000;

typedef struct ExportArguments {
    const char *source, *target;
    bool merge;
    PublishedFormat format;
    ArgumentList settings;
} ExportArguments;

static const char *const FORMATS[] = {
    [PUBLISHED_BIN] = "bin", [PUBLISHED_SAFETENSORS] = "safetensors", NULL};

static const Argument ARGUMENTS[] = {
    {"SOURCE", NULL,
     "a checkpoint, or a run's folder, whose newest checkpoint is meant; or, for --merge say, "
     "published adapters (a folder with non_lora_trainables.bin and a PEFT adapter), which nothing "
     "but the keys that are given configures",
     ARGUMENT_PATH, INTO(ExportArguments, source), ARGUMENT_REQUIRED},
    {"DIR", NULL, "the folder to be made; it must not exist", ARGUMENT_PATH,
     INTO(ExportArguments, target), ARGUMENT_REQUIRED},
    {"--merge", NULL,
     "the language model with LoRA merged into it, as safetensors shards with config.json and "
     "tokenizer, and mm_projector.bin",
     ARGUMENT_FLAG, INTO(ExportArguments, merge)},
    {"--format", "bin|safetensors",
     "of mm_projector and non_lora_trainables: bin (the default) is PyTorch's, which LLaVA and the "
     "published code read",
     ARGUMENT_NAME, INTO(ExportArguments, format), .names = FORMATS},
    {"section.key=value", NULL,
     "sets a key of the configuration, which is the checkpoint's own, to say where networks are "
     "now: model.llm=DIR",
     ARGUMENT_SETTINGS, INTO(ExportArguments, settings)},
    {0}};

static const CommandLine LINE = {
    "export",
    "Writes the trained weights of SOURCE in the published files into DIR:\n"
    "\n"
    "  after stage 1   mm_projector.bin\n"
    "  after stage 2   non_lora_trainables.bin, adapter_config.json, adapter_model.safetensors "
    "(PEFT)\n"
    "\n"
    "What was exported is read by model.adapters (training) and eval.checkpoint (eval, ground, "
    "features).\n",
    ARGUMENTS,
    "  difflmm export runs/tiny/stage2 runs/tiny/published\n"
    "  difflmm export runs/tiny/stage2 runs/tiny/merged --merge\n"};

/// The configuration that the source was trained with, settings of the command line on top.
static Config *load_config(const ExportArguments *arguments, Error *error) {
    const ArgumentList *settings = &arguments->settings;
    if (published_adapters_at(arguments->source))
        return config_load(NULL, settings->values, settings->count, error);
    Config *config = NULL;
    char *path = checkpoint_resolve(arguments->source, error);
    char *text = path ? training_checkpoint_config(path, error) : NULL;
    if (text) config = config_load_text(text, path, settings->values, settings->count, error);
    free(text);
    free(path);
    return config;
}

static bool settle_normalization(const char *path, ExportSource *source, Error *error) {
    const Config *config = source->config;
    TrainedNormalization trained = {0};
    char *resolved = trained_weights_resolve(path, error);
    bool ok = resolved && trained_normalization_check(config, resolved, stderr, error) &&
              trained_normalization_read(resolved, &trained, error);
    free(resolved);
    source->knows_normalization =
        trained.is_known ||
        config->origins[config_find_key("data.image_normalization")].kind != ORIGIN_DEFAULT;
    return ok;
}

static bool read_source(const char *path, ExportSource *source, Error *error) {
    const Config *config = source->config;
    bool is_published;
    DiffLMMOptions options;
    if (!trained_weights_read(path, config->model.llm, &source->parameters, &source->lora,
                              &is_published, error))
        return false;
    if (!settle_normalization(path, source, error)) return false;
    for (int i = 0; i < source->parameters.count; i++)
        source->has_lora |= source->parameters.items[i].group == GROUP_LORA;
    if (!source->has_lora || is_published) return true;
    if (!config->lora.lora_enable)
        return config_refuse(config, "lora.lora_enable", error, "%s holds LoRA", path);
    return model_setup_options(config, 0, &source->lora, &options, error);
}

static void list_files(const char *folder) {
    struct dirent **entries;
    int count = scandir(folder, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char *path = format_string("%s/%s", folder, entries[i]->d_name);
        struct stat status;
        if (entries[i]->d_name[0] != '.' && stat(path, &status) == 0) {
            char *size = format_bytes((int64_t)status.st_size);
            utf8_print(stdout, "%-40s %s\n", path, size);
            free(size);
        }
        free(path);
        free(entries[i]);
    }
    if (count >= 0) free(entries);
}

static bool export_to(const Config *config, const ExportArguments *arguments, Error *error) {
    OutputDirectory *directory = output_directory_create(arguments->target, error);
    if (!directory) return false;
    ExportSource source = {.config = config};
    const char *folder = output_directory_temporary_path(directory);
    bool ok =
        read_source(arguments->source, &source, error) &&
        (arguments->merge ? export_merged(&source, folder, arguments->format, SHARD_BYTES, error)
                          : export_adapters(&source, folder, arguments->format, error));
    if (ok) export_tell_width(&source, stderr);
    parameters_free(&source.parameters);
    if (!ok) {
        output_directory_abandon(directory);
        return false;
    }
    if (!output_directory_commit(directory, error)) return false;
    list_files(arguments->target);
    return true;
}

static int run(const ExportArguments *arguments) {
    Error error = {0};
    stop_request_listen();
    Config *config = load_config(arguments, &error);
    if (!config) return command_refuse("export", &error, EXIT_FAILED);
    // Networks that nothing is read from need not be known.
    bool complete = arguments->merge ? config_require(config, &error, "model.llm", NULL)
                                     : config_require_model(config, &error);
    bool ok = complete && export_to(config, arguments, &error);
    config_free(config);
    return ok ? EXIT_DONE : command_refuse("export", &error, complete ? EXIT_FAILED : EXIT_USAGE);
}

int command_export(int argc, char **argv) {
    ExportArguments arguments = {0};
    int exit_code;
    if (!command_begin(&LINE, argc, argv, &arguments, &exit_code)) return exit_code;
    exit_code = run(&arguments);
    arguments_free(&LINE, &arguments);
    return exit_code;
}
