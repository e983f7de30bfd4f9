#include "data/llava_dataset.h"
#include "data/pack/pack_internal.h"
#include "data/pack/packed_sample.h"
#include "tests/fuzz/parsers_of_bytes.h"
#include "train/features/feature_file.h"

#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// ---- packs through HDF5

/// What the data set said of the sample when it was opened is what it is.
static bool use_packed(const Dataset *dataset, int64_t index, Error *error) {
    Sample sample;
    char place[1024];
    bool ok = dataset_sample(dataset, index, &sample, error);
    if (ok) {
        dataset_describe(dataset, index, sample.id, place, sizeof place);
        CHECK(dataset_has_image(dataset, index) == (sample.image_path != NULL),
              "%s: said to have a picture, or none", place);
        CHECK(dataset_first_beyond_plain(dataset) >= 0 || !sample_is_beyond_plain(&sample),
              "%s: said to be as 'plain' wants it", place);
        ok = tokenize_as_trained(&sample, error);
    }
    sample_free(&sample);
    return ok;
}

/// HDF5 opens no file without a name.
static void name_of_file(pid_t process, char path[64]) {
    snprintf(path, 64, "/dev/shm/difflmm-fuzz-%d.h5", (int)process);
}

void byte_parser_clean_up(pid_t process) {
    char path[64];
    name_of_file(process, path);
    unlink(path);
    journal_clean_up(process);
}

static void put_hdf5(const ByteBuffer *bytes, char path[64]) {
    static int descriptor = -1;
    // Every file that is opened takes half a megabyte, anew where HDF5 does not keep it.
    if (descriptor < 0) H5set_free_list_limits(-1, -1, -1, -1, -1, -1);
    name_of_file(getpid(), path);
    put_file(bytes, path, &descriptor);
}

bool parse_pack(const ByteBuffer *bytes, const SeedFile *seed, Error *error) {
    char path[64];
    put_hdf5(bytes, path);
    // One in four is opened twice: what is said of one is where the other begins.
    const bool twice = bytes->data[seed->pack->file.arrays[ARRAY_SAMPLES].checksum] % 4 == 0;
    const DatasetFile files[] = {{path, "images", 1}, {path, "images", 2}};
    Dataset *dataset = dataset_open_files(files, 1 + twice, MISSING_IMAGE_FAIL, error);
    bool ok = dataset != NULL;
    for (int64_t i = 0; ok && i < dataset_count(dataset); i++) {
        Error of_sample = {0};
        CHECK(use_packed(dataset, i, &of_sample) || of_sample.message[0],
              "refused without a message");
        if (of_sample.message[0]) *error = of_sample;
    }
    ok = ok && !error->message[0];
    dataset_close(dataset);
    return ok;
}

// ---- packs' arrays, where they lie

static PackPart part_of(const PackLayout *layout, const ByteBuffer *bytes, PackArrayName name) {
    const Hdf5Array *array = &layout->file.arrays[name];
    PackPart part = {(const unsigned char *)bytes->data + array->offset, (int64_t)array->size, 0};
    if (array->checksum)
        memcpy(&part.checksum, bytes->data + array->checksum, sizeof part.checksum);
    return part;
}

static Pack *pack_of(const PackLayout *layout, const ByteBuffer *bytes) {
    Pack *pack = checked_calloc(1, sizeof *pack);
    pack->file.path = checked_strdup("pack");
    pack->source = checked_strdup("{}");
    pack->tokens_of = checked_strdup(layout->tokens_of);
    memcpy(&pack->numbers, bytes->data + layout->numbers_attribute, sizeof pack->numbers);
    pack->sample_rows = part_of(layout, bytes, ARRAY_SAMPLES);
    pack->texts = part_of(layout, bytes, ARRAY_TEXTS);
    pack->tokens = part_of(layout, bytes, ARRAY_TOKENS);
    pack->spans = part_of(layout, bytes, ARRAY_SPANS);
    pack->image_rows = part_of(layout, bytes, ARRAY_IMAGES);
    pack->names = part_of(layout, bytes, ARRAY_NAMES);
    pack->image_bytes = part_of(layout, bytes, ARRAY_IMAGE_BYTES);
    pack->samples = pack->sample_rows.size / (int64_t)(PACK_COLUMNS * sizeof(int64_t));
    pack->images = pack->image_rows.size / (int64_t)(PACK_IMAGE_COLUMNS * sizeof(int64_t));
    return pack;
}

bool parse_pack_arrays(const ByteBuffer *bytes, const SeedFile *seed, Error *error) {
    // Of its own size, so that a sanitizer sees reads beyond the end.
    ByteBuffer copy = {checked_malloc(bytes->size), .size = bytes->size};
    memcpy(copy.data, bytes->data, bytes->size);
    Pack *pack = pack_of(seed->pack, &copy);
    bool ok = pack_check(pack, error);
    const int64_t count = ok ? pack_sample_count(pack) : 0;
    for (int64_t i = 0; i < count; i++) {
        Sample sample;
        Error of_sample = {0};
        const bool is_read = packed_sample_read(pack, i, "images", &sample, &of_sample) &&
                             tokenize_as_trained(&sample, &of_sample);
        CHECK(is_read || of_sample.message[0], "refused without a message");
        if (!is_read) *error = of_sample;
        ok = ok && is_read;
        sample_free(&sample);
    }
    pack_close(pack);
    free(copy.data);
    return ok;
}

// ---- features

/// What the undamaged file is said to be by the run that looks for it.
typedef struct FeatureSeed {
    const SeedFile *of;
    FeatureShape shape;
    int count;
    char *key;
} FeatureSeed;

static bool describe_features(const StateFile *state, FeatureSeed *seed, Error *error) {
    StateType type;
    int rank;
    int64_t clip[STATE_MAX_RANK], moments[STATE_MAX_RANK];
    if (!state_read_attribute_string(state, "made_of", &seed->key, error) ||
        !state_describe_array(state, "clip", &type, &rank, clip, error))
        return false;
    seed->shape = (FeatureShape){
        .dtype = type == STATE_FLOAT32 ? FLOAT32 : BFLOAT16, .tokens = clip[1], .width = clip[2]};
    seed->count = (int)clip[0];
    if (!state_has_array(state, "moments")) return true;
    if (!state_describe_array(state, "moments", &type, &rank, moments, error)) return false;
    seed->shape.side = moments[1];
    seed->shape.channels = moments[3];
    return true;
}

/// Of the file before, if it is the same; kept until the process ends.
static const FeatureSeed *feature_seed(const SeedFile *of, Error *error) {
    enum { MOST_SEEDS = 16 };
    static FeatureSeed seeds[MOST_SEEDS];
    int i = 0;
    while (i < MOST_SEEDS - 1 && seeds[i].of && seeds[i].of != of) i++;
    if (seeds[i].of == of) return &seeds[i];
    free(seeds[i].key);
    seeds[i] = (FeatureSeed){.of = of};
    StateFile *state = state_open(of->path, error);
    CHECK(state && describe_features(state, &seeds[i], error), "%s", error->message);
    state_close(state);
    return &seeds[i];
}

bool parse_features(const ByteBuffer *bytes, const SeedFile *seed, Error *error) {
    const FeatureSeed *is = feature_seed(seed, error);
    char path[64];
    put_hdf5(bytes, path);
    FeatureBlock block = {0};
    bool is_it;
    bool ok = feature_file_find(path, &is->shape, is->key, is->count, false, &block, &is_it, error);
    CHECK(is_it == (block.file != NULL), "features without success, or none with it");
    char *clip = checked_malloc(feature_clip_bytes(&is->shape)),
         *moments = checked_malloc(feature_moments_bytes(&is->shape) + 1);
    for (int i = 0; is_it && i < is->count; i++)
        ok = feature_file_read(block.file, &is->shape, i, clip, moments, error) && ok;
    free(clip);
    free(moments);
    feature_block_free(&block);
    return ok;
}
