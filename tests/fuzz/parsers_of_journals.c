#include "autograd/output/journal.h"
#include "eval/attention/answer_record.h"
#include "eval/attention/answer_store.h"
#include "eval/attention/grounding.h"
#include "tests/fuzz/parsers_of_bytes.h"
#include "train/prepare/prepare_pack.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/// Pictures of more pixels are not upsampled to: what an answer claims costs an execution nothing.
enum { MOST_PIXELS = 1 << 16 };

// ---- a folder in memory with one file, kept for the next bytes

static const char ANSWERS[] = "answers-000-000.journal", ANSWERS_HDF5[] = "answers-000-000.h5",
                  PARTS[] = "blocks-000-000.journal";

static void name_of_folder(pid_t process, char path[64]) {
    snprintf(path, 64, "/dev/shm/difflmm-fuzz-%d", (int)process);
}

void journal_clean_up(pid_t process) {
    const char *const names[] = {ANSWERS, ANSWERS_HDF5, PARTS};
    char folder[64], path[128];
    name_of_folder(process, folder);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

static void put_in_folder(const ByteBuffer *bytes, const char *name, char folder[64],
                          char path[128]) {
    static int descriptor = -1;
    name_of_folder(getpid(), folder);
    snprintf(path, 128, "%s/%s", folder, name);
    if (descriptor < 0) mkdir(folder, 0700);
    put_file(bytes, path, &descriptor);
}

// ---- answers

/// As judging and pages look at it.
static void use_answer(const Answer *answer) {
    static const GroundingOptions how = {.normalise = true, .remove_corner = true};
    if (!answer->maps || !answer->num_tokens) return;
    ReadAnswer read = answer_read(answer, &how);
    int *tokens = checked_malloc((size_t)answer->num_tokens * sizeof *tokens);
    const int count = tokens_overlapping(answer, 0, (int)strlen(answer->text), tokens);
    if (count && (int64_t)answer->image_height * answer->image_width <= MOST_PIXELS &&
        answer->frame.height * answer->frame.width <= MOST_PIXELS) {
        read_answer_note_group(&read, tokens, count);
        Pointing pointing = point_of_tokens(&read, tokens, count);
        CHECK(pointing.point.row >= 0 && pointing.point.row < answer->image_height &&
                  pointing.point.column >= 0 && pointing.point.column < answer->image_width,
              "it points beside the picture");
        pointing_free(&pointing);
    }
    free(tokens);
    read_answer_free(&read);
}

/// By its record, and by its id in the store, of whose answers it may be another with that id.
static bool use_record(const AnswerStore *store, const Journal *journal, int64_t index,
                       Error *error) {
    size_t size;
    char *record = journal_read(journal, index, &size, error), *id = NULL;
    CHECK(record, "%s", error->message);
    Answer answer, again;
    bool ok = answer_from_record("record", record, size, &id, &answer, error);
    free(record);
    if (!ok) return false;
    CHECK(answer_store_has(store, id), "the store has no '%s'", id);
    use_answer(&answer);
    answer_free(&answer);
    ok = answer_store_read(store, id, &again, error);
    if (ok) answer_free(&again);
    free(id);
    return ok;
}

bool parse_answers(const ByteBuffer *bytes, const SeedFile *seed, Error *error) {
    (void)seed;
    char folder[64], path[128];
    put_in_folder(bytes, ANSWERS, folder, path);
    AnswerStore *store = answer_store_open(folder, NULL, error);
    Journal *journal = store ? journal_open(path, false, error) : NULL;
    bool ok = journal != NULL;
    for (int64_t i = 1; journal && i < journal_count(journal); i++)
        ok = use_record(store, journal, i, error) && ok;
    journal_close(journal);
    answer_store_close(store);
    return ok;
}

/// Answers that are found again by their ids, of which another may have the same.
static bool use_stored(const AnswerStore *store, const StateFile *state, int64_t number,
                       Error *error) {
    Answer answer, again;
    char *id = answer_state_id(state, number, error);
    CHECK(id, "%s", error->message);
    CHECK(answer_store_has(store, id), "the store has no '%s'", id);
    bool ok = answer_from_state(state, number, &answer, error);
    if (ok) {
        use_answer(&answer);
        answer_free(&answer);
    }
    if (answer_store_read(store, id, &again, ok ? error : &(Error){0}))
        answer_free(&again);
    else
        ok = false;
    free(id);
    return ok;
}

bool parse_answers_hdf5(const ByteBuffer *bytes, const SeedFile *seed, Error *error) {
    (void)seed;
    char folder[64], path[128];
    int64_t count = 0;
    put_in_folder(bytes, ANSWERS_HDF5, folder, path);
    AnswerStore *store = answer_store_open(folder, NULL, error);
    StateFile *state = store ? state_open(path, error) : NULL;
    bool ok = state && state_read_attribute_int(state, "count", &count, error);
    for (int64_t i = 0; state && i < count; i++) ok = use_stored(store, state, i, error) && ok;
    if (state) state_close(state);
    answer_store_close(store);
    return ok;
}

// ---- what a preparation has come to

/// What the journal was begun with, whatever it is now.
static char *identity_in(const char *path, Error *error) {
    size_t size;
    Journal *journal = journal_open(path, false, error);
    char *identity = journal && journal_count(journal) ? journal_read(journal, 0, &size, error)
                                                       : checked_strdup("none");
    journal_close(journal);
    return identity;
}

static bool use_parts(const PrepareParts *parts, Error *error) {
    PackTotals totals;
    ProblemList problems = {0};
    bool ok = prepare_parts_end(parts) > 0 || error_set(error, "no block");
    ok = ok && prepare_collect(parts, &totals, &problems, error);
    problems_free(&problems);
    for (int64_t i = 0; ok && i < prepare_parts_image_count(parts); i++) {
        PackImage image;
        char *record = NULL;
        ok = prepare_parts_image(parts, i, &image, &record, error);
        free(record);
    }
    return ok;
}

bool parse_parts(const ByteBuffer *bytes, const SeedFile *seed, Error *error) {
    (void)seed;
    char folder[64], path[128];
    put_in_folder(bytes, PARTS, folder, path);
    char *identity = identity_in(path, error);
    PrepareParts *parts =
        identity ? prepare_parts_open(folder, identity, false, false, error) : NULL;
    const bool ok = parts && use_parts(parts, error);
    prepare_parts_close(parts);
    free(identity);
    return ok;
}
