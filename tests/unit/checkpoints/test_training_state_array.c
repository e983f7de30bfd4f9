// rooms: checkpoints autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "autograd/crc32c.h"
#include "checkpoints/training_state.h"
#include "tests/unit/temporary_folder.h"

enum { ROWS = 700001, COLUMNS = 2 };

static int32_t pairs[ROWS][COLUMNS];
static uint8_t bytes[ROWS];

static int fill(void **state) {
    (void)state;
    for (int i = 0; i < ROWS; i++) {
        pairs[i][0] = i * 7;
        pairs[i][1] = -i;
        bytes[i] = (uint8_t)(i * 31);
    }
    return 0;
}

/// Two arrays side by side, in pieces of 1, 2, 4, ... rows and, behind them, one that is larger
/// than what is kept in memory.
static bool write_in_pieces(const char *path, Error *error) {
    const int64_t pairs_shape[] = {ROWS, COLUMNS}, bytes_shape[] = {ROWS};
    StateWriter *writer = state_create(path, error);
    if (!writer) return false;
    StateArray *first = state_array_begin(writer, "pairs", STATE_INT32, 2, pairs_shape, error),
               *second =
                   first ? state_array_begin(writer, "bytes", STATE_BYTES, 1, bytes_shape, error)
                         : NULL;
    bool ok = second != NULL;
    for (int64_t at = 0, count = 1; ok && at < ROWS; at += count, count *= 2) {
        if (count > ROWS - at) count = ROWS - at;
        ok = state_array_put(first, pairs[at], count, error) &&
             state_array_put(second, bytes + at, count, error);
    }
    ok = state_array_end(first, ok ? error : NULL) && ok;
    ok = state_array_end(second, ok ? error : NULL) && ok;
    if (ok) return state_commit(writer, error);
    state_abandon(writer);
    return false;
}

static void arrays_written_in_pieces_are_read_whole(void **state) {
    (void)state;
    Error error = {0};
    const int64_t pairs_shape[] = {ROWS, COLUMNS}, bytes_shape[] = {ROWS};
    if (!write_in_pieces(in_folder("a.h5"), &error)) fail_msg("%s", error.message);
    StateFile *file = state_open(in_folder("a.h5"), &error);
    assert_non_null(file);
    int32_t(*read)[COLUMNS] = malloc(sizeof pairs);
    uint8_t *of_bytes = malloc(sizeof bytes);
    assert_true(state_read_array(file, "pairs", STATE_INT32, 2, pairs_shape, read, &error));
    assert_true(state_read_array(file, "bytes", STATE_BYTES, 1, bytes_shape, of_bytes, &error));
    assert_memory_equal(read, pairs, sizeof pairs);
    assert_memory_equal(of_bytes, bytes, sizeof bytes);
    assert_true(state_verify(file, &error));
    free(read);
    free(of_bytes);
    state_close(file);
}

static void an_array_is_found_at_its_place_in_the_file(void **state) {
    (void)state;
    Error error = {0};
    int64_t offset = 0, size = 0;
    uint32_t checksum = 0;
    assert_true(write_in_pieces(in_folder("a.h5"), &error));
    StateFile *file = state_open(in_folder("a.h5"), &error);
    assert_non_null(file);
    assert_true(state_array_place(file, "pairs", &offset, &size, &checksum, &error));
    assert_int_equal(size, sizeof pairs);
    char *stored = malloc(sizeof pairs);
    FILE *as_bytes = fopen(in_folder("a.h5"), "rb");
    assert_non_null(as_bytes);
    assert_int_equal(fseek(as_bytes, (long)offset, SEEK_SET), 0);
    assert_int_equal(fread(stored, 1, sizeof pairs, as_bytes), sizeof pairs);
    assert_memory_equal(stored, pairs, sizeof pairs);
    assert_int_equal(checksum, crc32c(0, pairs, sizeof pairs));
    fclose(as_bytes);
    free(stored);
    assert_false(state_array_place(file, "absent", &offset, &size, &checksum, &error));
    state_close(file);
}

static void an_array_that_lacks_rows_is_an_error(void **state) {
    (void)state;
    Error error = {0};
    const int64_t shape[] = {4};
    StateWriter *writer = state_create(in_folder("a.h5"), &error);
    assert_non_null(writer);
    StateArray *array = state_array_begin(writer, "bytes", STATE_BYTES, 1, shape, &error);
    assert_true(state_array_put(array, bytes, 3, &error));
    assert_false(state_array_end(array, &error));
    assert_non_null(strstr(error.message, "3 rows of 4"));
    state_abandon(writer);
    assert_int_equal(files_in_folder(), 0);
}

static void a_disk_that_fills_up_while_pieces_are_put_leaves_nothing(void **state) {
    (void)state;
    struct rlimit old, limit;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    const rlim_t whole = sizeof pairs + sizeof bytes;
    for (rlim_t bytes_left = 1; bytes_left < whole; bytes_left += whole / 13) {
        Error error = {0};
        limit = old;
        limit.rlim_cur = bytes_left;
        setrlimit(RLIMIT_FSIZE, &limit);
        const bool written = write_in_pieces(in_folder("a.h5"), &error);
        setrlimit(RLIMIT_FSIZE, &old);
        assert_false(written);
        assert_non_null(strstr(error.message, "a.h5"));
        assert_int_equal(files_in_folder(), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(arrays_written_in_pieces_are_read_whole),
        IN_FOLDER(an_array_is_found_at_its_place_in_the_file),
        IN_FOLDER(an_array_that_lacks_rows_is_an_error),
        IN_FOLDER(a_disk_that_fills_up_while_pieces_are_put_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
