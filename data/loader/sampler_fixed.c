// Epochs of a fixed number of samples per chunk.
#include "data/loader/sampler_internal.h"

#include <stdlib.h>
#include <string.h>

static int64_t batch_size(const Sampler *sampler) {
    return sampler->options.chunks * sampler->options.micro_batch;
}

/// Deals a batch that is not full over the chunks in turn, so that every process has work.
static void deal(const Sampler *sampler, const int64_t *samples, int64_t count, int64_t *slots) {
    const int64_t chunks = sampler->options.chunks;
    for (int64_t i = 0; i < batch_size(sampler); i++) slots[i] = -1;
    for (int64_t i = 0; i < count; i++)
        slots[(i % chunks) * sampler->options.micro_batch + i / chunks] = samples[i];
}

/// A full batch: longest first, each to the chunk with the least so far that has room (LLaVA's
/// split_to_even_chunks).
static void even_chunks(const Sampler *sampler, const int64_t *samples, int64_t *slots) {
    const int64_t chunks = sampler->options.chunks, micro_batch = sampler->options.micro_batch;
    const int64_t size = chunks * micro_batch;
    Sized *sized = checked_malloc((size_t)size * sizeof *sized);
    int64_t *total = checked_calloc((size_t)chunks, sizeof *total);
    int64_t *filled = checked_calloc((size_t)chunks, sizeof *filled);
    for (int64_t i = 0; i < size; i++)
        sized[i] = (Sized){samples[i], llabs(sampler->lengths[samples[i]]), i};
    qsort(sized, (size_t)size, sizeof *sized, sampler_longest_first);
    for (int64_t i = 0; i < size; i++) {
        int64_t least = -1;
        for (int64_t c = 0; c < chunks; c++) {
            if (filled[c] < micro_batch && (least < 0 || total[c] < total[least])) least = c;
        }
        slots[least * micro_batch + filled[least]++] = sized[i].sample;
        total[least] += sized[i].length;
    }
    free(sized);
    free(total);
    free(filled);
}

/// Batches of one kind of sample: full ones from `*full` on, one that is not full into `*partial`;
/// both are advanced.
static void make_batches(const Sampler *sampler, const int64_t *samples, int64_t count,
                         int64_t **full, int64_t **partial) {
    const int64_t size = batch_size(sampler);
    int64_t i = 0;
    for (; i + size <= count; i += size, *full += size) {
        if (sampler->lengths)
            even_chunks(sampler, samples + i, *full);
        else
            memcpy(*full, samples + i, (size_t)size * sizeof *samples);
    }
    if (i == count || sampler->options.drop_last) return;
    deal(sampler, samples + i, count - i, *partial);
    *partial += size;
}

/// Puts the `count` full batches at the start of the order into a random sequence.
static void permute_batches(Sampler *sampler, int64_t epoch, int64_t count) {
    const size_t bytes = (size_t)batch_size(sampler) * sizeof *sampler->order;
    int64_t *sequence = checked_malloc((size_t)(count + 1) * sizeof *sequence);
    char *copy = checked_malloc((size_t)count * bytes + 1);
    memcpy(copy, sampler->order, (size_t)count * bytes);
    for (int64_t i = 0; i < count; i++) sequence[i] = i;
    sampler_permute(sampler, epoch, DRAW_BATCHES, sequence, count);
    for (int64_t i = 0; i < count; i++)
        memcpy((char *)sampler->order + (size_t)i * bytes, copy + (size_t)sequence[i] * bytes,
               bytes);
    free(copy);
    free(sequence);
}

int64_t sampler_count_fixed_steps(const Sampler *sampler) {
    const int64_t size = batch_size(sampler), spare = sampler->options.drop_last ? 0 : size - 1;
    return (sampler->image_count + spare) / size + (sampler->text_count + spare) / size;
}

void sampler_make_fixed_epoch(Sampler *sampler, int64_t epoch) {
    const int64_t size = batch_size(sampler), images = sampler->image_count,
                  texts = sampler->text_count;
    int64_t *samples = checked_malloc((size_t)(images + texts) * sizeof *samples);
    sampler_select(sampler, epoch, samples);
    const int64_t full_batches = images / size + texts / size;
    int64_t *full = sampler->order, *partial = sampler->order + full_batches * size;
    sampler_permute(sampler, epoch, sampler->lengths ? DRAW_IMAGES : DRAW_SAMPLES, samples, images);
    make_batches(sampler, samples, images, &full, &partial);
    sampler_permute(sampler, epoch, DRAW_TEXTS, samples + images, texts);
    make_batches(sampler, samples + images, texts, &full, &partial);
    if (sampler->lengths) permute_batches(sampler, epoch, full_batches);
    free(samples);
}

const int64_t *sampler_fixed_chunk(const Sampler *sampler, int64_t step, int64_t chunk,
                                   int64_t *count) {
    const int64_t size = sampler->options.micro_batch;
    const int64_t *samples = sampler->order + (step * sampler->options.chunks + chunk) * size;
    for (*count = 0; *count < size && samples[*count] >= 0;) ++*count;
    return samples;
}
