// rooms: checkpoints autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <hdf5.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "checkpoints/checkpoint_folder.h"
#include "checkpoints/training_state.h"
#include "tests/unit/temporary_folder.h"

/// Asked for by the address sanitizer: HDF5 1.10 loses what it has read of an object header that
/// turns out damaged.
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libhdf5"; }

static const float weights[6] = {1, -2, 3.25f, 0, 1e-30f, -1e30f};
static const int64_t weights_shape[2] = {2, 3};

static bool write_checkpoint(const char *path, int64_t step, Error *error) {
    const int64_t counts[3] = {1, -2, 1LL << 60}, counts_shape[1] = {3}, empty_shape[1] = {0};
    StateWriter *writer = state_create(path, error);
    if (!writer) return false;
    bool written =
        state_write_array(writer, "weights/clip_pe", STATE_FLOAT32, 2, weights_shape, weights,
                          error) &&
        state_write_array(writer, "optimizer/exp_avg/clip_pe", STATE_FLOAT32, 0, NULL, weights + 2,
                          error) &&
        state_write_array(writer, "counts", STATE_INT64, 1, counts_shape, counts, error) &&
        state_write_array(writer, "empty", STATE_BYTES, 1, empty_shape, NULL, error) &&
        state_write_attribute_int(writer, "position/step", step, error) &&
        state_write_attribute_double(writer, "position/epoch", 0.25, error) &&
        state_write_attribute_string(writer, "position/config", "seed: 1\nüber: ja\n", error) &&
        state_write_attribute_string(writer, "empty_text", "", error);
    if (written) return state_commit(writer, error);
    state_abandon(writer);
    return false;
}

static StateFile *open_written(const char *path) {
    Error error = {0};
    if (!write_checkpoint(path, 7, &error)) fail_msg("%s", error.message);
    StateFile *file = state_open(path, &error);
    if (!file) fail_msg("%s", error.message);
    return file;
}

static void what_was_written_is_read_back(void **state) {
    (void)state;
    StateFile *file = open_written(in_folder("a.h5"));
    Error error = {0};
    float values[6];
    int64_t counts[3], number, shape[STATE_MAX_RANK];
    const int64_t counts_shape[1] = {3};
    double real;
    char *text;
    StateType type;
    int rank;
    assert_int_equal(state_array_count(file), 4);
    assert_string_equal(state_array_name(file, 0), "counts");
    assert_string_equal(state_array_name(file, 2), "optimizer/exp_avg/clip_pe");
    assert_true(
        state_read_array(file, "weights/clip_pe", STATE_FLOAT32, 2, weights_shape, values, &error));
    assert_memory_equal(values, weights, sizeof weights);
    assert_true(state_read_array(file, "optimizer/exp_avg/clip_pe", STATE_FLOAT32, 0, NULL, values,
                                 &error));
    assert_true(values[0] == 3.25f);
    assert_true(state_read_array(file, "counts", STATE_INT64, 1, counts_shape, counts, &error));
    assert_true(counts[2] == 1LL << 60);
    assert_true(state_describe_array(file, "weights/clip_pe", &type, &rank, shape, &error));
    assert_true(type == STATE_FLOAT32 && rank == 2 && shape[1] == 3);
    assert_true(state_read_attribute_int(file, "position/step", &number, &error) && number == 7);
    assert_true(state_read_attribute_double(file, "position/epoch", &real, &error) && real == 0.25);
    assert_true(state_read_attribute_string(file, "position/config", &text, &error));
    assert_string_equal(text, "seed: 1\nüber: ja\n");
    free(text);
    assert_true(state_read_attribute_string(file, "empty_text", &text, &error));
    assert_string_equal(text, "");
    free(text);
    assert_true(state_verify(file, &error));
    state_close(file);
}

static void another_models_shape_and_missing_names_are_errors(void **state) {
    (void)state;
    StateFile *file = open_written(in_folder("a.h5"));
    Error error = {0};
    float values[6];
    int64_t number;
    char *text;
    const int64_t transposed[2] = {3, 2};
    assert_false(
        state_read_array(file, "weights/clip_pe", STATE_FLOAT32, 2, transposed, values, &error));
    assert_non_null(strstr(error.message, "float32 [2, 3]; expected float32 [3, 2]"));
    assert_false(
        state_read_array(file, "weights/clip_pe", STATE_BYTES, 2, weights_shape, values, &error));
    assert_false(state_read_array(file, "weights/absent", STATE_FLOAT32, 0, NULL, values, &error));
    assert_non_null(strstr(error.message, "'weights/absent' is missing"));
    assert_false(state_read_attribute_int(file, "position/absent", &number, &error));
    assert_false(state_read_attribute_int(file, "absent/step", &number, &error));
    assert_false(state_read_attribute_int(file, "position/config", &number, &error));
    assert_non_null(strstr(error.message, "not an integer"));
    assert_false(state_read_attribute_string(file, "position/step", &text, &error));
    state_close(file);
}

static void a_name_is_written_once_and_long_text_is_refused(void **state) {
    (void)state;
    Error error = {0};
    StateWriter *writer = state_create(in_folder("b.h5"), &error);
    assert_true(state_write_array(writer, "w", STATE_FLOAT32, 2, weights_shape, weights, &error));
    assert_false(state_write_array(writer, "w", STATE_FLOAT32, 2, weights_shape, weights, &error));
    assert_non_null(strstr(error.message, "b.h5: array 'w'"));
    char *text = checked_malloc(70000);
    memset(text, 'x', 69999);
    text[69999] = '\0';
    assert_false(state_write_attribute_string(writer, "text", text, &error));
    text[STATE_MAX_STRING] = '\0';
    assert_true(state_write_attribute_string(writer, "text", text, &error));
    assert_true(state_commit(writer, &error));
    StateFile *file = state_open(in_folder("b.h5"), &error);
    char *again;
    assert_true(state_read_attribute_string(file, "text", &again, &error));
    assert_string_equal(text, again);
    state_close(file);
    free(again);
    free(text);
}

static void an_abandoned_checkpoint_leaves_nothing(void **state) {
    (void)state;
    Error error = {0};
    int before = files_in_folder();
    StateWriter *writer = state_create(in_folder("c.h5"), &error);
    assert_true(state_write_array(writer, "w", STATE_FLOAT32, 2, weights_shape, weights, &error));
    assert_int_equal(files_in_folder(), before + 1);
    state_abandon(writer);
    assert_int_equal(files_in_folder(), before);
    assert_null(state_create(in_folder("absent/c.h5"), &error));
    assert_non_null(strstr(error.message, "absent/c.h5"));
}

/// Writes one large array and many small ones under a limit of file size: a disk that fills up.
static bool write_under_limit(const char *path, rlim_t limit_bytes, Error *error) {
    enum { LARGE = 50000 };
    float *large = checked_calloc(LARGE, sizeof *large);
    const int64_t shape[1] = {LARGE};
    struct rlimit old, limit;
    getrlimit(RLIMIT_FSIZE, &old);
    limit = old;
    limit.rlim_cur = limit_bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
    StateWriter *writer = state_create(path, error);
    bool written = writer != NULL;
    for (int i = 0; written && i < 50; i++) {
        char name[32];
        snprintf(name, sizeof name, "small/%d", i);
        written = state_write_array(writer, name, STATE_FLOAT32, 2, weights_shape, weights, error);
    }
    if (written)
        written = state_write_array(writer, "large", STATE_FLOAT32, 1, shape, large, error);
    if (written)
        written = state_commit(writer, error);
    else
        state_abandon(writer);
    setrlimit(RLIMIT_FSIZE, &old);
    free(large);
    return written;
}

/// A file that is open keeps its room on the disk although it is removed.
static int count_descriptors(void) {
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory)) count++;
    closedir(directory);
    return count;
}

static void a_disk_that_fills_up_at_any_byte_loses_nothing(void **state) {
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    char path[512];
    snprintf(path, sizeof path, "%s", in_folder("full.h5"));
    state_close(open_written(path));
    int before = files_in_folder(), descriptors = count_descriptors();
    int failures = 0;
    for (rlim_t limit = 0; limit < 230000; limit += limit < 32768 ? 1021 : 9973) {
        Error error = {0};
        if (write_under_limit(path, limit, &error)) continue;
        failures++;
        size_t length = strlen(error.message), said = strlen(": File too large");
        if (!strstr(error.message, "full.h5") || strchr(error.message, '\n') || length < said ||
            strcmp(error.message + length - said, ": File too large") != 0)
            fail_msg("limit %llu: %s", (unsigned long long)limit, error.message);
        assert_int_equal(files_in_folder(), before);
        assert_int_equal(count_descriptors(), descriptors);
        StateFile *file = state_open(path, &error);
        if (!file || !state_verify(file, &error)) fail_msg("%s", error.message);
        assert_true(state_has_array(file, "weights/clip_pe"));
        state_close(file);
    }
    assert_true(failures > 30);
    Error error = {0};
    if (!write_under_limit(path, 1000000, &error)) fail_msg("%s", error.message);
}

/// Bytes of removed files that are still open: they keep their room on the disk.
static int64_t bytes_of_removed_files(void) {
    int64_t bytes = 0;
    struct stat status;
    for (int descriptor = 0; descriptor < 256; descriptor++)
        if (fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode) && !status.st_nlink)
            bytes += status.st_size;
    return bytes;
}

static bool write_three_values(const char *path, Error *error) {
    const int64_t shape[] = {3};
    StateWriter *writer = state_create(path, error);
    if (!writer) return false;
    if (state_write_array(writer, "group/values", STATE_FLOAT32, 1, shape, weights, error))
        return state_commit(writer, error);
    state_abandon(writer);
    return false;
}

/// HDF5 knows its files by their inodes, of which a file system takes the next one that is free.
static void a_checkpoint_that_failed_is_not_in_the_way_of_the_next(void **state) {
    (void)state;
    struct rlimit old, limit;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    limit = old;
    const int64_t removed = bytes_of_removed_files();
    for (limit.rlim_cur = 1; limit.rlim_cur < 400; limit.rlim_cur += 20) {
        Error error = {0};
        setrlimit(RLIMIT_FSIZE, &limit);
        const bool written = write_three_values(in_folder("a.h5"), &error);
        setrlimit(RLIMIT_FSIZE, &old);
        assert_false(written);
        assert_non_null(strstr(error.message, ": File too large"));
        if (!write_three_values(in_folder("b.h5"), &error)) fail_msg("%s", error.message);
        assert_int_equal(unlink(in_folder("b.h5")), 0);
    }
    assert_int_equal(bytes_of_removed_files(), removed);
}

static char *read_whole(const char *path, size_t *size) {
    FILE *stream = fopen(path, "rb");
    assert_non_null(stream);
    char *bytes = checked_malloc(1 << 20);
    *size = fread(bytes, 1, 1 << 20, stream);
    fclose(stream);
    return bytes;
}

static void write_whole(const char *path, const char *bytes, size_t size) {
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    fwrite(bytes, 1, size, stream);
    fclose(stream);
}

/// True if the damaged file is refused, or everything in it is still as it was written.
static bool refused_or_unharmed(const char *path) {
    Error error = {0};
    float values[6];
    int64_t step;
    char *text = NULL;
    StateFile *file = state_open(path, &error);
    bool fine = true;
    if (file && state_verify(file, &error) &&
        state_read_array(file, "weights/clip_pe", STATE_FLOAT32, 2, weights_shape, values,
                         &error) &&
        state_read_attribute_int(file, "position/step", &step, &error) &&
        state_read_attribute_string(file, "position/config", &text, &error))
        fine = memcmp(values, weights, sizeof weights) == 0 && step == 7 &&
               strcmp(text, "seed: 1\nüber: ja\n") == 0;
    free(text);
    state_close(file);
    return fine;
}

static void a_changed_byte_never_gives_other_values(void **state) {
    (void)state;
    size_t size;
    state_close(open_written(in_folder("a.h5")));
    char *bytes = read_whole(in_folder("a.h5"), &size);
    write_whole(in_folder("damaged.h5"), bytes, size);
    int damaged = open(in_folder("damaged.h5"), O_RDWR);
    for (size_t i = 0; i < size; i++) {
        char changed = (char)(bytes[i] ^ 0x20);
        assert_int_equal(pwrite(damaged, &changed, 1, (off_t)i), 1);
        if (!refused_or_unharmed(in_folder("damaged.h5"))) fail_msg("byte %zu of %zu", i, size);
        assert_int_equal(pwrite(damaged, bytes + i, 1, (off_t)i), 1);
    }
    close(damaged);
    free(bytes);
}

static void a_checkpoint_cut_off_is_refused(void **state) {
    (void)state;
    size_t size;
    state_close(open_written(in_folder("a.h5")));
    char *bytes = read_whole(in_folder("a.h5"), &size);
    for (size_t length = 0; length < size; length += 37) {
        write_whole(in_folder("cut.h5"), bytes, length);
        Error error = {0};
        StateFile *file = state_open(in_folder("cut.h5"), &error);
        if (file) fail_msg("%zu of %zu bytes were accepted", length, size);
        assert_non_null(strstr(error.message, "cut.h5"));
    }
    free(bytes);
}

/// Opens a checkpoint as HDF5, to be changed as no writer would.
static hid_t open_to_change(const char *path) {
    state_close(open_written(path));
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(file >= 0);
    return file;
}

static void expect_no_checkpoint(const char *path, const char *why) {
    Error error = {0};
    assert_null(state_open(path, &error));
    if (!strstr(error.message, path) || !strstr(error.message, why)) fail_msg("%s", error.message);
}

static void hard_links_cannot_lead_in_circles(void **state) {
    (void)state;
    enum { LINKS = 40 }; // 40^8 paths
    const char *path = in_folder("circle.h5");
    hid_t file = open_to_change(path), group = H5Gopen2(file, "weights", H5P_DEFAULT);
    for (int i = 0; i < LINKS; i++) {
        char name[16];
        snprintf(name, sizeof name, "again%d", i);
        assert_true(H5Lcreate_hard(group, ".", group, name, H5P_DEFAULT, H5P_DEFAULT) >= 0);
    }
    H5Gclose(group);
    assert_true(H5Fclose(file) >= 0);
    expect_no_checkpoint(path, "an object has several names");
}

static void links_are_counted_where_a_file_lies_about_them(void **state) {
    (void)state;
    const char *path = in_folder("lies.h5");
    hid_t file = open_to_change(path);
    // A tree of groups, each with links to all of the next level; H5Odecr_refcount makes each seem
    // to have one.
    hid_t level = H5Gopen2(file, "weights", H5P_DEFAULT);
    for (int depth = 0; depth < 6; depth++) {
        hid_t next = H5Gcreate2(level, "n", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        for (int i = 0; i < 15; i++) {
            char name[16];
            snprintf(name, sizeof name, "%d", i);
            assert_true(H5Lcreate_hard(level, "n", level, name, H5P_DEFAULT, H5P_DEFAULT) >= 0);
            assert_true(H5Odecr_refcount(next) >= 0);
        }
        H5Gclose(level);
        level = next;
    }
    H5Gclose(level);
    assert_true(H5Fclose(file) >= 0);
    expect_no_checkpoint(path, "too many groups and arrays");
}

static void links_to_elsewhere_and_other_objects_are_refused(void **state) {
    (void)state;
    const char *path = in_folder("other.h5");
    hid_t file = open_to_change(path);
    H5Lcreate_soft("/counts", file, "soft", H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Fclose(file) >= 0);
    expect_no_checkpoint(path, "links to elsewhere");
    file = open_to_change(path);
    hid_t type = H5Tcopy(H5T_NATIVE_INT);
    H5Tcommit2(file, "type", type, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Tclose(type);
    assert_true(H5Fclose(file) >= 0);
    expect_no_checkpoint(path, "more than groups and arrays");
    file = open_to_change(path);
    hid_t create = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(create, 1);
    H5Gclose(H5Gcreate2(file, "1/2/3/4/5/6/7/8/9", create, H5P_DEFAULT, H5P_DEFAULT));
    H5Pclose(create);
    assert_true(H5Fclose(file) >= 0);
    expect_no_checkpoint(path, "nested too deeply");
}

static void count_warning(const char *message, void *context) {
    assert_non_null(strstr(message, "checkpoint-30.h5"));
    ++*(int *)context;
}

static void the_newest_intact_checkpoint_is_found(void **state) {
    (void)state;
    Error error = {0};
    char *path;
    int64_t step;
    int warnings = 0;
    assert_true(
        checkpoint_newest(in_folder("absent"), count_warning, &warnings, &path, &step, &error));
    assert_null(path);
    for (int64_t s = 9; s <= 30; s += 7) {
        char *name = checkpoint_path(temporary_folder, s);
        assert_true(write_checkpoint(name, s, &error));
        free(name);
    }
    size_t size;
    char *bytes = read_whole(in_folder("checkpoint-23.h5"), &size);
    for (size_t i = 0; i + sizeof weights <= size; i++) {
        if (memcmp(bytes + i, weights, sizeof weights) == 0) bytes[i] ^= 1;
    }
    write_whole(in_folder("checkpoint-30.h5"), bytes, size);
    write_whole(in_folder("checkpoint-99.txt"), bytes, size);
    write_whole(in_folder("checkpoint-99.h5.aB3dE6"), bytes, size);
    free(bytes);
    assert_true(
        checkpoint_newest(temporary_folder, count_warning, &warnings, &path, &step, &error));
    assert_int_equal(step, 23);
    assert_int_equal(warnings, 1);
    assert_string_equal(path, in_folder("checkpoint-23.h5"));
    free(path);
    CheckpointRetention two = {.newest = 2, .best_step = -1};
    assert_true(checkpoint_retain(temporary_folder, 30, &two, &error));
    assert_int_equal(access(in_folder("checkpoint-23.h5"), F_OK), 0);
    assert_int_equal(access(in_folder("checkpoint-30.h5"), F_OK), 0);
    assert_int_not_equal(access(in_folder("checkpoint-16.h5"), F_OK), 0);
    assert_int_not_equal(access(in_folder("checkpoint-99.h5.aB3dE6"), F_OK), 0);
    assert_int_equal(access(in_folder("checkpoint-99.txt"), F_OK), 0);
}

static void retention_keeps_the_newest_every_nth_and_the_best(void **state) {
    (void)state;
    Error error = {0};
    for (int64_t step = 1; step <= 12; step++) {
        char *path = checkpoint_path(temporary_folder, step);
        fclose(fopen(path, "w"));
        free(path);
        CheckpointRetention retention = {.newest = 2,
                                         .every = 5,
                                         .best_step = step < 3   ? -1
                                                      : step < 9 ? 3
                                                                 : 9};
        if (!checkpoint_retain(temporary_folder, step, &retention, &error))
            fail_msg("%s", error.message);
    }
    for (int64_t step = 1; step <= 12; step++) {
        char *path = checkpoint_path(temporary_folder, step);
        bool expected = step == 5 || step == 9 || step == 10 || step == 11 || step == 12;
        assert_int_equal(access(path, F_OK) == 0, expected);
        free(path);
    }
    char target[64] = {0};
    assert_true(readlink(in_folder("checkpoint-best.h5"), target, sizeof target - 1) > 0);
    assert_string_equal(target, "checkpoint-9.h5");
    // Where nothing is the best any more, it goes, and the link with it.
    CheckpointRetention none = {.newest = 2, .best_step = -1};
    assert_true(checkpoint_retain(temporary_folder, 12, &none, &error));
    assert_int_not_equal(access(in_folder("checkpoint-9.h5"), F_OK), 0);
    assert_true(readlink(in_folder("checkpoint-best.h5"), target, sizeof target - 1) < 0);
}

static void later_checkpoints_are_set_aside_and_the_link_to_one_of_them_removed(void **state) {
    (void)state;
    Error error = {0};
    char *where;
    int count;
    for (int64_t step = 1; step <= 5; step++) {
        char *path = checkpoint_path(temporary_folder, step);
        fclose(fopen(path, "w"));
        free(path);
    }
    assert_int_equal(symlink("checkpoint-4.h5", in_folder("checkpoint-best.h5")), 0);
    assert_true(checkpoint_set_aside(temporary_folder, 5, &where, &count, &error));
    assert_true(!where && !count);
    assert_true(checkpoint_set_aside(temporary_folder, 4, &where, &count, &error));
    assert_int_equal(count, 1);
    assert_string_equal(where, in_folder("set-aside-1"));
    assert_int_equal(access(in_folder("set-aside-1/checkpoint-5.h5"), F_OK), 0);
    assert_int_equal(access(in_folder("checkpoint-best.h5"), F_OK), 0);
    free(where);
    assert_true(checkpoint_set_aside(temporary_folder, 2, &where, &count, &error));
    assert_int_equal(count, 2);
    assert_string_equal(where, in_folder("set-aside-2"));
    free(where);
    assert_int_not_equal(access(in_folder("checkpoint-best.h5"), F_OK), 0);
    assert_int_equal(files_in_folder(), 4); // two checkpoints, two folders
}

static void a_damaged_newest_checkpoint_does_not_cost_the_intact_ones_before_it(void **state) {
    (void)state;
    Error error = {0};
    write_text("checkpoint-10.h5", "damaged");
    for (int64_t step = 6; step <= 8; step += 2) {
        char *path = checkpoint_path(temporary_folder, step);
        assert_true(write_checkpoint(path, step, &error));
        free(path);
    }
    CheckpointRetention one = {.newest = 1, .best_step = -1};
    assert_true(checkpoint_retain(temporary_folder, 8, &one, &error));
    char *path;
    int64_t step;
    assert_true(checkpoint_newest(temporary_folder, NULL, NULL, &path, &step, &error));
    assert_non_null(path);
    assert_int_equal(step, 8);
    free(path);
    assert_int_equal(files_in_folder(), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(what_was_written_is_read_back),
        IN_FOLDER(another_models_shape_and_missing_names_are_errors),
        IN_FOLDER(a_name_is_written_once_and_long_text_is_refused),
        IN_FOLDER(an_abandoned_checkpoint_leaves_nothing),
        IN_FOLDER(a_disk_that_fills_up_at_any_byte_loses_nothing),
        IN_FOLDER(a_checkpoint_that_failed_is_not_in_the_way_of_the_next),
        IN_FOLDER(a_changed_byte_never_gives_other_values),
        IN_FOLDER(retention_keeps_the_newest_every_nth_and_the_best),
        IN_FOLDER(later_checkpoints_are_set_aside_and_the_link_to_one_of_them_removed),
        IN_FOLDER(a_damaged_newest_checkpoint_does_not_cost_the_intact_ones_before_it),
        IN_FOLDER(a_checkpoint_cut_off_is_refused),
        IN_FOLDER(the_newest_intact_checkpoint_is_found),
        IN_FOLDER(hard_links_cannot_lead_in_circles),
        IN_FOLDER(links_are_counted_where_a_file_lies_about_them),
        IN_FOLDER(links_to_elsewhere_and_other_objects_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
