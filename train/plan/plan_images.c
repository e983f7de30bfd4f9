// Threads take samples by number; what they find is told in the samples' order at the end.
#include "train/plan/plan_images.h"

#include "autograd/stop_request.h"
#include "autograd/text/utf8.h"
#include "data/llava_dataset.h"
#include "data/sample_image.h"
#include "train/group/core_count.h"
#include "train/log/progress.h"

#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_THREADS = 256, PLAIN_INTERVAL = 10000 };

typedef struct Problem {
    int64_t sample;
    char *message;
} Problem;

typedef struct Review {
    const Dataset *dataset;
    ImageView view;
    pthread_mutex_t lock;
    Progress *progress;
    /// the next sample
    int64_t next;
    int64_t done;
    /// paths that were looked at
    void *seen;
    int64_t images;
    Problem *problems;
    int64_t problem_count, capacity;
    bool has_failed;
    Error error;
} Review;

static int compare_paths(const void *a, const void *b) { return strcmp(a, b); }

/// With the lock: whether the file was not seen before.
static bool is_new(Review *review, const char *path) {
    char *copy = checked_strdup(path);
    char **found = tsearch(copy, &review->seen, compare_paths);
    if (*found == copy) {
        review->images++;
        return true;
    }
    free(copy);
    return false;
}

/// With the lock.
static void add_problem(Review *review, int64_t sample, const char *message) {
    if (review->problem_count == review->capacity) {
        review->capacity = review->capacity ? 2 * review->capacity : 16;
        review->problems =
            checked_realloc(review->problems, (size_t)review->capacity * sizeof *review->problems);
    }
    review->problems[review->problem_count++] = (Problem){sample, checked_strdup(message)};
}

/// square: [size, size, 3], not looked at.
static void look_at(Review *review, int64_t index, float *square) {
    Error error = {0};
    Sample sample;
    char where[1024];
    if (!dataset_sample(review->dataset, index, &sample, &error)) {
        pthread_mutex_lock(&review->lock);
        if (!review->has_failed) review->error = error;
        review->has_failed = true;
        pthread_mutex_unlock(&review->lock);
        return;
    }
    pthread_mutex_lock(&review->lock);
    const bool looks = is_new(review, sample.image_path);
    pthread_mutex_unlock(&review->lock);
    if (looks && !sample_image_to_float(&sample, &review->view, square, NULL, &error)) {
        error_context(&error, "%s",
                      dataset_describe(review->dataset, index, sample.id, where, sizeof where));
        pthread_mutex_lock(&review->lock);
        add_problem(review, index, error.message);
        pthread_mutex_unlock(&review->lock);
    }
    sample_free(&sample);
}

/// The next sample with an image; -1 when there is no more to do.
static int64_t take(Review *review) {
    const int64_t count = dataset_count(review->dataset);
    pthread_mutex_lock(&review->lock);
    while (review->next < count && !dataset_has_image(review->dataset, review->next))
        review->next++;
    const bool ends = review->next >= count || review->has_failed || stop_requested();
    const int64_t index = ends ? -1 : review->next++;
    progress_update(review->progress, review->next, "%lld problems",
                    (long long)review->problem_count);
    pthread_mutex_unlock(&review->lock);
    return index;
}

static void *work(void *context) {
    Review *review = context;
    const size_t side = (size_t)review->view.size;
    float *square = checked_malloc(3 * side * side * sizeof *square);
    int64_t index;
    while ((index = take(review)) >= 0) look_at(review, index, square);
    free(square);
    return NULL;
}

static void run_threads(Review *review) {
    pthread_t threads[MOST_THREADS];
    const int wanted = cores_allowed(1, 1);
    int count = 0;
    while (count < wanted && count < MOST_THREADS &&
           pthread_create(&threads[count], NULL, work, review) == 0)
        count++;
    if (count == 0) work(review);
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

static int compare_samples(const void *a, const void *b) {
    const int64_t x = ((const Problem *)a)->sample, y = ((const Problem *)b)->sample;
    return (x > y) - (x < y);
}

static void tell(Review *review, FILE *out) {
    if (review->problem_count)
        qsort(review->problems, (size_t)review->problem_count, sizeof *review->problems,
              compare_samples);
    for (int64_t i = 0; i < review->problem_count; i++)
        utf8_print(out, "%s\n", review->problems[i].message);
    utf8_print(out, "%s: %lld of %lld images cannot be used\n", dataset_path(review->dataset),
               (long long)review->problem_count, (long long)review->images);
}

static bool review_files(const DatasetFiles *files, const ImageView *view, FILE *out,
                         FILE *progress, int64_t *bad, Error *error) {
    if (!files->count) return true;
    Dataset *dataset =
        dataset_open_files(files->values, files->count, MISSING_IMAGE_UNCHECKED, error);
    if (!dataset) return false;
    Review review = {.dataset = dataset, .view = *view};
    pthread_mutex_init(&review.lock, NULL);
    review.progress = progress_begin(progress, "images", 0, dataset_count(dataset), PLAIN_INTERVAL);
    run_threads(&review);
    progress_end(review.progress);
    bool ok = !review.has_failed || error_set(error, "%s", review.error.message);
    if (ok && stop_requested()) ok = stop_request_error(error);
    tell(&review, out);
    *bad += review.problem_count;
    for (int64_t i = 0; i < review.problem_count; i++) free(review.problems[i].message);
    free(review.problems);
    tdestroy(review.seen, free);
    pthread_mutex_destroy(&review.lock);
    dataset_close(dataset);
    return ok;
}

bool plan_check_images(const Config *config, FILE *out, FILE *progress, int64_t *bad,
                       Error *error) {
    const DataSection *data = &config->data;
    const ImageView view = {data->image_aspect_ratio, data->image_normalization,
                            (int)data->image_size};
    *bad = 0;
    return review_files(&data->train, &view, out, progress, bad, error) &&
           review_files(&data->eval, &view, out, progress, bad, error);
}
