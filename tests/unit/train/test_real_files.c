// rooms: train eval models ops checkpoints data autograd
// Real weights on real photographs: stories260K, a trained Llama with grouped-query heads and tied
// embeddings, as the language model of both stages. Where the files are not at hand, this is
// skipped.
#include "tests/unit/temporary_folder.h"
#include "train/log/metrics.h"
#include "train/trainer/trainer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define TINY SOURCE_DIR "/checkpoints/tiny"

enum { STEPS = 30, MEAN_OVER = 5 };

/// "<folder of published material>/<name>"; lives until the next four calls.
static const char *shared(const char *name) {
    static char paths[4][640];
    static int next;
    char *path = paths[next++ % 4];
    const char *folder = getenv("DIFFLMM_SHARED_DATA");
    snprintf(path, sizeof paths[0], "%s/%s", folder ? folder : SOURCE_DIR "/../shared/data", name);
    return path;
}

static void skip_without(const char *path) {
    if (access(path, R_OK) == 0) return;
    print_message("skipped: %s is not there\n", path);
    skip();
}

/// Puts the model together in the temporary folder: its tokenizer comes in llama2.c's format.
static void make_stories(void) {
    const char *tokens = shared("public/llm/stories260K/tok512.bin");
    static const char *const files[] = {"config.json", "model.safetensors"};
    skip_without(tokens);
    skip_without(shared("photos"));
    if (system("python3 -c pass 2>/dev/null") != 0) {
        print_message("skipped: no python3 to convert the tokenizer\n");
        skip();
    }
    for (int i = 0; i < 2; i++) {
        char name[64];
        snprintf(name, sizeof name, "public/llm/stories260K-hf/%s", files[i]);
        assert_int_equal(symlink(shared(name), in_folder(files[i])), 0);
    }
    char *command = format_string("python3 '%s/checkpoints/convert_tok512.py' '%s' '%s'",
                                  SOURCE_DIR, tokens, in_folder("tokenizer.model"));
    assert_int_equal(system(command), 0);
    free(command);
}

typedef struct Setting {
    const char *key, *value;
} Setting;

/// Trains with what both stages share and the settings given, which end with a NULL.
static void train(const Setting *settings) {
    const Setting common[] = {{"model.sd", TINY "/sd"},
                              {"model.vision_tower", TINY "/clip"},
                              {"model.llm", temporary_folder},
                              {"model.positional_encoding_std", "0.3"}, // that of its embeddings
                              {"data.image_folder", shared("photos")},
                              {"data.missing_image", "skip"},
                              {"data.image_size", "128"},
                              {"data.model_max_length", "512"},
                              {"data.cache_features", "true"},
                              {"training.device", "cpu"},
                              {"training.logging_steps", "1000"},
                              {"training.per_device_train_batch_size", "4"},
                              {NULL, NULL}};
    char *overrides[32];
    int count = 0;
    for (int s = 0; s < 2; s++)
        for (const Setting *setting = s ? settings : common; setting->key; setting++)
            overrides[count++] = format_string("%s=%s", setting->key, setting->value);
    char *steps = format_string("training.max_steps=%d", STEPS);
    overrides[count++] = steps;
    Error error = {0};
    Config *config = config_load(NULL, (const char *const *)overrides, count, &error);
    ProcessGroup *alone = config ? process_group_open(60, &error) : NULL;
    if (!alone || !trainer_run(config, alone, &error)) fail_msg("%s", error.message);
    process_group_close(alone);
    config_free(config);
    while (count > 0) free(overrides[--count]);
}

/// The mean loss of MEAN_OVER steps of a run from `first` on.
static double mean_loss(const char *folder, int first) {
    char name[64];
    Error error = {0};
    snprintf(name, sizeof name, "%s/metrics.jsonl", folder);
    MetricsLog *log = metrics_load(in_folder(name), &error);
    if (!log) fail_msg("%s", error.message);
    MetricSeries losses = metrics_series(log, "train", "loss");
    assert_int_equal(losses.count, STEPS);
    double sum = 0.0;
    for (int i = 0; i < MEAN_OVER; i++) sum += losses.values[first + i];
    metric_series_free(&losses);
    metrics_log_free(log);
    return sum / MEAN_OVER;
}

static void expect_fall(const char *folder, double share) {
    const double first = mean_loss(folder, 0), last = mean_loss(folder, STEPS - MEAN_OVER);
    print_message("%s: loss %.3f in the first %d steps, %.3f in the last\n", folder, first,
                  MEAN_OVER, last);
    assert_true(last < share * first);
}

static void stories260k_learns_both_stages_on_photographs(void **state) {
    (void)state;
    make_stories();
    const Setting stage1[] = {{"data.train", shared("photos/llava_pretrain.json")},
                              {"data.version", "plain"},
                              {"training.learning_rate", "5e-3"},
                              {"training.output_dir", in_folder("stage1")},
                              {NULL, NULL}};
    train(stage1);
    expect_fall("stage1", 0.8);
    const Setting stage2[] = {{"data.train", shared("photos/llava_instruct.json")},
                              {"data.version", "vicuna_v1"},
                              {"data.image_aspect_ratio", "pad"},
                              {"data.group_by_modality_length", "true"},
                              {"model.adapters", in_folder("stage1")},
                              {"lora.lora_enable", "true"},
                              {"lora.lora_r", "16"},
                              {"lora.lora_alpha", "32"},
                              {"training.learning_rate", "5e-3"},
                              {"training.output_dir", in_folder("stage2")},
                              {NULL, NULL}};
    train(stage2);
    expect_fall("stage2", 0.5);
}

int main(void) {
    const struct CMUnitTest tests[] = {IN_FOLDER(stories260k_learns_both_stages_on_photographs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
