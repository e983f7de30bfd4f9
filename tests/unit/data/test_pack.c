// rooms: data checkpoints autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "autograd/fnv.h"
#include "autograd/random.h"
#include "data/pack/pack.h"
#include "tests/unit/file_bytes.h"
#include "tests/unit/temporary_folder.h"

enum { SAMPLES = 60, IMAGES = 7 };

/// Asked for by the address sanitizer: HDF5 1.10 loses what it has read of an object header that
/// turns out damaged.
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libhdf5"; }

static char texts[SAMPLES][64], names[IMAGES][32], pictures[IMAGES][500];
static int32_t tokens[SAMPLES][SAMPLES];
static PackSpan spans[SAMPLES][2];

/// Sample i has i tokens, so the first has none, and up to two spans.
static PackSample sample_number(int i) {
    PackSample sample = {.number = 2 * i,
                         .line = 3 * i + 1,
                         .words = i % 3 ? i + 1 : -i - 1,
                         .beyond_plain = i % 5 == 0,
                         .text = texts[i],
                         .text_bytes = snprintf(texts[i], sizeof texts[i],
                                                "{\"id\": %d, \"ä\": %*d}", i, i % 7 + 1, i),
                         .tokens = tokens[i],
                         .num_tokens = i,
                         .spans = spans[i],
                         .num_spans = i < 2   ? 0
                                      : i < 4 ? 1
                                              : 2};
    sample.checksum = fnv1a_words(sample.text, (size_t)sample.text_bytes);
    for (int t = 0; t < i; t++) tokens[i][t] = t == 1 ? -200 : i * 100 + t;
    spans[i][0] = (PackSpan){1, 2};
    spans[i][1] = (PackSpan){2, i};
    return sample;
}

static PackImage image_number(int i) {
    snprintf(names[i], sizeof names[i], "coco/%02d.jpg", i);
    for (int b = 0; b < 71 * i; b++) pictures[i][b] = (char)(b * i);
    return (PackImage){names[i], pictures[i], 71 * i};
}

static bool write_pack(const char *path, Error *error) {
    PackTotals totals = {.numbers = 2 * SAMPLES};
    for (int i = 0; i < SAMPLES; i++) {
        const PackSample sample = sample_number(i);
        pack_count_sample(&totals, &sample);
    }
    for (int i = 0; i < IMAGES; i++) {
        const PackImage image = image_number(i);
        pack_count_image(&totals, &image);
    }
    PackWriter *writer = pack_create(path, &totals, "{\"source\": 1}", "{\"tokens\": 2}", error);
    bool ok = writer != NULL;
    for (int i = 0; ok && i < SAMPLES; i++) {
        const PackSample sample = sample_number(i);
        ok = pack_put_sample(writer, &sample, error);
    }
    for (int i = 0; ok && i < IMAGES; i++) {
        const PackImage image = image_number(i);
        ok = pack_put_image(writer, &image, error);
    }
    if (ok) return pack_commit(writer, error);
    pack_abandon(writer);
    return false;
}

/// Whether all of it is as it was written; an error where something is damaged.
static bool is_as_written(const Pack *pack, Error *error) {
    bool ok = pack_sample_count(pack) == SAMPLES && pack_number_count(pack) == 2 * SAMPLES &&
              pack_image_count(pack) == IMAGES && !strcmp(pack_source(pack), "{\"source\": 1}") &&
              !strcmp(pack_tokens_of(pack), "{\"tokens\": 2}");
    if (!ok) return error_set(error, "the pack differs");
    for (int i = 0; i < SAMPLES; i++) {
        const PackSample expected = sample_number(i);
        PackSample sample;
        if (!pack_sample(pack, i, &sample, error)) return false;
        ok = sample.number == expected.number && sample.checksum == expected.checksum &&
             sample.words == expected.words && sample.beyond_plain == expected.beyond_plain &&
             sample.line == expected.line && sample.text_bytes == expected.text_bytes &&
             sample.num_tokens == expected.num_tokens && sample.num_spans == expected.num_spans &&
             !memcmp(sample.text, expected.text, (size_t)expected.text_bytes) &&
             !memcmp(sample.tokens, expected.tokens, (size_t)i * sizeof(int32_t)) &&
             !memcmp(sample.spans, expected.spans, (size_t)sample.num_spans * sizeof(PackSpan));
        if (!ok) return error_set(error, "sample %d differs", i);
    }
    for (int i = 0; i < IMAGES; i++) {
        const PackImage expected = image_number(i);
        PackImage image;
        Error why = {0};
        if (!pack_image(pack, expected.name, &image, &why))
            return error_set(error, "%s", why.message[0] ? why.message : "an image is gone");
        if (image.size != expected.size || memcmp(image.bytes, expected.bytes, (size_t)image.size))
            return error_set(error, "image %d differs", i);
    }
    return true;
}

static void what_was_packed_is_read_back(void **state) {
    (void)state;
    Error error = {0};
    PackImage image;
    if (!write_pack(in_folder("a.h5"), &error)) fail_msg("%s", error.message);
    assert_true(pack_is_at(in_folder("a.h5")));
    assert_false(pack_is_at(in_folder("absent.h5")));
    Pack *pack = pack_open(in_folder("a.h5"), &error);
    if (!pack || !is_as_written(pack, &error)) fail_msg("%s", error.message);
    assert_false(pack_image(pack, "coco/07.jpg", &image, &error));
    assert_string_equal(error.message, "");
    pack_close(pack);
}

static void an_empty_pack_opens(void **state) {
    (void)state;
    Error error = {0};
    const PackTotals totals = {0};
    PackWriter *writer = pack_create(in_folder("a.h5"), &totals, "{}", "{}", &error);
    assert_true(writer && pack_commit(writer, &error));
    Pack *pack = pack_open(in_folder("a.h5"), &error);
    if (!pack) fail_msg("%s", error.message);
    assert_int_equal(pack_sample_count(pack), 0);
    pack_close(pack);
}

static void a_changed_byte_is_noticed_or_harms_nothing(void **state) {
    (void)state;
    Error error = {0};
    char path[512];
    snprintf(path, sizeof path, "%s", in_folder("a.h5"));
    assert_true(write_pack(path, &error));
    FileBytes bytes = file_bytes_read(path);
    const size_t size = bytes.size;
    int file = open(path, O_RDWR), noticed = 0;
    for (size_t i = 0; i < size; i += 3) {
        const unsigned char changed = (unsigned char)(bytes.data[i] ^ (1 << i % 8));
        assert_int_equal(pwrite(file, &changed, 1, (off_t)i), 1);
        Error why = {0};
        Pack *pack = pack_open(path, &why);
        if (!pack || !is_as_written(pack, &why)) noticed++;
        if (strstr(why.message, "differs")) fail_msg("byte %zu of %zu: %s", i, size, why.message);
        pack_close(pack);
        assert_int_equal(pwrite(file, bytes.data + i, 1, (off_t)i), 1);
    }
    assert_true(noticed > 100);
    close(file);
    file_bytes_free(&bytes);
}

static size_t size_of_file(const char *path) {
    FileBytes bytes = file_bytes_read(path);
    const size_t size = bytes.size;
    file_bytes_free(&bytes);
    return size;
}

static void a_pack_that_is_cut_off_is_refused(void **state) {
    (void)state;
    Error error = {0};
    char path[512];
    snprintf(path, sizeof path, "%s", in_folder("a.h5"));
    assert_true(write_pack(path, &error));
    const size_t size = size_of_file(path);
    for (size_t cut = size; cut > 100; cut -= size / 23) {
        assert_int_equal(truncate(path, (off_t)(cut - 1)), 0);
        Pack *pack = pack_open(path, &error);
        assert_null(pack);
        assert_non_null(strstr(error.message, "a.h5"));
    }
}

static void a_full_disk_leaves_no_pack(void **state) {
    (void)state;
    struct rlimit old, limit;
    Error error = {0};
    assert_true(write_pack(in_folder("b.h5"), &error));
    const size_t size = size_of_file(in_folder("b.h5"));
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    for (rlim_t bytes = 1; bytes < size; bytes += size / 17) {
        limit = old;
        limit.rlim_cur = bytes;
        setrlimit(RLIMIT_FSIZE, &limit);
        const bool written = write_pack(in_folder("a.h5"), &error);
        setrlimit(RLIMIT_FSIZE, &old);
        assert_false(written);
        assert_int_equal(files_in_folder(), 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(what_was_packed_is_read_back),
        IN_FOLDER(an_empty_pack_opens),
        IN_FOLDER(a_changed_byte_is_noticed_or_harms_nothing),
        IN_FOLDER(a_pack_that_is_cut_off_is_refused),
        IN_FOLDER(a_full_disk_leaves_no_pack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
