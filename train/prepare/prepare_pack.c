#include "train/prepare/prepare_pack.h"

#include "autograd/stop_request.h"

#include <stdlib.h>

/// A block with its record.
typedef struct ReadBlock {
    char *record;
    PreparedBlock block;
} ReadBlock;

static bool read_block(const PrepareParts *parts, int64_t number, ReadBlock *read, Error *error) {
    size_t size;
    *read = (ReadBlock){0};
    if (stop_requested()) return stop_request_error(error);
    read->record = prepare_parts_block(parts, number, &size, error);
    if (!read->record) return false;
    return prepared_block_read(read->record, size, &read->block) ||
           error_set(error,
                     "block %lld of the samples is damaged; remove the folder of parts and "
                     "run the same command again",
                     (long long)number);
}

static void free_block(ReadBlock *read) {
    prepared_block_free(&read->block);
    free(read->record);
}

bool prepare_collect(const PrepareParts *parts, PackTotals *totals, ProblemList *problems,
                     Error *error) {
    bool ok = true;
    *totals = (PackTotals){0};
    for (int64_t i = 0; ok && i < prepare_parts_end(parts); i++) {
        ReadBlock read;
        ok = read_block(parts, i, &read, error);
        totals->numbers += read.block.looked_at;
        for (int s = 0; s < read.block.num_samples; s++)
            pack_count_sample(totals, &read.block.samples[s]);
        for (int64_t p = 0; p < read.block.problems.count; p++) {
            const Problem *problem = &read.block.problems.items[p];
            problems_add(problems, problem->kind, problem->number, problem->line, problem->id,
                         problem->message);
        }
        free_block(&read);
    }
    prepare_parts_count_images(parts, totals);
    problems_sort(problems);
    return ok;
}

static bool put_samples(const PrepareParts *parts, PackWriter *writer, Error *error) {
    bool ok = true;
    for (int64_t i = 0; ok && i < prepare_parts_end(parts); i++) {
        ReadBlock read;
        ok = read_block(parts, i, &read, error);
        for (int s = 0; ok && s < read.block.num_samples; s++)
            ok = pack_put_sample(writer, &read.block.samples[s], error);
        free_block(&read);
    }
    return ok;
}

static bool put_images(const PrepareParts *parts, PackWriter *writer, Error *error) {
    bool ok = true;
    for (int64_t i = 0; ok && i < prepare_parts_image_count(parts); i++) {
        PackImage image;
        char *record = NULL;
        if (stop_requested()) return stop_request_error(error);
        ok = prepare_parts_image(parts, i, &image, &record, error) &&
             pack_put_image(writer, &image, error);
        free(record);
    }
    return ok;
}

bool prepare_write_pack(const PrepareParts *parts, const PackTotals *totals, const char *path,
                        const char *source, const char *tokens_of, Error *error) {
    PackWriter *writer = pack_create(path, totals, source, tokens_of, error);
    if (!writer) return false;
    if (put_samples(parts, writer, error) && put_images(parts, writer, error))
        return pack_commit(writer, error);
    pack_abandon(writer);
    return false;
}
