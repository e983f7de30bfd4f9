#include "data/sampler.h"
#include "autograd/philox.h"
#include "autograd/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/// Each permutation that an epoch draws has numbers of its own.
typedef enum Draw { DRAW_SAMPLES, DRAW_IMAGES, DRAW_TEXTS, DRAW_BATCHES, DRAW_COUNT } Draw;

/// The samples of one part, of one kind where kinds are apart.
typedef struct Stratum {
    /// in Sampler.samples
    int64_t first, count;
    /// how often an epoch has all of them, and how many once more
    int64_t copies, rest;
} Stratum;

struct Sampler {
    SamplerOptions options;
    /// negative: text only; NULL without grouping
    int32_t *lengths;
    /// [sample_count]: those with an image (without grouping: all), then those without
    int64_t *samples;
    /// [2, part_count]
    Stratum *strata;
    /// of an epoch, with an image (without grouping: all) and without
    int64_t image_count, text_count;
    int64_t steps_per_epoch;
    /// [steps_per_epoch, global_batch] of `epoch`, -1 for empty slots
    int64_t *order;
    int64_t epoch;
};

static int64_t batches_of(const SamplerOptions *options, int64_t count) {
    return options->drop_last ? count / options->global_batch
                              : (count + options->global_batch - 1) / options->global_batch;
}

static bool is_text(const Sampler *sampler, int64_t sample) {
    return sampler->lengths && sampler->lengths[sample] <= 0;
}

/// Appends the samples of [begin, end) of that kind; returns how many an epoch has of them.
static int64_t add_stratum(Sampler *sampler, Stratum *stratum, bool texts, int64_t begin,
                           int64_t end, double weight) {
    for (int64_t i = begin; i < end; i++)
        if (is_text(sampler, i) == texts) sampler->samples[stratum->first + stratum->count++] = i;
    const int64_t visits = llround(weight * (double)stratum->count);
    if (stratum->count == 0) return 0;
    stratum->copies = visits / stratum->count;
    stratum->rest = visits % stratum->count;
    return visits;
}

static void divide(Sampler *sampler) {
    const SamplerPart whole = {sampler->options.sample_count, 1};
    const SamplerPart *parts = sampler->options.parts ? sampler->options.parts : &whole;
    const int count = sampler->options.parts ? sampler->options.part_count : 1;
    sampler->options.part_count = count;
    sampler->options.parts = NULL;
    sampler->samples =
        checked_malloc((size_t)sampler->options.sample_count * sizeof *sampler->samples);
    sampler->strata = checked_calloc(2 * (size_t)count, sizeof *sampler->strata);
    int64_t first = 0;
    for (int texts = 0; texts < 2; texts++) {
        int64_t begin = 0;
        for (int i = 0; i < count; begin += parts[i++].count) {
            Stratum *stratum = &sampler->strata[texts * count + i];
            stratum->first = first;
            const int64_t visits = add_stratum(sampler, stratum, texts, begin,
                                               begin + parts[i].count, parts[i].weight);
            first += stratum->count;
            *(texts ? &sampler->text_count : &sampler->image_count) += visits;
        }
        CHECK(begin == sampler->options.sample_count, "a sampler of %lld samples in parts of %lld",
              (long long)sampler->options.sample_count, (long long)begin);
    }
}

Sampler *sampler_create(const SamplerOptions *options, Error *error) {
    if (options->sample_count <= 0 || options->micro_batch <= 0 || options->global_batch <= 0 ||
        options->global_batch % options->micro_batch != 0) {
        error_set(
            error,
            "a sampler of %lld samples, batches of %lld in chunks of %lld: expected samples, and "
            "a batch that is a multiple of the chunk",
            (long long)options->sample_count, (long long)options->global_batch,
            (long long)options->micro_batch);
        return NULL;
    }
    Sampler *sampler = checked_calloc(1, sizeof *sampler);
    sampler->options = *options;
    sampler->epoch = -1;
    if (options->modality_lengths) {
        const size_t bytes = (size_t)options->sample_count * sizeof *sampler->lengths;
        sampler->lengths = checked_malloc(bytes);
        memcpy(sampler->lengths, options->modality_lengths, bytes);
        sampler->options.modality_lengths = sampler->lengths;
    }
    divide(sampler);
    sampler->steps_per_epoch =
        batches_of(options, sampler->image_count) + batches_of(options, sampler->text_count);
    if (sampler->steps_per_epoch == 0) {
        error_set(error,
                  "%lld samples do not fill one batch of %lld, and batches that are not full are "
                  "left out",
                  (long long)(sampler->image_count + sampler->text_count),
                  (long long)options->global_batch);
        sampler_free(sampler);
        return NULL;
    }
    sampler->order = checked_malloc((size_t)sampler->steps_per_epoch *
                                    (size_t)options->global_batch * sizeof *sampler->order);
    return sampler;
}

void sampler_free(Sampler *sampler) {
    if (!sampler) return;
    free(sampler->lengths);
    free(sampler->samples);
    free(sampler->strata);
    free(sampler->order);
    free(sampler);
}

int64_t sampler_steps_per_epoch(const Sampler *sampler) { return sampler->steps_per_epoch; }

/// Fisher and Yates, with 64 random bits per exchange: the bias is below count / 2^64.
static void permute_by(RandomStream stream, int64_t *values, int64_t count) {
    for (int64_t i = count - 1; i > 0; i--) {
        uint32_t bits[4];
        philox4x32(stream.key, stream.index, (uint64_t)i, bits);
        const uint64_t random = (uint64_t)bits[0] | (uint64_t)bits[1] << 32;
        const int64_t j = (int64_t)(((unsigned __int128)random * (uint64_t)(i + 1)) >> 64);
        const int64_t value = values[i];
        values[i] = values[j];
        values[j] = value;
    }
}

static void permute(const Sampler *sampler, int64_t epoch, Draw draw, int64_t *values,
                    int64_t count) {
    if (sampler->options.shuffle)
        permute_by(random_stream(sampler->options.seed, RANDOM_SHUFFLE,
                                 (uint64_t)epoch * DRAW_COUNT + draw),
                   values, count);
}

/// Deals a batch that is not full over the chunks in turn, so that every process has work.
static void deal(const SamplerOptions *options, const int64_t *samples, int64_t count,
                 int64_t *slots) {
    const int64_t chunks = options->global_batch / options->micro_batch;
    for (int64_t i = 0; i < options->global_batch; i++) slots[i] = -1;
    for (int64_t i = 0; i < count; i++)
        slots[(i % chunks) * options->micro_batch + i / chunks] = samples[i];
}

typedef struct Sized {
    int64_t sample;
    int64_t length;
    /// decides between equal lengths, so that the order does not depend on the sorting algorithm
    int64_t rank;
} Sized;

static int longest_first(const void *a, const void *b) {
    const Sized *x = a, *y = b;
    if (x->length != y->length) return x->length > y->length ? -1 : 1;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

/// A full batch: longest first, each to the chunk with the least so far that has room (LLaVA's
/// split_to_even_chunks).
static void even_chunks(const Sampler *sampler, const int64_t *samples, int64_t *slots) {
    const int64_t size = sampler->options.global_batch, micro_batch = sampler->options.micro_batch;
    const int64_t chunks = size / micro_batch;
    Sized *sized = checked_malloc((size_t)size * sizeof *sized);
    int64_t *total = checked_calloc((size_t)chunks, sizeof *total);
    int64_t *filled = checked_calloc((size_t)chunks, sizeof *filled);
    for (int64_t i = 0; i < size; i++)
        sized[i] = (Sized){samples[i], llabs(sampler->lengths[samples[i]]), i};
    qsort(sized, (size_t)size, sizeof *sized, longest_first);
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
    const int64_t size = sampler->options.global_batch;
    int64_t i = 0;
    for (; i + size <= count; i += size, *full += size) {
        if (sampler->lengths)
            even_chunks(sampler, samples + i, *full);
        else
            memcpy(*full, samples + i, (size_t)size * sizeof *samples);
    }
    if (i == count || sampler->options.drop_last) return;
    deal(&sampler->options, samples + i, count - i, *partial);
    *partial += size;
}

/// Puts the `count` full batches at the start of the order into a random sequence.
static void permute_batches(Sampler *sampler, int64_t epoch, int64_t count) {
    const size_t bytes = (size_t)sampler->options.global_batch * sizeof *sampler->order;
    int64_t *sequence = checked_malloc((size_t)(count + 1) * sizeof *sequence);
    char *copy = checked_malloc((size_t)count * bytes + 1);
    memcpy(copy, sampler->order, (size_t)count * bytes);
    for (int64_t i = 0; i < count; i++) sequence[i] = i;
    permute(sampler, epoch, DRAW_BATCHES, sequence, count);
    for (int64_t i = 0; i < count; i++)
        memcpy((char *)sampler->order + (size_t)i * bytes, copy + (size_t)sequence[i] * bytes,
               bytes);
    free(copy);
    free(sequence);
}

/// The epoch's samples of a stratum, to `to`; returns their end.
static int64_t *select_samples(const Sampler *sampler, int64_t epoch, int64_t number, int64_t *to) {
    const Stratum *stratum = &sampler->strata[number];
    const int64_t *samples = sampler->samples + stratum->first, count = stratum->count;
    const size_t bytes = (size_t)count * sizeof *samples;
    for (int64_t i = 0; i < stratum->copies; i++, to += count) memcpy(to, samples, bytes);
    if (stratum->rest == 0) return to;
    int64_t *sequence = checked_malloc(bytes);
    memcpy(sequence, samples, bytes);
    if (sampler->options.shuffle)
        permute_by(random_stream(sampler->options.seed, RANDOM_SELECTION, (uint64_t)number),
                   sequence, count);
    for (int64_t i = 0; i < stratum->rest; i++)
        *to++ = sequence[(epoch * stratum->rest + i) % count];
    free(sequence);
    return to;
}

static void make_epoch(Sampler *sampler, int64_t epoch) {
    const int64_t size = sampler->options.global_batch, images = sampler->image_count,
                  texts = sampler->text_count;
    int64_t *samples = checked_malloc((size_t)(images + texts) * sizeof *samples), *end = samples;
    for (int i = 0; i < 2 * sampler->options.part_count; i++)
        end = select_samples(sampler, epoch, i, end);
    const int64_t full_batches = images / size + texts / size;
    int64_t *full = sampler->order, *partial = sampler->order + full_batches * size;
    permute(sampler, epoch, sampler->lengths ? DRAW_IMAGES : DRAW_SAMPLES, samples, images);
    make_batches(sampler, samples, images, &full, &partial);
    permute(sampler, epoch, DRAW_TEXTS, samples + images, texts);
    make_batches(sampler, samples + images, texts, &full, &partial);
    if (sampler->lengths) permute_batches(sampler, epoch, full_batches);
    free(samples);
    sampler->epoch = epoch;
}

int64_t sampler_sample(Sampler *sampler, int64_t step, int64_t slot) {
    const int64_t size = sampler->options.global_batch;
    CHECK(step >= 0 && slot >= 0 && slot < size, "sampler: step %lld, slot %lld of %lld",
          (long long)step, (long long)slot, (long long)size);
    const int64_t epoch = step / sampler->steps_per_epoch;
    if (epoch != sampler->epoch) make_epoch(sampler, epoch);
    return sampler->order[(step % sampler->steps_per_epoch) * size + slot];
}
