// What a preparation has come to: journals whose records say what cannot be are left out of
// account.
#include "tests/unit/temporary_folder.h"
#include "train/prepare/prepare_parts.h"

static const char IDENTITY[] = "{\"samples\":\"data.json\"}";

/// A record of a block (train/prepare/prepare_block.c) without samples or problems.
typedef struct BlockRecord {
    int32_t mark, looked_at;
    int64_t number;
    int32_t num_samples, num_problems;
} BlockRecord;

static BlockRecord record_of(int64_t number) { return (BlockRecord){0x4c4c4250, 2, number, 0, 0}; }

static void put(int round, const BlockRecord *records, int count) {
    Error error = {0};
    Journal *journal = prepare_part_begin(temporary_folder, round, 0, IDENTITY, &error);
    assert_non_null(journal);
    for (int i = 0; i < count; i++) {
        const ByteBuffer record = {.data = (char *)&records[i], .size = sizeof records[i]};
        assert_true(prepare_part_put(journal, &record, NULL, 0, &error));
    }
    journal_close(journal);
}

static PrepareParts *open_parts(void) {
    Error error = {0};
    PrepareParts *parts = prepare_parts_open(temporary_folder, IDENTITY, false, true, &error);
    if (!parts) fail_msg("%s", error.message);
    return parts;
}

static void blocks_of_several_rounds_are_found_by_their_number(void **state) {
    (void)state;
    BlockRecord again = record_of(2);
    again.looked_at = 1;
    put(0, (BlockRecord[]){record_of(2), record_of(0)}, 2);
    put(1, (BlockRecord[]){record_of(300), again}, 2);
    PrepareParts *parts = open_parts();
    Error error = {0};
    size_t size;
    assert_int_equal(prepare_parts_next_round(parts), 2);
    assert_int_equal(prepare_parts_end(parts), 301);
    assert_true(prepare_parts_have(parts, 0) && prepare_parts_have(parts, 2));
    assert_true(prepare_parts_have(parts, 300) && !prepare_parts_have(parts, 1));
    char *record = prepare_parts_block(parts, 2, &size, &error);
    assert_memory_equal(record, &again, sizeof again); // as it was seen last
    free(record);
    assert_null(prepare_parts_block(parts, 1, &size, &error));
    assert_non_null(strstr(error.message, "block 1 of the samples is missing"));
    prepare_parts_close(parts);
}

static void blocks_that_cannot_be_are_left_out(void **state) {
    (void)state;
    BlockRecord records[] = {record_of(-1),        record_of(INT64_MIN), record_of(INT32_MAX),
                             record_of(INT64_MAX), record_of(1),         record_of(3),
                             record_of(4)};
    records[4].looked_at = -1;
    records[5].looked_at = 65;
    records[6].num_samples = 3; // of two
    put(0, records, sizeof records / sizeof *records);
    PrepareParts *parts = open_parts();
    assert_int_equal(prepare_parts_end(parts), 0);
    for (int64_t i = -1; i < 5; i++) assert_false(prepare_parts_have(parts, i));
    prepare_parts_close(parts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(blocks_of_several_rounds_are_found_by_their_number),
        IN_FOLDER(blocks_that_cannot_be_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
