// rooms: autograd
// Records of a journal are there whole or not at all, wherever it was cut.
#include "autograd/output/journal.h"
#include "tests/unit/temporary_folder.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const RECORDS[] = {"first", "", "the third record", "x"};
enum { NUM_RECORDS = 4 };

static void write_records(const char *path) {
    Error error;
    Journal *journal = journal_open(path, true, &error);
    assert_non_null(journal);
    for (int i = 0; i < NUM_RECORDS; i++)
        assert_true(journal_append(journal, RECORDS[i], strlen(RECORDS[i]), &error));
    assert_int_equal(journal_count(journal), NUM_RECORDS);
    journal_close(journal);
}

static void expect_records(const Journal *journal, int64_t count) {
    Error error;
    size_t size;
    assert_int_equal(journal_count(journal), count);
    for (int64_t i = 0; i < count; i++) {
        char *record = journal_read(journal, i, &size, &error);
        assert_non_null(record);
        assert_int_equal(size, strlen(RECORDS[i]));
        assert_string_equal(record, RECORDS[i]);
        free(record);
    }
}

static int64_t whole_records_within(int64_t bytes) {
    int64_t count = 0, at = 8;
    while (count < NUM_RECORDS && at + 12 + (int64_t)strlen(RECORDS[count]) <= bytes)
        at += 12 + (int64_t)strlen(RECORDS[count++]);
    return count;
}

static void a_journal_cut_anywhere_keeps_its_whole_records_and_goes_on(void **state) {
    (void)state;
    Error error;
    const char *path = in_folder("cut.journal");
    write_records(path);
    struct stat about;
    assert_int_equal(stat(path, &about), 0);
    for (int64_t bytes = about.st_size; bytes >= 0; bytes--) {
        unlink(path);
        write_records(path);
        assert_int_equal(truncate(path, bytes), 0);
        int64_t whole = whole_records_within(bytes);
        Journal *reader = journal_open(path, false, &error);
        assert_non_null(reader);
        expect_records(reader, whole);
        journal_close(reader);
        Journal *writer = journal_open(path, true, &error);
        assert_non_null(writer);
        for (int64_t i = whole; i < NUM_RECORDS; i++)
            assert_true(journal_append(writer, RECORDS[i], strlen(RECORDS[i]), &error));
        expect_records(writer, NUM_RECORDS);
        journal_close(writer);
        reader = journal_open(path, false, &error);
        expect_records(reader, NUM_RECORDS);
        journal_close(reader);
    }
}

static void a_flipped_bit_ends_the_whole_records(void **state) {
    (void)state;
    Error error;
    const char *path = in_folder("flipped.journal");
    write_records(path);
    FILE *file = fopen(path, "r+b");
    fseek(file, 8 + 12 + 5 + 12 + 12 + 3, SEEK_SET); // within the third record
    fputc('?', file);
    fclose(file);
    Journal *journal = journal_open(path, false, &error);
    expect_records(journal, 2);
    journal_close(journal);
}

static void a_record_that_does_not_fit_leaves_the_journal_as_it_was(void **state) {
    (void)state;
    Error error = {0};
    const char *path = in_folder("full.journal");
    write_records(path);
    Journal *journal = journal_open(path, true, &error);
    struct rlimit before, limit;
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = 200;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    char large[1000] = {0};
    bool appended = journal_append(journal, large, sizeof large, &error);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_false(appended);
    assert_non_null(strstr(error.message, "full.journal"));
    expect_records(journal, NUM_RECORDS);
    journal_close(journal);
    journal = journal_open(path, false, &error);
    expect_records(journal, NUM_RECORDS);
    journal_close(journal);
}

static void another_file_is_refused_and_left_alone(void **state) {
    (void)state;
    Error error = {0};
    const char *path = in_folder("other.txt");
    FILE *file = fopen(path, "w");
    fputs("something else", file);
    fclose(file);
    assert_null(journal_open(path, true, &error));
    assert_non_null(strstr(error.message, "is not a journal"));
    assert_null(journal_open(in_folder("missing.journal"), false, &error));
    assert_null(journal_open("/", false, &error));
    struct stat about;
    stat(path, &about);
    assert_int_equal(about.st_size, 14);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_journal_cut_anywhere_keeps_its_whole_records_and_goes_on),
        cmocka_unit_test(a_flipped_bit_ends_the_whole_records),
        cmocka_unit_test(a_record_that_does_not_fit_leaves_the_journal_as_it_was),
        cmocka_unit_test(another_file_is_refused_and_left_alone),
    };
    return cmocka_run_group_tests(tests, make_temporary_folder, remove_temporary_folder);
}
