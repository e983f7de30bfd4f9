// rooms: data checkpoints autograd
// Archives as Python writes them, whole and damaged (tests/parity/record_image_archives.py).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "checkpoints/safetensors.h"
#include "data/archive/archive_path.h"
#include "data/llava_dataset.h"
#include "tests/unit/temporary_folder.h"

static SafetensorsFile *recorded;
static const char REFUSED[] = "refused: ";

static bool is_refused(const char *expected) {
    return strncmp(expected, REFUSED, strlen(REFUSED)) == 0;
}

static const char *write_bytes(const char *name, const void *bytes, size_t size) {
    const char *path = in_folder(name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    return path;
}

static const char *write_archive(const char *name, const char *as) {
    const StoredTensor *file = safetensors_find(recorded, name);
    assert_non_null(file);
    return write_bytes(as, file->data, file->bytes);
}

/// Reads one file of an archive: its checksum as text, or the refusal.
static void outcome_of(const Archive *archive, const char *name, char *text, size_t size) {
    Error error = {0};
    ByteBuffer bytes = {0};
    const ArchiveMember *member = archive_find(archive, name);
    if (!member)
        snprintf(text, size, "refused: none");
    else if (!archive_read(archive, member, SIZE_MAX, &bytes, &error))
        snprintf(text, size, "refused: %s", error.message);
    else
        snprintf(text, size, "%lu", crc32(0, (const Bytef *)bytes.data, (unsigned)bytes.size));
    byte_buffer_free(&bytes);
}

static void check_line(const char *archive_name, const Archive *archive, char *line) {
    char outcome[2200], *expected = strchr(line, '\t');
    *expected++ = 0;
    outcome_of(archive, line, outcome, sizeof outcome);
    const bool as_expected = is_refused(expected) && is_refused(outcome)
                                 ? strstr(outcome, expected + strlen(REFUSED)) != NULL
                                 : strcmp(outcome, expected) == 0;
    if (!as_expected) fail_msg("%s: %s: %s; expected %s", archive_name, line, outcome, expected);
}

static void check_archive(const char *name, const char *expected) {
    Error error = {0};
    const char *path = write_archive(name, "archive");
    Archive *archive = archive_open(path, &error);
    if (is_refused(expected)) {
        if (archive || !strstr(error.message, expected + strlen(REFUSED)) ||
            !strstr(error.message, path))
            fail_msg("%s: %s; expected %s", name, archive ? "opened" : error.message, expected);
        return;
    }
    if (!archive) fail_msg("%s: %s", name, error.message);
    char *lines = strdup(expected), *rest = lines;
    for (char *line; (line = strsep(&rest, "\n"));) check_line(name, archive, line);
    free(lines);
    archive_close(archive);
}

static void archives_hold_what_unpacking_gives(void **state) {
    (void)state;
    const char *name, *expected;
    int64_t count = 0;
    while ((name = safetensors_metadata_key(recorded, count, &expected))) {
        check_archive(name, expected);
        count++;
    }
    assert_true(count > 50);
}

static void archives_cut_off_or_changed_anywhere_are_read_or_refused(void **state) {
    (void)state;
    static const char *const names[] = {"zip/deflated", "tar/gnu_long", "tar/pax"};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        const StoredTensor *file = safetensors_find(recorded, names[n]);
        uint8_t *bytes = malloc(file->bytes);
        for (size_t i = 0; i < file->bytes; i += 1 + file->bytes / 400) {
            Error error = {0};
            memcpy(bytes, file->data, file->bytes);
            bytes[i] ^= 0x21;
            const bool cut = i % 2;
            const char *path = write_bytes("archive", bytes, cut ? i : file->bytes);
            Archive *archive = archive_open(path, &error);
            assert_true(archive || error.message[0]);
            char outcome[2200];
            if (archive) outcome_of(archive, "0001/b.png", outcome, sizeof outcome);
            archive_close(archive);
        }
        free(bytes);
    }
}

static void paths_lead_into_archives(void **state) {
    (void)state;
    Error error = {0};
    ByteBuffer bytes = {0};
    write_archive("zip/one_folder", "pictures.zip");
    char *path = format_string("%s/d.gif", in_folder("pictures.zip"));
    assert_true(archive_path_read(path, 6, &bytes, &error));
    assert_int_equal(bytes.size, 6);
    assert_memory_equal(bytes.data, "GIF89a", 6);
    byte_buffer_free(&bytes);
    free(path);
    path = format_string("%s/absent.gif", in_folder("pictures.zip"));
    assert_false(archive_path_read(path, 6, &bytes, &error));
    assert_non_null(
        strstr(error.message, "absent.gif: cannot be read: there is no such file in the"));
    free(path);
    assert_true(archive_path_is_folder(in_folder("pictures.zip"), &error));
    assert_true(archive_path_is_folder(temporary_folder, &error));
    write_bytes("notes.txt", "text", 4);
    assert_false(archive_path_is_folder(in_folder("notes.txt"), &error));
    assert_non_null(strstr(error.message, "notes.txt: neither a folder nor a zip or tar archive"));
    byte_buffer_free(&bytes);
    archives_forget();
}

static Dataset *open_dataset(const char *folder, const char *image, Error *error) {
    char text[256];
    snprintf(text, sizeof text,
             "[{\"image\": \"%s\", \"conversations\": [{\"from\": \"human\", \"value\": "
             "\"<image>\"}, {\"from\": \"gpt\", \"value\": \"a\"}]}]",
             image);
    static char path[512], images[512];
    snprintf(images, sizeof images, "%s", in_folder(folder));
    snprintf(path, sizeof path, "%s", write_bytes("data.json", text, strlen(text)));
    return dataset_open(&(DatasetOptions){path, images, MISSING_IMAGE_FAIL}, error);
}

static void the_images_of_a_data_set_may_lie_in_an_archive(void **state) {
    (void)state;
    Error error = {0};
    write_archive("tar/gnu", "images.tar");
    write_archive("tar/cut", "cut.tar");
    Dataset *dataset = open_dataset("images.tar", "d.gif", &error);
    if (!dataset) fail_msg("%s", error.message);
    assert_int_equal(dataset_part(dataset, 0).formats[2], 1);
    dataset_close(dataset);
    assert_null(open_dataset("images.tar", "0001/b.png", &error));
    assert_non_null(strstr(error.message, "images.tar/0001/b.png: not an image that is read"));
    assert_null(open_dataset("images.tar", "absent.gif", &error));
    assert_non_null(strstr(error.message, "there is no such file in the archive"));
    assert_null(open_dataset("cut.tar", "d.gif", &error));
    assert_non_null(strstr(error.message, "cut.tar: the tar archive is cut off"));
    archives_forget();
}

static void an_archive_that_changes_while_it_is_in_use_is_an_error(void **state) {
    (void)state;
    Error error = {0};
    ByteBuffer bytes = {0};
    write_archive("tar/gnu", "changing.tar");
    char *path = format_string("%s/d.gif", in_folder("changing.tar"));
    assert_true(archive_path_read(path, SIZE_MAX, &bytes, &error));
    byte_buffer_clear(&bytes);
    assert_int_equal(truncate(in_folder("changing.tar"), 2048), 0);
    assert_false(archive_path_read(path, SIZE_MAX, &bytes, &error));
    assert_non_null(strstr(error.message, "changing.tar: the archive was changed"));
    assert_int_equal(unlink(in_folder("changing.tar")), 0);
    assert_false(archive_path_read(path, SIZE_MAX, &bytes, &error));
    byte_buffer_free(&bytes);
    free(path);
    archives_forget();
}

static void *read_often(void *path) {
    for (int i = 0; i < 300; i++) {
        Error error = {0};
        ByteBuffer bytes = {0};
        const bool done = archive_path_read(path, SIZE_MAX, &bytes, &error);
        const bool is_right = done && bytes.size == 900 && bytes.data[899] == 'b';
        byte_buffer_free(&bytes);
        if (!is_right) return path;
    }
    return NULL;
}

static void threads_read_one_archive(void **state) {
    (void)state;
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    write_archive("zip/deflated", "shared.zip");
    char *path = format_string("%s/0001/b.png", in_folder("shared.zip"));
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_often, path), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    free(path);
    archives_forget();
}

static int set_up(void **state) {
    Error error = {0};
    recorded = safetensors_open(SOURCE_DIR "/tests/parity/data/image_archives.safetensors", &error);
    if (!recorded) print_error("%s\n", error.message);
    return recorded ? make_temporary_folder(state) : -1;
}

static int clean_up(void **state) {
    safetensors_close(recorded);
    return remove_temporary_folder(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(archives_hold_what_unpacking_gives),
        cmocka_unit_test(archives_cut_off_or_changed_anywhere_are_read_or_refused),
        cmocka_unit_test(paths_lead_into_archives),
        cmocka_unit_test(the_images_of_a_data_set_may_lie_in_an_archive),
        cmocka_unit_test(an_archive_that_changes_while_it_is_in_use_is_an_error),
        cmocka_unit_test(threads_read_one_archive),
    };
    return cmocka_run_group_tests(tests, set_up, clean_up);
}
