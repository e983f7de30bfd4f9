#include "data/loader/micro_batch.h"
#include "autograd/error.h"

#include <pthread.h>
#include <stdlib.h>

struct BatchPool {
    Device *device;
    /// over all that follows
    pthread_mutex_t lock;
    /// [count] handed back, the last of them first to be taken
    MicroBatch **spare;
    int count;
    /// there are in all
    int total;
};

BatchPool *batch_pool_new(Device *device) {
    BatchPool *pool = checked_calloc(1, sizeof *pool);
    pool->device = device;
    pthread_mutex_init(&pool->lock, NULL);
    return pool;
}

void batch_pool_free(BatchPool *pool) {
    if (!pool) return;
    CHECK(pool->count == pool->total, "%d of %d micro-batches are not back",
          pool->total - pool->count, pool->total);
    for (int i = 0; i < pool->count; i++) {
        free(pool->spare[i]->samples);
        transfer_buffer_free(&pool->spare[i]->pixels);
        free(pool->spare[i]);
    }
    free(pool->spare);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

/// A new one has no room yet.
static MicroBatch *take_any(BatchPool *pool) {
    MicroBatch *batch = NULL;
    pthread_mutex_lock(&pool->lock);
    if (pool->count > 0) {
        batch = pool->spare[--pool->count];
    } else {
        const size_t bytes = (size_t)++pool->total * sizeof *pool->spare;
        pool->spare = checked_realloc(pool->spare, bytes);
    }
    pthread_mutex_unlock(&pool->lock);
    return batch ? batch : checked_calloc(1, sizeof *batch);
}

MicroBatch *batch_pool_take(BatchPool *pool, int64_t samples, int64_t image_numbers) {
    MicroBatch *batch = take_any(pool);
    const size_t image_bytes = (size_t)image_numbers * sizeof *batch->images;
    transfer_buffer_wait(&batch->pixels);
    if (batch->sample_capacity < samples) {
        free(batch->samples);
        batch->samples = checked_malloc((size_t)samples * sizeof *batch->samples);
        batch->sample_capacity = samples;
    }
    if (batch->pixels.bytes < image_bytes) {
        transfer_buffer_free(&batch->pixels);
        batch->pixels = transfer_buffer_new(pool->device, image_bytes);
    }
    *batch = (MicroBatch){.samples = batch->samples,
                          .images = batch->pixels.data,
                          .pixels = batch->pixels,
                          .pool = pool,
                          .sample_capacity = batch->sample_capacity};
    return batch;
}

void micro_batch_free(MicroBatch *batch) {
    if (!batch) return;
    BatchPool *pool = batch->pool;
    for (int i = 0; i < batch->count; i++) token_sequence_free(&batch->samples[i].tokens);
    pthread_mutex_lock(&pool->lock);
    pool->spare[pool->count++] = batch;
    pthread_mutex_unlock(&pool->lock);
}
