#include "train/trainer/training_check.h"

#include "autograd/stop_request.h"
#include "train/trainer/model_setup.h"

typedef bool Check(const TrainingFacts *facts, Error *error);

static bool has_images(const Dataset *data) {
    for (int64_t i = 0; i < dataset_count(data); i++)
        if (dataset_has_image(data, i)) return true;
    return false;
}

bool training_check_image_fits(const Config *config, int num_visual_tokens, Error *error) {
    return config->data.model_max_length > num_visual_tokens + 1 ||
           config_refuse(config, "data.model_max_length", error,
                         "of %lld tokens an image alone takes %d; nothing is left for text",
                         (long long)config->data.model_max_length, num_visual_tokens);
}

static bool check_length(const TrainingFacts *facts, Error *error) {
    return !has_images(facts->data) ||
           training_check_image_fits(facts->config, facts->num_visual_tokens, error);
}

/// `plain` has no place for a second question, nor for a system message.
static bool check_template(const TrainingFacts *facts, Error *error) {
    const int64_t index = dataset_first_beyond_plain(facts->data);
    char where[1024];
    Sample sample;
    if (facts->config->data.version != TEMPLATE_PLAIN || index < 0) return true;
    if (!dataset_sample(facts->data, index, &sample, error)) return false;
    dataset_describe(facts->data, index, sample.id, where, sizeof where);
    const int count = sample.turn_count;
    const bool has_system = sample.system_message != NULL;
    sample_free(&sample);
    if (has_system)
        return config_refuse(facts->config, "data.version", error,
                             "%s: a system message; the template 'plain' writes none", where);
    return config_refuse(facts->config, "data.version", error,
                         "%s: %d turns; the template 'plain' is for one question and one answer",
                         where, count);
}

/// Adapters learn from images alone.
static bool check_images(const TrainingFacts *facts, Error *error) {
    return facts->is_held_out || facts->config->lora.lora_enable || has_images(facts->data) ||
           config_refuse(facts->config, "data.train", error,
                         "no sample has an image, and without lora.lora_enable only what images go "
                         "through is trained: nothing would be learned");
}

/// Some sample teaches something. As a rule the first one does; all are looked at only where none
/// does.
static bool check_supervision(const TrainingFacts *facts, Error *error) {
    const ConversationFormat format = model_setup_format(facts->config, facts->num_visual_tokens);
    const int64_t count = dataset_count(facts->data);
    int64_t cut = 0, supervised = 0;
    for (int64_t i = 0; i < count && !facts->is_held_out; i++) {
        TokenSequence sequence = {0};
        Sample sample;
        if (stop_requested()) return stop_request_error(error);
        if (!dataset_sample(facts->data, i, &sample, error)) return false;
        bool ok = sample_tokenize(&sample, facts->tokenizer, &format, &sequence, error);
        char where[1024];
        if (!ok)
            error_context(error, "%s",
                          dataset_describe(facts->data, i, sample.id, where, sizeof where));
        supervised = sequence.supervised_count;
        cut += sequence.answer_is_cut_off;
        token_sequence_free(&sequence);
        sample_free(&sample);
        if (!ok) return false;
        if (supervised > 0) return true;
    }
    return facts->is_held_out ||
           error_set(error,
                     "%s: no token of any of the %lld samples is supervised: nothing would be "
                     "learned. Of %lld the whole answer is cut off by data.model_max_length, %lld",
                     dataset_path(facts->data), (long long)count, (long long)cut,
                     (long long)facts->config->data.model_max_length);
}

static const struct {
    const char *key;
    Check *check;
} checks[TRAINING_CHECKS] = {
    {"data.model_max_length", check_length},
    {"data.version", check_template},
    {"data.train", check_images},
    {"data.train", check_supervision},
};

bool training_check(int check, const TrainingFacts *facts, const char **key, Error *error) {
    CHECK(check >= 0 && check < TRAINING_CHECKS, "training_check: %d", check);
    *key = checks[check].key;
    return checks[check].check(facts, error);
}
