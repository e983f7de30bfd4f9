// Image files that the ranks of a machine look at together. Run by mpirun; a folder of its own for
// each rank, so that who has looked can be told by whose file is missing.
#include "data/llava_dataset.h"
#include "tests/unit/temporary_folder.h"
#include "train/group/shared_look.h"

#include <unistd.h>

/// A file each; ranks take 32 in turn.
enum { SAMPLES = 200, AT_ONCE = 32 };

static ProcessGroup *group;
static int rank, count;

static int looker(int64_t sample) { return (int)(sample / AT_ONCE % count); }

static const char *image_name(int64_t sample) {
    static char name[32];
    snprintf(name, sizeof name, "%lld.gif", (long long)sample);
    return name;
}

static void write_samples(int samples) {
    FILE *file = fopen(in_folder("data.json"), "w");
    assert_non_null(file);
    for (int i = 0; i < samples; i++)
        fprintf(file,
                "%c{\"id\": \"s%d\", \"image\": \"%d.gif\", \"conversations\": [{\"from\": "
                "\"human\", \"value\": \"<image>\\nWhat?\"}, {\"from\": \"gpt\", \"value\": "
                "\"A.\"}]}",
                i ? ',' : '[', i, i);
    fputs("]", file);
    assert_int_equal(fclose(file), 0);
    for (int i = 0; i < SAMPLES; i++) write_text(image_name(i), "GIF89a");
}

static Dataset *open_data(MissingImage missing, bool *stopping, Error *error) {
    const DatasetFile file = {(char *)in_folder("data.json"), temporary_folder, 1};
    SharedLook look = {group, "the data", stopping};
    const ImageSharers sharers = shared_look_sharers(&look);
    return dataset_open_shared(&file, 1, missing, &sharers, error);
}

/// Removes the copies of the rank that looks at the sample, or those of all others.
static void remove_copies(int64_t sample, bool of_looker) {
    if ((rank == looker(sample)) == of_looker)
        assert_int_equal(unlink(in_folder(image_name(sample))), 0);
}

static void each_rank_looks_at_its_share_and_counts_all(void **state) {
    (void)state;
    Error error = {0};
    bool stopping = false;
    write_samples(SAMPLES);
    for (int64_t i = 0; i < SAMPLES; i++) remove_copies(i, false);
    Dataset *dataset = open_data(MISSING_IMAGE_FAIL, &stopping, &error);
    if (!dataset) fail_msg("rank %d: %s", rank, error.message);
    const DatasetPart part = dataset_part(dataset, 0);
    int64_t images = 0;
    for (int i = 0; i < IMAGE_FORMAT_COUNT; i++) images += part.formats[i];
    assert_int_equal(images, SAMPLES);
    dataset_close(dataset);
}

static void what_one_rank_finds_missing_is_left_out_on_all(void **state) {
    (void)state;
    static const int64_t MISSING[] = {3, AT_ONCE + 1, 2 * AT_ONCE, SAMPLES - 1};
    Error error = {0};
    bool stopping = false;
    write_samples(SAMPLES);
    for (int i = 0; i < 4; i++) remove_copies(MISSING[i], true);
    Dataset *dataset = open_data(MISSING_IMAGE_SKIP, &stopping, &error);
    if (!dataset) fail_msg("rank %d: %s", rank, error.message);
    assert_int_equal(dataset_count(dataset), SAMPLES - 4);
    assert_int_equal(dataset_skipped(dataset), 4);
    assert_int_equal(dataset_position_in_file(dataset, 3), 4);
    assert_int_equal(dataset_position_in_file(dataset, AT_ONCE), AT_ONCE + 2);
    const uint64_t checksum = dataset_checksum(dataset);
    assert_true(process_group_same(group, "the data", &checksum, sizeof checksum, &error));
    assert_non_null(strstr(dataset_part(dataset, 0).skipped_because, "3.gif: cannot be read"));
    dataset_close(dataset);
}

static void what_one_rank_finds_missing_ends_all_with_its_name(void **state) {
    (void)state;
    Error error = {0};
    bool stopping = false;
    write_samples(SAMPLES);
    remove_copies(SAMPLES - 1, true);
    remove_copies(AT_ONCE + 1, true);
    assert_null(open_data(MISSING_IMAGE_FAIL, &stopping, &error));
    assert_non_null(strstr(error.message, "sample 33 (id 's33', line 1): its image "));
    assert_non_null(strstr(error.message, "33.gif: cannot be read"));
    assert_non_null(strstr(error.message, "(and 1 more samples' images)"));
}

static void ranks_with_other_samples_are_refused(void **state) {
    (void)state;
    Error error = {0};
    bool stopping = false;
    write_samples(rank == count - 1 ? SAMPLES : SAMPLES / 2);
    assert_null(open_data(MISSING_IMAGE_SKIP, &stopping, &error));
    assert_non_null(strstr(error.message, "the data of rank"));
}

static void a_rank_that_cannot_read_its_file_ends_all(void **state) {
    (void)state;
    Error error = {0};
    bool stopping = false;
    write_samples(SAMPLES);
    if (rank == count - 1) write_text("data.json", "[{\"id\": ");
    assert_null(open_data(MISSING_IMAGE_SKIP, &stopping, &error));
    assert_non_null(strstr(error.message, "data.json:1: not valid JSON"));
    assert_false(stopping);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(each_rank_looks_at_its_share_and_counts_all),
        IN_FOLDER(what_one_rank_finds_missing_is_left_out_on_all),
        IN_FOLDER(what_one_rank_finds_missing_ends_all_with_its_name),
        IN_FOLDER(ranks_with_other_samples_are_refused),
        IN_FOLDER(a_rank_that_cannot_read_its_file_ends_all),
    };
    Error error = {0};
    group = process_group_open(30, &error);
    if (!group || process_count(group) < 2) {
        fprintf(stderr, "to be run by mpirun -n 2 or more: %s\n", error.message);
        return 1;
    }
    rank = process_rank(group);
    count = process_count(group);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed) process_group_abort(group, 1);
    process_group_close(group);
    return failed;
}
