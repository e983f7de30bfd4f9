// rooms: data checkpoints autograd
// How fast samples are made ready: seconds of this process on the processor, per sample, for the
// picture (read, decoded, brought to its square, normalised), for its text (read from the data and
// tokenized), and for both through the loader with one thread; one line of JSON.
//
//   bench_loader DATA.json IMAGES TOKENIZER pad|square SIZE OUT
//
// OUT: a file for the numbers of the first sample's picture, float32 [SIZE, SIZE, 3], so that
// pillow_loader.py, which makes the data and runs this in turn with Pillow, compares them.
#include "data/loader/loader.h"
#include "data/sample_image.h"
#include "tests/bench/bench.h"

static void stop(const Error *error) {
    fprintf(stderr, "%s\n", error->message);
    exit(1);
}

/// Seconds of all pictures, one after the other.
static double picture_seconds(const Dataset *dataset, const ImageView *view, const char *out) {
    const size_t count = (size_t)view->size * (size_t)view->size * 3;
    float *numbers = malloc(count * sizeof *numbers);
    double seconds = 0;
    for (int64_t i = 0; i < dataset_count(dataset); i++) {
        Sample sample;
        Error error = {0};
        if (!dataset_sample(dataset, i, &sample, &error)) stop(&error);
        const double begin = bench_now();
        if (!sample_image_to_float(&sample, view, numbers, NULL, &error)) stop(&error);
        seconds += bench_now() - begin;
        sample_free(&sample);
        if (i > 0) continue;
        FILE *file = fopen(out, "wb");
        if (!file || fwrite(numbers, sizeof *numbers, count, file) != count || fclose(file) != 0) {
            fprintf(stderr, "%s: cannot be written\n", out);
            exit(1);
        }
    }
    free(numbers);
    return seconds;
}

/// Seconds of all texts, and how many tokens they are.
static double text_seconds(const LoaderOptions *options, int64_t *tokens) {
    const double begin = bench_now();
    *tokens = 0;
    for (int64_t i = 0; i < dataset_count(options->dataset); i++) {
        Sample sample;
        TokenSequence sequence;
        Error error = {0};
        if (!dataset_sample(options->dataset, i, &sample, &error) ||
            !conversation_tokenize(options->tokenizer, &options->format, sample.turns,
                                   sample.turn_count, true, &sequence, &error))
            stop(&error);
        *tokens += sequence.count;
        token_sequence_free(&sequence);
        sample_free(&sample);
    }
    return bench_now() - begin;
}

/// Seconds of one epoch.
static double loader_seconds(const LoaderOptions *options) {
    Error error = {0};
    const double begin = bench_now();
    Loader *loader = loader_create(options, &error);
    MicroBatch *batch = NULL;
    if (!loader) stop(&error);
    while (loader_next(loader, &batch, &error) && batch) micro_batch_free(batch);
    if (*error.message) stop(&error);
    loader_free(loader);
    return bench_now() - begin;
}

int main(int argc, char **argv) {
    Error error = {0};
    if (argc != 7 || (strcmp(argv[4], "pad") && strcmp(argv[4], "square")) || atoi(argv[5]) < 1) {
        fprintf(stderr, "bench_loader DATA.json IMAGES TOKENIZER pad|square SIZE OUT\n");
        return 2;
    }
    bench_clock = CLOCK_PROCESS_CPUTIME_ID;
    Dataset *dataset =
        dataset_open(&(DatasetOptions){argv[1], argv[2], MISSING_IMAGE_FAIL}, &error);
    Tokenizer *tokenizer = dataset ? tokenizer_open(argv[3], &error) : NULL;
    if (!tokenizer) stop(&error);
    const ImageView view = {*argv[4] == 'p' ? IMAGE_PAD : IMAGE_CENTER_CROP,
                            IMAGE_NORMALIZATION_CLIP_TWICE, atoi(argv[5])};
    LoaderOptions options = {.dataset = dataset,
                             .tokenizer = tokenizer,
                             .format = {TEMPLATE_VICUNA_V1, NULL, 576, 2048, false},
                             .image_aspect = view.aspect,
                             .image_normalization = view.normalization,
                             .image_size = view.size,
                             .world_size = 1,
                             .micro_batch = 8,
                             .accumulation = 1,
                             .prefetch = 2,
                             .threads = 1};
    const double count = (double)dataset_count(dataset);
    options.end_step = loader_steps_per_epoch(&options, &error);
    if (options.end_step < 0) stop(&error);
    int64_t tokens;
    const double picture = picture_seconds(dataset, &view, argv[6]);
    const double text = text_seconds(&options, &tokens);
    const double loader = loader_seconds(&options);
    printf("{\"samples\": %.0f, \"picture\": %.6g, \"text\": %.6g, \"loader\": %.6g, "
           "\"tokens\": %.1f}\n",
           count, picture / count, text / count, loader / count, (double)tokens / count);
    tokenizer_close(tokenizer);
    dataset_close(dataset);
    return 0;
}
