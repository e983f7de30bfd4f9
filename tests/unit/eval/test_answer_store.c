// rooms: eval models ops checkpoints data autograd
// Answers on disk: what was put is there, whoever asked it, however the run ended.
#include "eval/attention/answer_store.h"
#include "tests/unit/temporary_folder.h"

#include <sys/stat.h>
#include <unistd.h>

enum { ROWS = 2, COLUMNS = 3, LAYERS = 2, HEADS = 2, TOKENS = 3 };
enum { FLOATS = TOKENS * LAYERS * HEADS * ROWS * COLUMNS };

static json_t *asked_with(int layer) {
    return json_pack("{s:s, s:i}", "checkpoint", "abc", "eval.layers", layer);
}

/// An answer whose numbers follow from `seed`; given: with utterances.
static Answer make_answer(int seed, bool given) {
    Answer answer = {.num_tokens = TOKENS,
                     .grid = {ROWS, COLUMNS},
                     .layers = LAYERS,
                     .heads = HEADS,
                     .frame = {80.5, 81.5, -1.25, seed},
                     .image_height = 40,
                     .image_width = 80,
                     .ended = seed & 1};
    answer.text = format_string("caf\xc3\xa9 %d", seed);
    answer.ids = checked_calloc(TOKENS, sizeof(int32_t));
    answer.token_begin = checked_calloc(TOKENS, sizeof(int32_t));
    answer.token_end = checked_calloc(TOKENS, sizeof(int32_t));
    answer.maps = checked_calloc(FLOATS, sizeof(float));
    for (int t = 0; t < TOKENS; t++) {
        answer.ids[t] = 100 * seed + t;
        answer.token_begin[t] = t;
        answer.token_end[t] = t + 2;
    }
    for (int i = 0; i < FLOATS; i++) answer.maps[i] = (float)seed + (float)i / 7;
    if (given) {
        answer.num_utterances = 2;
        answer.utterances = checked_calloc(2, sizeof *answer.utterances);
        answer.utterances[0] = (TokenRange){0, 1};
        answer.utterances[1] = (TokenRange){1, TOKENS};
    }
    return answer;
}

static void expect_answer(const AnswerStore *store, const char *id, int seed, bool given) {
    Error error = {0};
    Answer read, wanted = make_answer(seed, given);
    if (!answer_store_read(store, id, &read, &error)) fail_msg("%s", error.message);
    assert_string_equal(read.text, wanted.text);
    assert_int_equal(read.num_tokens, TOKENS);
    assert_memory_equal(read.ids, wanted.ids, TOKENS * sizeof(int32_t));
    assert_memory_equal(read.token_begin, wanted.token_begin, TOKENS * sizeof(int32_t));
    assert_memory_equal(read.token_end, wanted.token_end, TOKENS * sizeof(int32_t));
    assert_memory_equal(read.maps, wanted.maps, FLOATS * sizeof(float));
    assert_memory_equal(&read.frame, &wanted.frame, sizeof read.frame);
    assert_true(read.grid.rows == ROWS && read.grid.columns == COLUMNS);
    assert_true(read.layers == LAYERS && read.heads == HEADS && read.ended == wanted.ended);
    assert_true(read.image_height == 40 && read.image_width == 80);
    assert_int_equal(read.num_utterances, wanted.num_utterances);
    assert_true((read.utterances != NULL) == given);
    if (given) assert_memory_equal(read.utterances, wanted.utterances, 2 * sizeof *read.utterances);
    answer_free(&read);
    answer_free(&wanted);
}

static void put(int round, int process, int first, int count) {
    Error error = {0};
    json_t *with = asked_with(2);
    AnswerWriter *writer = answer_writer_open(temporary_folder, round, process, with, &error);
    assert_non_null(writer);
    for (int i = first; i < first + count; i++) {
        Answer answer = make_answer(i, i == 2);
        char id[16];
        snprintf(id, sizeof id, "item%d", i);
        assert_true(answer_writer_put(writer, id, &answer, &error));
        answer_free(&answer);
    }
    answer_writer_close(writer);
    json_decref(with);
}

static void expect_store(int64_t count) {
    Error error = {0};
    json_t *with = asked_with(2);
    AnswerStore *store = answer_store_open(temporary_folder, with, &error);
    if (!store) fail_msg("%s", error.message);
    assert_int_equal(answer_store_count(store), count);
    for (int i = 0; i < count; i++) {
        char id[16];
        snprintf(id, sizeof id, "item%d", i);
        assert_true(answer_store_has(store, id));
        expect_answer(store, id, i, i == 2);
    }
    assert_false(answer_store_has(store, "item"));
    answer_store_close(store);
    json_decref(with);
}

static void pack(int process, int count) {
    Error error = {0};
    if (!answer_store_pack(temporary_folder, process, count, &error)) fail_msg("%s", error.message);
}

static void answers_are_there_in_journals_and_when_packed(void **state) {
    (void)state;
    put(0, 0, 0, 2);
    put(0, 1, 2, 2);
    expect_store(4);
    pack(0, 2);
    expect_store(4);
    pack(1, 2);
    expect_store(4);
    put(1, 0, 4, 1); // asking goes on in a round of its own
    expect_store(5);
    pack(0, 1);
    expect_store(5);
    assert_int_equal(files_in_folder(), 3);
    pack(0, 1);
    assert_int_equal(files_in_folder(), 3);
    Error error;
    AnswerStore *store = answer_store_open(temporary_folder, NULL, &error);
    assert_int_equal(answer_store_next_round(store), 2);
    assert_int_equal(
        json_integer_value(json_object_get(answer_store_asked_with(store), "eval.layers")), 2);
    answer_store_close(store);
}

static void an_empty_or_missing_folder_is_an_empty_store(void **state) {
    (void)state;
    Error error;
    AnswerStore *store = answer_store_open(in_folder("nowhere"), NULL, &error);
    assert_non_null(store);
    assert_int_equal(answer_store_count(store), 0);
    assert_int_equal(answer_store_next_round(store), 0);
    assert_null(answer_store_asked_with(store));
    Answer answer;
    assert_false(answer_store_read(store, "x", &answer, &error));
    answer_store_close(store);
    put(0, 0, 0, 0); // stopped before its first answer
    assert_int_equal(files_in_folder(), 0);
}

static void answers_that_were_asked_otherwise_are_refused_by_what_differs(void **state) {
    (void)state;
    Error error = {0};
    put(0, 0, 0, 1);
    for (int packed = 0; packed < 2; packed++) {
        json_t *other = asked_with(1);
        assert_null(answer_store_open(temporary_folder, other, &error));
        assert_non_null(strstr(error.message, "eval.layers = 2, now it is 1"));
        json_object_del(other, "eval.layers");
        json_object_set_new(other, "model.timestep", json_integer(100));
        assert_null(answer_store_open(temporary_folder, other, &error));
        assert_non_null(strstr(error.message, "model.timestep = nothing, now it is 100"));
        json_decref(other);
        pack(0, 1);
    }
}

static void a_journal_cut_by_a_kill_loses_its_last_answer_alone(void **state) {
    (void)state;
    put(0, 0, 0, 3);
    const char *path = in_folder("answers-000-000.journal");
    struct stat about;
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(truncate(path, about.st_size - 1), 0);
    expect_store(2);
    pack(0, 1);
    expect_store(2);
    put(1, 0, 2, 1);
    expect_store(3);
}

static void an_answer_in_two_files_counts_once(void **state) {
    (void)state;
    put(0, 0, 0, 3);
    put(1, 1, 1, 2);
    expect_store(3);
}

static void a_damaged_file_is_an_error_with_its_name(void **state) {
    (void)state;
    Error error = {0};
    put(0, 0, 0, 3);
    pack(0, 1);
    const char *path = in_folder("answers-000-000.h5");
    struct stat about;
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(truncate(path, about.st_size / 2), 0);
    assert_null(answer_store_open(temporary_folder, NULL, &error));
    assert_non_null(strstr(error.message, "answers-000-000.h5"));
    unlink(path);
    FILE *file = fopen(in_folder("answers-000-000.journal"), "w");
    fputs("no journal at all", file);
    fclose(file);
    assert_null(answer_store_open(temporary_folder, NULL, &error));
    assert_non_null(strstr(error.message, "answers-000-000.journal"));
}

/// A journal and an HDF5 file of one answer; false, with the reason, if it is not read again.
static bool is_read(const Answer *answer, Error *error) {
    Error unused;
    json_t *with = asked_with(2);
    AnswerWriter *writer = answer_writer_open(temporary_folder, 0, 0, with, &unused);
    assert_true(answer_writer_put(writer, "item", answer, &unused));
    answer_writer_close(writer);
    json_decref(with);
    bool ok = true;
    for (int packed = 0; packed < 2 && ok; packed++) {
        Answer read;
        AnswerStore *store = answer_store_open(temporary_folder, NULL, error);
        ok = store && answer_store_read(store, "item", &read, error);
        if (ok) answer_free(&read);
        answer_store_close(store);
        if (ok && !packed) pack(0, 1);
    }
    unlink(in_folder("answers-000-000.journal"));
    unlink(in_folder("answers-000-000.h5"));
    return ok;
}

static void maps_of_no_picture_or_of_an_impossible_frame_are_refused(void **state) {
    (void)state;
    static const TokenFrame frames[] = {{1e9, 80, 0, 0},  {80, 1e9, 0, 0},   {-80, 80, 0, 0},
                                        {80, 80, 1e9, 0}, {80, 80, 0, -1e9}, {0.2, 80, 0, 0}};
    Error error = {0};
    Answer answer = make_answer(3, false), whole = answer;
    assert_true(is_read(&answer, &error));
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        answer.frame = frames[i];
        assert_false(is_read(&answer, &error));
        assert_non_null(strstr(error.message, "an answer is damaged"));
    }
    answer = whole;
    answer.image_height = 0;
    assert_false(is_read(&answer, &error));
    answer.image_height = answer.image_width = 1 << 20;
    assert_false(is_read(&answer, &error));
    answer = whole;
    answer.grid.rows = 0;
    assert_false(is_read(&answer, &error));
    answer_free(&whole);
}

static void maps_are_averaged_over_what_is_chosen(void **state) {
    (void)state;
    Answer answer = make_answer(3, false);
    float *means = answer_mean_maps(&answer, (int[]){1}, 1, NULL, 0);
    enum { CELLS = ROWS * COLUMNS };
    for (int t = 0; t < TOKENS; t++)
        for (int c = 0; c < CELLS; c++) {
            const float *maps = answer.maps + (t * LAYERS + 1) * HEADS * CELLS + c;
            assert_float_equal(means[t * CELLS + c], (maps[0] + maps[CELLS]) / 2, 1e-6);
        }
    free(means);
    answer_free(&answer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(answers_are_there_in_journals_and_when_packed),
        IN_FOLDER(an_empty_or_missing_folder_is_an_empty_store),
        IN_FOLDER(answers_that_were_asked_otherwise_are_refused_by_what_differs),
        IN_FOLDER(a_journal_cut_by_a_kill_loses_its_last_answer_alone),
        IN_FOLDER(an_answer_in_two_files_counts_once),
        IN_FOLDER(a_damaged_file_is_an_error_with_its_name),
        IN_FOLDER(maps_of_no_picture_or_of_an_impossible_frame_are_refused),
        cmocka_unit_test(maps_are_averaged_over_what_is_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
