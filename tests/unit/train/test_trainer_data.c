// rooms: train eval models ops checkpoints tiny_world data autograd
// A run on data that teach little or nothing, and real photographs.
#include "data/loader/sampler.h"
#include "tests/unit/trained_runs.h"

#include <sys/stat.h>
#include <unistd.h>

/// Two text-only samples, the answer of the second too far from the beginning. "data.train=<file>".
static const char *data_with_an_answer_cut_off(void) {
    static char setting[320];
    FILE *file = fopen(in_folder("cut.json"), "w");
    assert_non_null(file);
    for (int i = 0; i < 2; i++) {
        fprintf(file, "%s{\"id\": \"%d\", \"conversations\": [{\"from\": \"human\", \"value\": \"",
                i ? "," : "[", i);
        for (int k = 0; k < (i ? 200 : 1); k++) fprintf(file, "what? ");
        fprintf(file, "\"}, {\"from\": \"gpt\", \"value\": \"A ring.\"}]}\n");
    }
    fprintf(file, "]");
    assert_int_equal(fclose(file), 0);
    snprintf(setting, sizeof setting, "data.train=%s", in_folder("cut.json"));
    return setting;
}

/// A seed with which the sample whose answer is cut off comes last or first.
static const char *seed_with_first(int64_t sample) {
    static char setting[64];
    Error error;
    for (uint64_t seed = 0;; seed++) {
        Sampler *sampler = sampler_create(
            &(SamplerOptions){
                .sample_count = 2, .chunks = 1, .micro_batch = 1, .seed = seed, .shuffle = true},
            &error);
        int64_t count;
        const bool found = *sampler_chunk(sampler, 0, 0, &count) == sample;
        sampler_free(sampler);
        snprintf(setting, sizeof setting, "training.seed=%d", (int)seed);
        if (found) return setting;
    }
}

static void a_batch_without_a_supervised_token_teaches_nothing(void **state) {
    (void)state;
    char output[300];
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("unsupervised"));
    assert_trains((const char *[]){
        output, data_with_an_answer_cut_off(), seed_with_first(0), "lora.lora_enable=true",
        "training.max_steps=2", "training.warmup_ratio=0", "training.save_steps=1",
        "training.save_total_limit=0", "training.per_device_train_batch_size=1", NULL});
    MetricSeries updated = metric_of("unsupervised", "updated");
    assert_int_equal(updated.count, 2);
    assert_true(updated.values[0] == 1 && updated.values[1] == 0);
    metric_series_free(&updated);
    assert_true(largest_difference(in_folder("unsupervised/checkpoint-1.h5"),
                                   in_folder("unsupervised/checkpoint-2.h5"), "weights/") == 0);
}

static void a_run_in_which_nothing_is_supervised_has_failed(void **state) {
    (void)state;
    Error error = {0};
    char output[300];
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("in-vain"));
    // The only step is about the sample that teaches nothing.
    assert_false(train((const char *[]){output, data_with_an_answer_cut_off(), seed_with_first(1),
                                        "lora.lora_enable=true", "training.max_steps=1",
                                        "training.per_device_train_batch_size=1", NULL},
                       &error));
    assert_non_null(strstr(error.message, "no token was supervised in any of the 1 steps"));
    assert_false(error.is_configuration);
}

static void a_run_that_cannot_teach_is_refused_before_its_folder_is_made(void **state) {
    (void)state;
    char output[300], captions[300];
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("refused"));
    snprintf(captions, sizeof captions, "data.train=%s",
             in_folder("world/train/blip_laion_cc_sbu_558k.json"));
    const struct {
        const char *settings[3], *message;
        bool is_configuration;
    } cases[] = {
        // sequences end before the answer
        {{captions, "data.model_max_length=80"}, "no token of any of the 20 samples", false},
        {{captions, "data.model_max_length=65"},
         "data.model_max_length: of 65 tokens an image alone takes 64",
         true},
        {{data_with_an_answer_cut_off()}, "data.train: no sample has an image", true},
        {{"data.version=plain"}, "data.version: ", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error error = {0};
        const char *settings[5] = {output};
        for (int k = 0; k < 3 && cases[i].settings[k]; k++) settings[k + 1] = cases[i].settings[k];
        assert_false(train(settings, &error));
        if (!strstr(error.message, cases[i].message)) fail_msg("case %zu: %s", i, error.message);
        assert_int_equal(error.is_configuration, cases[i].is_configuration);
        assert_int_equal(access(in_folder("refused"), F_OK), -1);
    }
}

static void held_out_data_that_teach_nothing_have_no_loss(void **state) {
    (void)state;
    char output[300], held_out[300];
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("no-loss"));
    snprintf(held_out, sizeof held_out, "data.eval=%s",
             in_folder("world/train/blip_laion_cc_sbu_558k.json"));
    assert_trains((const char *[]){output, data_with_an_answer_cut_off(), held_out,
                                   "training.eval_samples=0", "lora.lora_enable=true",
                                   "training.max_steps=1", "training.tensorboard=false",
                                   "training.per_device_train_batch_size=2", NULL});
    MetricsLog *log = metrics_load(in_folder("no-loss/metrics.jsonl"), NULL);
    assert_non_null(log);
    MetricSeries loss = metrics_series(log, "eval", "loss");
    assert_int_equal(loss.count, 0);
    metric_series_free(&loss);
    metrics_log_free(log);
}

/// An image's tokens matter only where there is an image.
static void text_needs_no_room_for_an_image(void **state) {
    (void)state;
    char output[300];
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("text"));
    assert_trains((const char *[]){output, data_with_an_answer_cut_off(), "lora.lora_enable=true",
                                   "data.model_max_length=60", "training.max_steps=1",
                                   "training.per_device_train_batch_size=2", NULL});
}

static void an_image_that_cannot_be_read_stops_the_run_or_is_left_out(void **state) {
    (void)state;
    const char *data = getenv("DIFFLMM_SHARED_DATA");
    char photos[400], annotations[500], images[500], output[300];
    snprintf(photos, sizeof photos, "%s/photos", data ? data : SOURCE_DIR "/../shared/data");
    if (access(photos, R_OK)) {
        print_message("skipped: no photographs at %s\n", photos);
        skip();
    }
    snprintf(annotations, sizeof annotations, "data.train=%s/llava_instruct.json", photos);
    snprintf(images, sizeof images, "data.image_folder=%s", photos);
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("photos-fail"));
    const char *failing[] = {annotations,
                             images,
                             output,
                             "training.max_steps=20",
                             "training.per_device_train_batch_size=4",
                             NULL};
    Error error = {0};
    assert_false(train(failing, &error));
    assert_non_null(strstr(error.message, "truncated.jpg"));
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("photos-skip"));
    const char *skipping[] = {annotations,
                              images,
                              output,
                              "training.max_steps=6",
                              "training.per_device_train_batch_size=4",
                              "data.missing_image=skip",
                              "lora.lora_enable=true",
                              NULL};
    assert_trains(skipping);
    snprintf(annotations, sizeof annotations, "data.train=%s/llava_pretrain.json", photos);
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("photos-stage1"));
    const char *pretraining[] = {annotations,
                                 images,
                                 output,
                                 "training.max_steps=3",
                                 "training.per_device_train_batch_size=4",
                                 "data.version=plain",
                                 "data.missing_image=skip",
                                 "data.image_aspect_ratio=square",
                                 "data.cache_features=true",
                                 NULL};
    assert_trains(pretraining);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_without_a_supervised_token_teaches_nothing),
        cmocka_unit_test(a_run_in_which_nothing_is_supervised_has_failed),
        cmocka_unit_test(a_run_that_cannot_teach_is_refused_before_its_folder_is_made),
        cmocka_unit_test(held_out_data_that_teach_nothing_have_no_loss),
        cmocka_unit_test(text_needs_no_room_for_an_image),
        cmocka_unit_test(an_image_that_cannot_be_read_stops_the_run_or_is_left_out),
    };
    return cmocka_run_group_tests(tests, make_world, remove_temporary_folder);
}
