#include "data/loader/sample_lengths.h"
#include "autograd/stop_request.h"

#include <pthread.h>
#include <stdlib.h>

/// Samples that a thread takes at a time.
enum { AT_ONCE = 64 };

typedef struct Counting {
    const Dataset *dataset;
    const Tokenizer *tokenizer;
    const ConversationFormat *format;
    /// what a pack's tokens must depend on to be these
    char *identity;
    int64_t begin, end;
    int32_t *out;
    /// over all that follows
    pthread_mutex_t lock;
    /// samples below it are counted or being counted
    int64_t next;
    /// the first that failed; INT64_MAX: none
    int64_t failed;
    Error error;
} Counting;

static bool tokenize(const Counting *counting, int64_t index, int32_t *length, Error *error) {
    Sample sample;
    TokenSequence sequence = {0};
    char where[1024];
    if (!dataset_sample(counting->dataset, index, &sample, error)) return false;
    const bool ok =
        sample_tokenize(&sample, counting->tokenizer, counting->format, &sequence, error);
    *length = sequence.length;
    if (!ok)
        error_context(error, "%s",
                      dataset_describe(counting->dataset, index, sample.id, where, sizeof where));
    token_sequence_free(&sequence);
    sample_free(&sample);
    return ok;
}

/// Of tokens that are there already, where their number alone decides: an image that is cut with
/// the text may not fit, which depends on its place.
static bool look_up(const Counting *counting, int64_t index, int32_t *length) {
    const ConversationFormat *format = counting->format;
    const int32_t tokens = dataset_packed_tokens(counting->dataset, index, counting->identity);
    if (tokens < 0) return false;
    const bool has_image = dataset_has_image(counting->dataset, index);
    const int64_t whole = (int64_t)tokens + (has_image ? format->visual_tokens - 1 : 0),
                  most = format->model_max_length;
    *length = (int32_t)(whole < most ? whole : most);
    return whole <= most || !has_image;
}

/// Takes the next samples; false when there are none, or a sample before them has failed.
static bool take(Counting *counting, int64_t *begin, int64_t *end) {
    pthread_mutex_lock(&counting->lock);
    *begin = counting->next;
    *end = *begin + AT_ONCE < counting->end ? *begin + AT_ONCE : counting->end;
    counting->next = *end;
    const bool goes_on = *begin < *end && counting->failed > *begin;
    pthread_mutex_unlock(&counting->lock);
    return goes_on;
}

static void fail(Counting *counting, int64_t index, const Error *error) {
    pthread_mutex_lock(&counting->lock);
    if (index < counting->failed) {
        counting->failed = index;
        counting->error = *error;
    }
    pthread_mutex_unlock(&counting->lock);
}

static void *work(void *context) {
    Counting *counting = context;
    int64_t begin, end;
    while (take(counting, &begin, &end)) {
        for (int64_t i = begin; i < end; i++) {
            int32_t *length = counting->out + (i - counting->begin);
            Error error = {0};
            const bool ok = look_up(counting, i, length) ||
                            (stop_requested() ? stop_request_error(&error)
                                              : tokenize(counting, i, length, &error));
            if (ok) continue;
            fail(counting, i, &error);
            break;
        }
    }
    return NULL;
}

bool sample_lengths(const Dataset *dataset, const Tokenizer *tokenizer,
                    const ConversationFormat *format, int64_t begin, int64_t end, int threads,
                    int32_t *out, Error *error) {
    CHECK(threads > 0 && begin <= end, "sample_lengths: %d threads, samples %lld to %lld", threads,
          (long long)begin, (long long)end);
    Counting counting = {.dataset = dataset,
                         .tokenizer = tokenizer,
                         .format = format,
                         .identity = conversation_identity(tokenizer, format),
                         .begin = begin,
                         .end = end,
                         .out = out,
                         .next = begin,
                         .failed = INT64_MAX};
    pthread_t *others = checked_malloc((size_t)threads * sizeof *others);
    int started = 0;
    pthread_mutex_init(&counting.lock, NULL);
    while (started + 1 < threads && started < (end - begin) / AT_ONCE &&
           pthread_create(&others[started], NULL, work, &counting) == 0)
        started++;
    work(&counting);
    for (int i = 0; i < started; i++) pthread_join(others[i], NULL);
    pthread_mutex_destroy(&counting.lock);
    free(others);
    free(counting.identity);
    if (counting.failed < INT64_MAX) *error = counting.error;
    return counting.failed == INT64_MAX;
}
