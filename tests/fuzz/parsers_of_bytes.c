#include "tests/fuzz/parsers_of_bytes.h"

#include "data/archive/archive.h"
#include "data/images/preprocess.h"
#include "data/sample_file.h"
#include "train/config/config.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST_MEMBERS = 64 };

void put_bytes(int descriptor, const ByteBuffer *bytes) {
    CHECK(descriptor >= 0, "a file in memory");
    for (size_t done = 0; done < bytes->size;) {
        const ssize_t count = write(descriptor, bytes->data + done, bytes->size - done);
        CHECK(count > 0, "write to a file of memory");
        done += (size_t)count;
    }
}

void put_file(const ByteBuffer *bytes, const char *path, int *descriptor) {
    if (*descriptor < 0) *descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    lseek(*descriptor, 0, SEEK_SET);
    put_bytes(*descriptor, bytes);
    CHECK(ftruncate(*descriptor, (off_t)bytes->size) == 0, "a file in memory is cut");
}

/// A file of memory with these bytes; `path` is where it is opened.
static int open_in_memory(const ByteBuffer *bytes, char path[64]) {
    const int descriptor = memfd_create("bytes", MFD_CLOEXEC);
    put_bytes(descriptor, bytes);
    snprintf(path, 64, "/proc/self/fd/%d", descriptor);
    return descriptor;
}

/// By rows and of the whole picture (NULL: it cannot be read), which must be the same.
static void make_squares(const void *bytes, size_t size, const Image *whole) {
    enum { SIDE = 24, NUMBERS = 3 * SIDE * SIDE };
    for (int aspect = IMAGE_CENTER_CROP; aspect <= IMAGE_PAD; aspect++) {
        const ImageView view = {(ImageAspect)aspect, IMAGE_NORMALIZATION_CLIP_TWICE, SIDE};
        float of_rows[NUMBERS], of_whole[NUMBERS] = {0};
        ImageGeometry geometry;
        const bool made = image_decode_preprocess(bytes, size, "file", &view, of_rows, &geometry,
                                                  NULL),
                   expected = whole && image_preprocess(whole, &view, of_whole, &geometry, NULL);
        CHECK(made == expected && !memcmp(of_rows, of_whole, sizeof of_rows),
              "image_decode_preprocess: another square than of the whole picture");
    }
}

static bool parse_image(const ByteBuffer *bytes, const SeedFile *seed, Error *error) {
    (void)seed;
    Image image;
    // Of its own size, so that a sanitizer sees reads beyond the end.
    void *copy = checked_malloc(bytes->size + !bytes->size);
    if (bytes->size) memcpy(copy, bytes->data, bytes->size);
    const bool ok = image_decode(copy, bytes->size, "file", &image, error);
    CHECK(ok == (image.pixels != NULL), "image_decode: pixels without success, or none with it");
    make_squares(copy, bytes->size, ok ? &image : NULL);
    image_free(&image);
    free(copy);
    return ok;
}

/// Every file of the archive is read, one of them in pieces as well.
static bool read_files(const Archive *archive, Error *error) {
    bool ok = true;
    const int64_t count = archive_count(archive);
    for (int64_t i = 0; i < count && i < MOST_MEMBERS; i++) {
        ByteBuffer content = {0}, start = {0};
        const ArchiveMember *member = archive_member(archive, i);
        const char *name = archive_member_name(archive, member);
        CHECK(archive_find(archive, name), "archive_find: not the member '%s'", name);
        Error of_start = {0};
        ok = archive_read(archive, member, SIZE_MAX, &content, error) && ok;
        if (archive_read(archive, member, 64, &start, &of_start))
            CHECK(start.size <= 64, "archive_read: %zu of 64 bytes", start.size);
        byte_buffer_free(&content);
        byte_buffer_free(&start);
    }
    return ok;
}

static bool parse_archive(const ByteBuffer *bytes, const SeedFile *seed, Error *error) {
    (void)seed;
    char path[64];
    const int descriptor = open_in_memory(bytes, path);
    Archive *archive = archive_open(path, error);
    const bool ok = archive && read_files(archive, error);
    archive_close(archive);
    close(descriptor);
    return ok;
}

bool tokenize_as_trained(const Sample *sample, Error *error) {
    static const ConversationTemplate kinds[] = {TEMPLATE_VICUNA_V1, TEMPLATE_LLAMA_2,
                                                 TEMPLATE_PLAIN};
    static Tokenizer *tokenizer;
    if (!tokenizer) tokenizer = tokenizer_open("checkpoints/tiny/llm/tokenizer.model", error);
    CHECK(tokenizer, "%s; run it in the repository's folder", error->message);
    bool ok = true;
    for (int i = 0; ok && i < 3 - sample_is_beyond_plain(sample); i++) {
        const ConversationFormat format = {
            .kind = kinds[i], .visual_tokens = 64, .model_max_length = 128};
        TokenSequence sequence = {0};
        ok = sample_tokenize(sample, tokenizer, &format, &sequence, error);
        CHECK(!ok || sequence.length <= 128, "a sequence of %d tokens", sequence.length);
        token_sequence_free(&sequence);
    }
    return ok;
}

static bool use_sample(void *context, const SamplePlace *place, int64_t number, struct json_t *json,
                       Error *error) {
    const SampleFile *file = context;
    Sample sample;
    const bool ok =
        sample_read(json, "images", &sample, error) && tokenize_as_trained(&sample, error);
    sample_free(&sample);
    json_t *again = ok ? sample_file_read(file, place, number, error) : NULL;
    CHECK(!ok || again, "not read again: %s", error->message);
    json_decref(again);
    return ok;
}

static bool parse_samples(const ByteBuffer *bytes, const SeedFile *seed, Error *error) {
    (void)seed;
    char path[64];
    const int descriptor = open_in_memory(bytes, path);
    SampleFile *file = sample_file_open(path, error);
    const bool ok = file && sample_file_scan(file, use_sample, file, error);
    sample_file_close(file);
    close(descriptor);
    return ok;
}

static bool parse_config(const ByteBuffer *bytes, const SeedFile *seed, Error *error) {
    (void)seed;
    char *text = checked_malloc(bytes->size + 1);
    if (bytes->size) memcpy(text, bytes->data, bytes->size);
    text[bytes->size] = 0;
    Config *config = config_load_text(text, "bytes.yaml", NULL, 0, error);
    free(text);
    if (!config) return false;
    Error why = {0};
    char *yaml = config_to_yaml(config);
    Config *again = config_load_text(yaml, "again.yaml", NULL, 0, &why);
    CHECK(again, "not read back: %s", why.message);
    char *same = config_to_yaml(again);
    CHECK(!strcmp(yaml, same), "read back as another: %s", same);
    free(yaml);
    free(same);
    config_free(config);
    config_free(again);
    return true;
}

ByteParser *byte_parser_named(const char *name) {
    static const struct {
        const char *name;
        ByteParser *parser;
    } parsers[] = {{"image", parse_image},     {"archive", parse_archive},
                   {"samples", parse_samples}, {"config", parse_config},
                   {"pack", parse_pack},       {"pack_arrays", parse_pack_arrays},
                   {"answers", parse_answers}, {"answers_hdf5", parse_answers_hdf5},
                   {"parts", parse_parts},     {"features", parse_features}};
    for (size_t i = 0; i < sizeof parsers / sizeof *parsers; i++)
        if (!strcmp(name, parsers[i].name)) return parsers[i].parser;
    return NULL;
}
