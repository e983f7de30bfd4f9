#include "autograd/philox.h"
#include "autograd/random.h"
#include "data/loader/sampler_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- random order

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

void sampler_permute(const Sampler *sampler, int64_t epoch, Draw draw, int64_t *values,
                     int64_t count) {
    if (sampler->options.shuffle)
        permute_by(random_stream(sampler->options.seed, RANDOM_SHUFFLE,
                                 (uint64_t)epoch * DRAW_COUNT + draw),
                   values, count);
}

void sampler_permute_once(const Sampler *sampler, int64_t number, int64_t *values, int64_t count) {
    if (sampler->options.shuffle)
        permute_by(random_stream(sampler->options.seed, RANDOM_SELECTION, (uint64_t)number), values,
                   count);
}

int sampler_longest_first(const void *a, const void *b) {
    const Sized *x = a, *y = b;
    if (x->length != y->length) return x->length > y->length ? -1 : 1;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

void sampler_sort_by_tokens(const Sampler *sampler, int64_t *samples, int64_t count) {
    Sized *sized = checked_malloc((size_t)(count + 1) * sizeof *sized);
    for (int64_t i = 0; i < count; i++)
        sized[i] = (Sized){samples[i], sampler->token_lengths[samples[i]], i};
    qsort(sized, (size_t)count, sizeof *sized, sampler_longest_first);
    for (int64_t i = 0; i < count; i++) samples[i] = sized[i].sample;
    free(sized);
}

// ---- strata

static bool is_text(const Sampler *sampler, int64_t sample) {
    return sampler->lengths && sampler->lengths[sample] <= 0;
}

/// Appends the samples of [begin, end) of that kind; returns how many an epoch has of them.
static int64_t add_stratum(Sampler *sampler, int64_t number, bool texts, int64_t begin, int64_t end,
                           double weight) {
    Stratum *stratum = &sampler->strata[number];
    int64_t *samples = sampler->samples + stratum->first;
    for (int64_t i = begin; i < end; i++)
        if (is_text(sampler, i) == texts) samples[stratum->count++] = i;
    const int64_t visits = llround(weight * (double)stratum->count);
    if (stratum->count == 0) return 0;
    stratum->copies = visits / stratum->count;
    stratum->rest = visits % stratum->count;
    if (sampler->token_lengths && sampler->options.shuffle) {
        sampler_permute_once(sampler, number, samples, stratum->count);
        sampler_sort_by_tokens(sampler, samples, stratum->count);
    }
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
    sampler->strata = checked_calloc(KINDS * (size_t)count, sizeof *sampler->strata);
    int64_t first = 0;
    for (int texts = 0; texts < KINDS; texts++) {
        int64_t begin = 0;
        for (int i = 0; i < count; begin += parts[i++].count) {
            Stratum *stratum = &sampler->strata[texts * count + i];
            stratum->first = first;
            const int64_t visits = add_stratum(sampler, texts * count + i, texts, begin,
                                               begin + parts[i].count, parts[i].weight);
            first += stratum->count;
            *(texts ? &sampler->text_count : &sampler->image_count) += visits;
        }
        CHECK(begin == sampler->options.sample_count, "a sampler of %lld samples in parts of %lld",
              (long long)sampler->options.sample_count, (long long)begin);
    }
}

/// The next of the stratum's random sequence.
static int64_t *select_next(const Sampler *sampler, int64_t epoch, int64_t number, int64_t *to) {
    const Stratum *stratum = &sampler->strata[number];
    const int64_t count = stratum->count;
    const size_t bytes = (size_t)count * sizeof *to;
    int64_t *sequence = checked_malloc(bytes);
    memcpy(sequence, sampler->samples + stratum->first, bytes);
    sampler_permute_once(sampler, number, sequence, count);
    for (int64_t i = 0; i < stratum->rest; i++)
        *to++ = sequence[(epoch * stratum->rest + i) % count];
    free(sequence);
    return to;
}

/// Those at which i * rest / count, i from the epoch on, passes a whole number: `rest` of any
/// `count` that follow each other, and of any m of them at most one more than m * rest / count.
static int64_t *select_evenly(const Sampler *sampler, int64_t epoch, int64_t number, int64_t *to) {
    const Stratum *stratum = &sampler->strata[number];
    const int64_t count = stratum->count;
    for (int64_t i = 0; i < count; i++)
        if ((i + epoch) % count * stratum->rest % count < stratum->rest)
            *to++ = sampler->samples[stratum->first + i];
    return to;
}

void sampler_select(const Sampler *sampler, int64_t epoch, int64_t *to) {
    for (int64_t n = 0; n < KINDS * sampler->options.part_count; n++) {
        const Stratum *stratum = &sampler->strata[n];
        for (int64_t i = 0; i < stratum->copies; i++, to += stratum->count)
            memcpy(to, sampler->samples + stratum->first, (size_t)stratum->count * sizeof *to);
        if (stratum->rest > 0)
            to = (sampler->token_lengths ? select_evenly : select_next)(sampler, epoch, n, to);
    }
}

// ---- the whole

static int32_t *copy_lengths(const int32_t *lengths, int64_t count) {
    if (!lengths) return NULL;
    int32_t *copy = checked_malloc((size_t)count * sizeof *copy);
    memcpy(copy, lengths, (size_t)count * sizeof *copy);
    return copy;
}

static bool check_options(const SamplerOptions *options, Error *error) {
    const int64_t size = options->token_lengths ? options->tokens_per_chunk : options->micro_batch;
    return (options->sample_count > 0 && options->chunks > 0 && size > 0) ||
           error_set(error,
                     "a sampler of %lld samples, %lld chunks of %lld %s: expected samples, and "
                     "chunks that have some",
                     (long long)options->sample_count, (long long)options->chunks, (long long)size,
                     options->token_lengths ? "tokens" : "samples");
}

static bool count_steps(Sampler *sampler, Error *error) {
    const SamplerOptions *options = &sampler->options;
    sampler->steps_per_epoch =
        sampler->token_lengths ? sampler_pack_tokens(sampler) : sampler_count_fixed_steps(sampler);
    if (sampler->steps_per_epoch > 0) return true;
    return error_set(
        error,
        "%lld samples do not fill one batch of %lld %s, and batches that are not full are left out",
        (long long)(sampler->image_count + sampler->text_count),
        (long long)(options->chunks * (sampler->token_lengths ? 1 : options->micro_batch)),
        sampler->token_lengths ? "rows" : "samples");
}

Sampler *sampler_create(const SamplerOptions *options, Error *error) {
    if (!check_options(options, error)) return NULL;
    Sampler *sampler = checked_calloc(1, sizeof *sampler);
    sampler->options = *options;
    sampler->epoch = -1;
    sampler->lengths = copy_lengths(options->modality_lengths, options->sample_count);
    sampler->token_lengths = copy_lengths(options->token_lengths, options->sample_count);
    sampler->options.modality_lengths = sampler->options.token_lengths = NULL;
    divide(sampler);
    if (!count_steps(sampler, error)) {
        sampler_free(sampler);
        return NULL;
    }
    const int64_t chunks = sampler->steps_per_epoch * options->chunks,
                  places = sampler->token_lengths ? sampler->image_count + sampler->text_count
                                                  : chunks * options->micro_batch;
    sampler->order = checked_malloc((size_t)places * sizeof *sampler->order);
    if (sampler->token_lengths) {
        const size_t spread_chunks = KINDS * ((size_t)options->chunks + 1);
        sampler->row_of_chunk = checked_malloc((size_t)chunks * sizeof *sampler->row_of_chunk);
        sampler->spread = checked_malloc((size_t)places * sizeof *sampler->spread);
        sampler->spread_begins = checked_calloc(spread_chunks, sizeof *sampler->spread_begins);
    }
    return sampler;
}

void sampler_free(Sampler *sampler) {
    if (!sampler) return;
    for (int kind = 0; kind < KINDS; kind++) token_rows_free(&sampler->rows[kind]);
    free(sampler->lengths);
    free(sampler->token_lengths);
    free(sampler->samples);
    free(sampler->strata);
    free(sampler->order);
    free(sampler->row_of_chunk);
    free(sampler->spread);
    free(sampler->spread_begins);
    free(sampler);
}

int64_t sampler_steps_per_epoch(const Sampler *sampler) { return sampler->steps_per_epoch; }

const int64_t *sampler_chunk(Sampler *sampler, int64_t step, int64_t chunk, int64_t *count) {
    CHECK(step >= 0 && chunk >= 0 && chunk < sampler->options.chunks,
          "sampler: step %lld, chunk %lld of %lld", (long long)step, (long long)chunk,
          (long long)sampler->options.chunks);
    const int64_t epoch = step / sampler->steps_per_epoch;
    if (epoch != sampler->epoch)
        (sampler->token_lengths ? sampler_make_token_epoch : sampler_make_fixed_epoch)(sampler,
                                                                                       epoch);
    sampler->epoch = epoch;
    return (sampler->token_lengths ? sampler_token_chunk : sampler_fixed_chunk)(
        sampler, step % sampler->steps_per_epoch, chunk, count);
}
