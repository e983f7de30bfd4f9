// target_modules is a list of names, each of a module's path or of its end, or a Python regular
// expression over the whole path, or "all-linear". It is asked about every path that a Llama has,
// as PEFT does; a file is not trusted, so matching has limits.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "train/saved/peft_config.h"

#include "autograd/json_file.h"
#include "autograd/output/output_file.h"

#include <float.h>
#include <math.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TARGETS = 4096, LARGEST_RANK = 65536, LONGEST_PATTERN = 4096, MATCH_LIMIT = 100000 };

// ---- what is asked of a module's path

typedef struct Targets {
    /// a list; NULL: the pattern
    json_t *names;
    /// NULL with names NULL: every linear layer
    pcre2_code *pattern;
    pcre2_match_data *match;
    pcre2_match_context *limits;
} Targets;

static void targets_free(Targets *targets) {
    pcre2_code_free(targets->pattern);
    pcre2_match_data_free(targets->match);
    pcre2_match_context_free(targets->limits);
}

static bool is_end_of(const char *path, const char *name) {
    size_t path_length = strlen(path), length = strlen(name);
    if (length > path_length || strcmp(path + path_length - length, name) != 0) return false;
    return length == path_length || path[path_length - length - 1] == '.';
}

static bool targets_match(const Targets *targets, const char *path) {
    size_t i;
    json_t *name;
    json_array_foreach(targets->names, i, name)
        if (is_end_of(path, json_string_value(name))) return true;
    if (targets->names) return false;
    return !targets->pattern ||
           pcre2_match(targets->pattern, (PCRE2_SPTR)path, PCRE2_ZERO_TERMINATED, 0,
                       PCRE2_ANCHORED | PCRE2_ENDANCHORED, targets->match, targets->limits) >= 0;
}

// ---- reading

typedef struct Reader {
    const char *path;
    json_t *root;
    Error *error;
} Reader;

/// Fills the error for a key: its value and what is expected.
static bool refuse(const Reader *reader, const char *key, const char *expected) {
    const json_t *value = json_object_get(reader->root, key);
    if (!value)
        return error_set(reader->error, "%s: key '%s' is missing: expected %s", reader->path, key,
                         expected);
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    error_set(reader->error, "%s: key '%s' is %.200s: expected %s", reader->path, key,
              text ? text : "?", expected);
    free(text);
    return false;
}

/// Null, false, an empty list or object: what a key that is not used holds.
static bool is_unused(const json_t *value) {
    return !value || json_is_null(value) || json_is_false(value) ||
           (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0);
}

/// Whether the key is an option of PEFT's that would make the adapter compute something else.
/// Variants of LoRA come as `use_...` and
/// `..._config`, those of coming versions too.
static bool changes_computation(const char *key) {
    static const char *const keys[] = {
        "lora_bias",         "fan_in_fan_out",          "rank_pattern",
        "alpha_pattern",     "layers_pattern",          "layers_to_transform",
        "layer_replication", "modules_to_save",         "exclude_modules",
        "target_parameters", "trainable_token_indices", "alora_invocation_tokens"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!strcmp(key, keys[i])) return true;
    size_t length = strlen(key);
    if (length > 7 && !strcmp(key + length - 7, "_config")) return strcmp(key, "eva_config") != 0;
    return !strncmp(key, "use_", 4) && strcmp(key, "use_rslora") != 0;
}

static bool check_unused(const Reader *reader) {
    const char *key;
    json_t *value;
    json_object_foreach(reader->root, key, value) {
        if (changes_computation(key) && !is_unused(value))
            return refuse(reader, key,
                          "null or false: this option is not supported; merge the adapter with "
                          "PEFT instead");
    }
    return true;
}

static bool read_text(const Reader *reader, const char *key, const char *only) {
    const json_t *value = json_object_get(reader->root, key);
    const char *text = json_string_value(value);
    if (text && !strcmp(text, only)) return true;
    char expected[64];
    snprintf(expected, sizeof expected, "\"%s\"", only);
    return refuse(reader, key, expected);
}

/// Ways of initialising that change the frozen weights as well leave an adapter that does not fit
/// the published model.
static bool check_initialisation(const Reader *reader) {
    const json_t *value = json_object_get(reader->root, "init_lora_weights");
    const char *text = json_string_value(value);
    if (!value || json_is_boolean(value) ||
        (text &&
         (!strcmp(text, "gaussian") || !strcmp(text, "orthogonal") || !strcmp(text, "eva"))))
        return true;
    return refuse(
        reader, "init_lora_weights",
        "true, \"gaussian\", \"orthogonal\" or \"eva\"; others change the base model too");
}

static bool read_numbers(const Reader *reader, LoraOptions *options) {
    const json_t *r = json_object_get(reader->root, "r"),
                 *alpha = json_object_get(reader->root, "lora_alpha"),
                 *dropout = json_object_get(reader->root, "lora_dropout"),
                 *rslora = json_object_get(reader->root, "use_rslora");
    if (!json_is_integer(r) || json_integer_value(r) < 1 || json_integer_value(r) > LARGEST_RANK)
        return refuse(reader, "r", "an integer from 1 to 65536");
    // In the type in which they are used.
    if (!json_is_number(alpha) || !((float)json_number_value(alpha) > 0) ||
        !isfinite((float)json_number_value(alpha)))
        return refuse(reader, "lora_alpha", "a number above 0");
    if (dropout && !(json_is_number(dropout) && json_number_value(dropout) >= 0 &&
                     (float)json_number_value(dropout) < 1))
        return refuse(reader, "lora_dropout", "a number from 0 to less than 1");
    if (rslora && !json_is_boolean(rslora) && !json_is_null(rslora))
        return refuse(reader, "use_rslora", "true or false");
    options->r = (int)json_integer_value(r);
    options->alpha = (float)json_number_value(alpha);
    options->dropout = (float)json_number_value(dropout);
    options->use_rslora = json_is_true(rslora);
    return true;
}

static bool compile_pattern(const Reader *reader, const char *text, Targets *targets) {
    int code;
    PCRE2_SIZE offset;
    if (strlen(text) > LONGEST_PATTERN)
        return refuse(reader, "target_modules", "a regular expression of at most 4096 bytes");
    targets->pattern =
        pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, 0, &code, &offset, NULL);
    if (!targets->pattern) {
        PCRE2_UCHAR message[128] = "";
        char expected[256];
        pcre2_get_error_message(code, message, sizeof message);
        snprintf(expected, sizeof expected, "a list of names or a regular expression (at %zu: %s)",
                 (size_t)offset, (const char *)message);
        return refuse(reader, "target_modules", expected);
    }
    targets->match = pcre2_match_data_create_from_pattern(targets->pattern, NULL);
    targets->limits = pcre2_match_context_create(NULL);
    CHECK(targets->match && targets->limits, "out of memory");
    pcre2_set_match_limit(targets->limits, MATCH_LIMIT);
    return true;
}

static bool read_targets(const Reader *reader, Targets *targets) {
    json_t *value = json_object_get(reader->root, "target_modules");
    const char *text = json_string_value(value);
    *targets = (Targets){0};
    if (text) return !strcmp(text, "all-linear") || compile_pattern(reader, text, targets);
    bool is_list = json_is_array(value) && json_array_size(value) > 0 &&
                   json_array_size(value) <= MOST_TARGETS;
    for (size_t i = 0; is_list && i < json_array_size(value); i++)
        is_list = json_is_string(json_array_get(value, i));
    if (!is_list)
        return refuse(reader, "target_modules",
                      "a list of names, a regular expression or \"all-linear\"");
    targets->names = value;
    return true;
}

/// Whether the module is a target: in every layer or in none.
static bool find_module(const Reader *reader, const Targets *targets, int num_layers,
                        LlamaModule module, bool *is_target) {
    for (int layer = 0; layer < num_layers; layer++) {
        char path[96];
        snprintf(path, sizeof path, "model.layers.%d.%s", layer, llama_module_name(module));
        bool matches = targets_match(targets, path);
        if (layer == 0) *is_target = matches;
        if (matches == *is_target) continue;
        char expected[192];
        snprintf(expected, sizeof expected,
                 "targets that are the same in every layer, but '%s' is %sone", path,
                 matches ? "" : "not ");
        return refuse(reader, "target_modules", expected);
    }
    return true;
}

static bool find_modules(const Reader *reader, int num_layers, LoraOptions *options) {
    Targets targets;
    if (!read_targets(reader, &targets)) return false;
    bool found = true, any = false;
    for (int m = 0; found && m < LLAMA_MODULE_COUNT; m++) {
        found = find_module(reader, &targets, num_layers, (LlamaModule)m, &options->modules[m]);
        any = any || options->modules[m];
    }
    bool all_linear = !targets.names && !targets.pattern;
    if (found && !any)
        found = refuse(reader, "target_modules", "names of a Llama's linear layers (q_proj, ...)");
    else if (found && !all_linear &&
             (targets_match(&targets, "lm_head") || targets_match(&targets, "model.embed_tokens")))
        found = refuse(reader, "target_modules",
                       "neither lm_head nor embed_tokens, whose updates are not supported");
    targets_free(&targets);
    return found;
}

bool peft_config_read(const char *path, int num_layers, LoraOptions *options, Error *error) {
    Reader reader = {path, json_file_read_object(path, JSON_REJECT_DUPLICATES, error), error};
    bool read = reader.root && read_text(&reader, "peft_type", "LORA") && check_unused(&reader) &&
                (!json_object_get(reader.root, "bias") || read_text(&reader, "bias", "none")) &&
                check_initialisation(&reader) && read_numbers(&reader, options) &&
                find_modules(&reader, num_layers, options);
    json_decref(reader.root);
    return read;
}

// ---- writing

/// The shortest decimal number that is this value in float32: 0.05, not 0.0500000007.
static json_t *number(float value) {
    char text[32];
    if (value == rintf(value) && fabsf(value) < 1e9f) return json_integer((json_int_t)value);
    for (int digits = 1; digits <= FLT_DECIMAL_DIG; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) break;
    }
    return json_real(strtod(text, NULL));
}

bool peft_config_write(const char *path, const LoraOptions *options, const char *base_model,
                       Error *error) {
    json_t *modules = json_array();
    for (int m = 0; m < LLAMA_MODULE_COUNT; m++)
        if (options->modules[m])
            json_array_append_new(modules, json_string(strchr(llama_module_name(m), '.') + 1));
    json_t *root = json_pack(
        "{s:s, s:s, s:s, s:b, s:i, s:o, s:o, s:b, s:s, s:o, s:b, s:b, s:b, s:{}, s:{}, s:n}",
        "peft_type", "LORA", "task_type", "CAUSAL_LM", "base_model_name_or_path", base_model,
        "inference_mode", true, "r", options->r, "lora_alpha", number(options->alpha),
        "lora_dropout", number(options->dropout), "use_rslora", options->use_rslora, "bias", "none",
        "target_modules", modules, "use_dora", false, "fan_in_fan_out", false, "init_lora_weights",
        true, "rank_pattern", "alpha_pattern", "modules_to_save");
    char *text =
        root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(FLT_DECIMAL_DIG)) : NULL;
    json_decref(root);
    if (!text) return error_set(error, "%s: the model's name is not UTF-8", path);
    bool written = output_whole_file(path, text, strlen(text), error);
    free(text);
    return written;
}
