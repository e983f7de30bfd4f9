#include "train/features/feature_exchange.h"

#include <stdlib.h>
#include <string.h>

/// A block that is exchanged.
typedef struct Exchanged {
    const FeatureExchange *with;
    int owner, count;
    FeatureBlock *block;
} Exchanged;

static bool is_owner(const Exchanged *exchanged) {
    return exchanged->owner == process_rank(exchanged->with->group);
}

/// The owner's bytes for every rank.
static bool hand_out(const Exchanged *exchanged, void *bytes, size_t size, Error *error) {
    return process_group_broadcast(exchanged->with->group, exchanged->owner, bytes, size, error);
}

/// What is in the owner's memory, into that of the others.
static bool hand_out_memory(const Exchanged *exchanged, Error *error) {
    FeatureBlock *block = exchanged->block;
    const FeatureShape *shape = exchanged->with->shape;
    const size_t images = (size_t)exchanged->count;
    if (!is_owner(exchanged)) feature_block_allocate(block, shape, exchanged->count);
    return hand_out(exchanged, block->clip, images * feature_clip_bytes(shape), error) &&
           (!block->moments ||
            hand_out(exchanged, block->moments, images * feature_moments_bytes(shape), error));
}

/// Into memory, for those that do not have the file.
static bool read_block(const Exchanged *exchanged, Error *error) {
    FeatureBlock *block = exchanged->block;
    const FeatureShape *shape = exchanged->with->shape;
    bool ok = true;
    feature_block_allocate(block, shape, exchanged->count);
    for (int i = 0; ok && i < exchanged->count; i++) {
        const size_t place = (size_t)i;
        char *moments =
            block->moments ? block->moments + place * feature_moments_bytes(shape) : NULL;
        ok = feature_file_read(block->file, shape, i,
                               block->clip + place * feature_clip_bytes(shape), moments, error);
    }
    return ok;
}

/// Some rank has no file of the block.
static bool hand_out_file(const Exchanged *exchanged, const char *key, Error *error) {
    FeatureBlock *block = exchanged->block;
    ProcessGroup *group = exchanged->with->group;
    const bool lacks = !block->file;
    bool ok = !is_owner(exchanged) || read_block(exchanged, error);
    if (!process_group_agree(group, ok, error) || !hand_out_memory(exchanged, error)) return false;
    if (lacks)
        ok = feature_folder_keep(exchanged->with->folder, key, exchanged->count, block, error);
    else
        feature_block_free_memory(block);
    return process_group_agree(group, ok, error);
}

/// On another rank than the owner: in the folder of this one.
static void look_for(const Exchanged *exchanged, const char *key,
                     uint32_t checksums[FEATURE_BLOCK][2]) {
    FeatureBlock *block = exchanged->block;
    const uint32_t readable = block->readable;
    if (feature_folder_find(exchanged->with->folder, key, exchanged->count, true, block))
        memcpy(block->file->checksums, checksums, sizeof block->file->checksums);
    block->readable = readable;
}

/// The block is in a file of the owner's. key: with room for the owner's.
static bool exchange_file(const Exchanged *exchanged, char *key, size_t size, Error *error) {
    FeatureBlock *block = exchanged->block;
    uint32_t checksums[FEATURE_BLOCK][2];
    if (is_owner(exchanged)) memcpy(checksums, block->file->checksums, sizeof checksums);
    if (!hand_out(exchanged, key, size, error) ||
        !hand_out(exchanged, checksums, sizeof checksums, error))
        return false;
    if (!is_owner(exchanged)) look_for(exchanged, key, checksums);
    double lacking = !block->file;
    return process_group_sum(exchanged->with->group, &lacking, 1, error) &&
           (lacking == 0 || hand_out_file(exchanged, key, error));
}

bool feature_exchange(const FeatureExchange *exchange, int owner, const char *own_key, int count,
                      FeatureBlock *block, Error *error) {
    const Exchanged exchanged = {exchange, owner, count, block};
    const size_t own_size = own_key && is_owner(&exchanged) ? strlen(own_key) : 0;
    uint64_t about[3] = {block->readable, block->file != NULL, own_size};
    if (!hand_out(&exchanged, about, sizeof about, error)) return false;
    block->readable = (uint32_t)about[0];
    if (!about[1]) return hand_out_memory(&exchanged, error);
    char *key = checked_calloc(1, about[2] + 1);
    memcpy(key, own_key ? own_key : "", own_size);
    const bool ok = exchange_file(&exchanged, key, about[2], error);
    free(key);
    return ok;
}
