#include "train/prepare/prepare_workers.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/// Blocks that wait, for every thread.
enum { WAITING_PER_THREAD = 2 };

struct Workers {
    const Preparing *preparing;
    Journal *journal;
    /// over all that follows, and over the journal
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /// [capacity] blocks that wait, a ring
    RawBlock *waiting;
    int capacity, first, count;
    bool is_closed, has_failed;
    Error failure;
    pthread_t *threads;
    int num_threads;
};

/// The next block; false when there is none to come.
static bool take(Workers *workers, RawBlock *block) {
    pthread_mutex_lock(&workers->lock);
    while (!workers->count && !workers->is_closed)
        pthread_cond_wait(&workers->changed, &workers->lock);
    const bool is_there = workers->count > 0;
    if (is_there) {
        *block = workers->waiting[workers->first];
        workers->first = (workers->first + 1) % workers->capacity;
        workers->count--;
        pthread_cond_broadcast(&workers->changed);
    }
    pthread_mutex_unlock(&workers->lock);
    return is_there;
}

static void *work(void *context) {
    Workers *workers = context;
    ByteBuffer record = {0};
    RawBlock *block = checked_malloc(sizeof *block);
    while (take(workers, block)) {
        BlockImage images[PREPARE_BLOCK];
        int num_images;
        block_prepare(workers->preparing, block, &record, images, &num_images);
        raw_block_free(block);
        pthread_mutex_lock(&workers->lock);
        if (!workers->has_failed &&
            !prepare_part_put(workers->journal, &record, images, num_images, &workers->failure)) {
            workers->has_failed = true;
            pthread_cond_broadcast(&workers->changed);
        }
        pthread_mutex_unlock(&workers->lock);
        block_images_free(images, num_images);
    }
    byte_buffer_free(&record);
    free(block);
    return NULL;
}

Workers *workers_start(const Preparing *preparing, Journal *journal, int threads, Error *error) {
    Workers *workers = checked_calloc(1, sizeof *workers);
    workers->preparing = preparing;
    workers->journal = journal;
    workers->capacity = WAITING_PER_THREAD * threads;
    workers->waiting = checked_calloc((size_t)workers->capacity, sizeof *workers->waiting);
    workers->threads = checked_calloc((size_t)threads, sizeof *workers->threads);
    pthread_mutex_init(&workers->lock, NULL);
    pthread_cond_init(&workers->changed, NULL);
    while (workers->num_threads < threads) {
        const int failure =
            pthread_create(&workers->threads[workers->num_threads], NULL, work, workers);
        if (failure && !workers->num_threads) {
            workers_finish(workers, NULL);
            error_set(error, "no thread could be started: %s", strerror(failure));
            return NULL;
        }
        if (failure) break;
        workers->num_threads++;
    }
    return workers;
}

bool workers_add(Workers *workers, RawBlock *block, Error *error) {
    pthread_mutex_lock(&workers->lock);
    while (workers->count == workers->capacity && !workers->has_failed)
        pthread_cond_wait(&workers->changed, &workers->lock);
    const bool ok = !workers->has_failed;
    if (ok) {
        workers->waiting[(workers->first + workers->count++) % workers->capacity] = *block;
        block->count = 0;
        pthread_cond_broadcast(&workers->changed);
    }
    pthread_mutex_unlock(&workers->lock);
    raw_block_free(block);
    return ok || error_set(error, "%s", workers->failure.message);
}

bool workers_finish(Workers *workers, Error *error) {
    pthread_mutex_lock(&workers->lock);
    workers->is_closed = true;
    pthread_cond_broadcast(&workers->changed);
    pthread_mutex_unlock(&workers->lock);
    for (int i = 0; i < workers->num_threads; i++) pthread_join(workers->threads[i], NULL);
    const bool ok = !workers->has_failed || error_set(error, "%s", workers->failure.message);
    pthread_cond_destroy(&workers->changed);
    pthread_mutex_destroy(&workers->lock);
    free(workers->threads);
    free(workers->waiting);
    free(workers);
    return ok;
}
