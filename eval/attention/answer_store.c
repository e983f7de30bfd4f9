#include "eval/attention/answer_store.h"

#include "autograd/output/journal.h"
#include "autograd/output/output_file.h"
#include "eval/attention/answer_record.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/// One of a store's files: a journal or an HDF5 file.
typedef struct StoreFile {
    char *path;
    Journal *journal;
    StateFile *state;
} StoreFile;

/// Where an answer is: record `number + 1` of a journal (the first says what was asked with), or
/// answer `number` of an HDF5 file.
typedef struct Place {
    char *id;
    int file;
    int64_t number;
} Place;

struct AnswerStore {
    char *folder;
    json_t *asked_with;
    StoreFile *files;
    int num_files;
    /// sorted by id, each once
    Place *places;
    int64_t count, capacity;
    int next_round;
    /// the answers, if they are groundLMM's; then there are no files
    OfficialDumps *dumps;
};

// ---- file names

static char *file_name(const char *folder, int round, int process, const char *ending) {
    return format_string("%s/answers-%03d-%03d.%s", folder, round, process, ending);
}

/// Whether a folder's entry is "answers-RRR-PPP.<ending>".
static bool is_named(const char *entry, const char *ending, int *round, int *process) {
    int length = 0;
    return sscanf(entry, "answers-%6d-%6d.%n", round, process, &length) == 2 && length &&
           *round >= 0 && *process >= 0 && !strcmp(entry + length, ending);
}

// ---- what was asked with

bool answers_go_together(const char *path, const json_t *there, const json_t *here, Error *error) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)here, key, value) {
        const json_t *other = json_object_get(there, key);
        if (other && json_equal(other, value)) continue;
        char *now = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT),
             *then = other ? json_dumps(other, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
        error_set(error,
                  "%s: was asked with %s = %s, now it is %s; the answers do not go together: name "
                  "another folder, or remove this one",
                  path, key, then ? then : "nothing", now);
        free(now);
        free(then);
        return false;
    }
    return true;
}

/// Takes what a file says of it over, or compares.
static bool agree(AnswerStore *store, const char *path, const char *text, Error *error) {
    json_error_t reason;
    json_t *there = json_loads(text, JSON_DECODE_ANY, &reason);
    bool ok = json_is_object(there);
    if (!ok) {
        error_set(error, "%s: does not say what its answers were asked with", path);
    } else if (!store->asked_with) {
        store->asked_with = json_incref(there);
    } else {
        ok = answers_go_together(path, there, store->asked_with, error);
    }
    json_decref(there);
    return ok;
}

// ---- finding

static void add_place(AnswerStore *store, char *id, int file, int64_t number) {
    if (store->count == store->capacity) {
        store->capacity = store->capacity ? 2 * store->capacity : 256;
        store->places =
            checked_realloc(store->places, (size_t)store->capacity * sizeof *store->places);
    }
    store->places[store->count++] = (Place){id, file, number};
}

static bool index_journal(AnswerStore *store, int file, Error *error) {
    const StoreFile *of = &store->files[file];
    for (int64_t i = 0; i < journal_count(of->journal); i++) {
        size_t size;
        char *record = journal_read(of->journal, i, &size, error);
        if (!record) return false;
        char *id = i ? answer_record_id(of->path, record, size, error) : NULL;
        bool ok = i ? id != NULL : agree(store, of->path, record, error);
        free(record);
        if (!ok) return false;
        if (id) add_place(store, id, file, i - 1);
    }
    return true;
}

static bool index_state(AnswerStore *store, int file, Error *error) {
    const StoreFile *of = &store->files[file];
    char *asked_with;
    int64_t count;
    if (!state_read_attribute_string(of->state, "asked_with", &asked_with, error)) return false;
    bool ok = agree(store, of->path, asked_with, error) &&
              state_read_attribute_int(of->state, "count", &count, error);
    free(asked_with);
    for (int64_t i = 0; ok && i < count; i++) {
        char *id = answer_state_id(of->state, i, error);
        if (id) add_place(store, id, file, i);
        ok = id != NULL;
    }
    return ok;
}

static int by_id(const void *a, const void *b) {
    const Place *x = a, *y = b;
    int order = strcmp(x->id, y->id);
    if (order) return order;
    return x->file != y->file ? x->file - y->file
                              : (x->number > y->number) - (x->number < y->number);
}

/// An answer that two files hold (a kill between packing a journal and removing it) counts once.
static void sort_places(AnswerStore *store) {
    if (!store->count) return;
    qsort(store->places, (size_t)store->count, sizeof *store->places, by_id);
    int64_t kept = 1;
    for (int64_t i = 1; i < store->count; i++) {
        if (strcmp(store->places[kept - 1].id, store->places[i].id) != 0)
            store->places[kept++] = store->places[i];
        else
            free(store->places[i].id);
    }
    store->count = kept;
}

static bool open_file(AnswerStore *store, const char *folder, const char *entry, Error *error) {
    int round, process;
    bool is_journal = is_named(entry, "journal", &round, &process);
    if (!is_journal && !is_named(entry, "h5", &round, &process)) return true;
    if (round >= store->next_round) store->next_round = round + 1;
    store->files =
        checked_realloc(store->files, (size_t)(store->num_files + 1) * sizeof *store->files);
    StoreFile *file = &store->files[store->num_files++];
    *file = (StoreFile){.path = format_string("%s/%s", folder, entry)};
    if (is_journal) {
        file->journal = journal_open(file->path, false, error);
        return file->journal && index_journal(store, store->num_files - 1, error);
    }
    file->state = state_open(file->path, error);
    return file->state && index_state(store, store->num_files - 1, error);
}

AnswerStore *answer_store_open(const char *folder, const json_t *asked_with, Error *error) {
    AnswerStore *store = checked_calloc(1, sizeof *store);
    store->folder = checked_strdup(folder);
    if (asked_with) store->asked_with = json_deep_copy(asked_with);
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, NULL, alphasort);
    bool ok = count >= 0 || errno == ENOENT ||
              error_set(error, "%s: cannot be listed: %s", folder, strerror(errno));
    for (int i = 0; i < count; i++) {
        ok = ok && open_file(store, folder, entries[i]->d_name, error);
        free(entries[i]);
    }
    free(entries);
    if (ok) {
        sort_places(store);
        return store;
    }
    answer_store_close(store);
    return NULL;
}

AnswerStore *answer_store_open_dumps(const char *folder, const DumpOptions *options, Error *error) {
    OfficialDumps *dumps = official_dumps_open(folder, options, error);
    if (!dumps) return NULL;
    AnswerStore *store = checked_calloc(1, sizeof *store);
    store->dumps = dumps;
    store->folder = checked_strdup(folder);
    return store;
}

void answer_store_close(AnswerStore *store) {
    if (!store) return;
    official_dumps_close(store->dumps);
    for (int i = 0; i < store->num_files; i++) {
        journal_close(store->files[i].journal);
        if (store->files[i].state) state_close(store->files[i].state);
        free(store->files[i].path);
    }
    for (int64_t i = 0; i < store->count; i++) free(store->places[i].id);
    free(store->places);
    free(store->files);
    free(store->folder);
    json_decref(store->asked_with);
    free(store);
}

const json_t *answer_store_asked_with(const AnswerStore *store) {
    if (store->dumps) return official_dumps_asked_with(store->dumps);
    return store->num_files ? store->asked_with : NULL;
}

const char *answer_store_folder(const AnswerStore *store) { return store->folder; }

int64_t answer_store_count(const AnswerStore *store) {
    return store->dumps ? official_dumps_count(store->dumps) : store->count;
}

const OfficialDumps *answer_store_dumps(const AnswerStore *store) { return store->dumps; }

int answer_store_next_round(const AnswerStore *store) { return store->next_round; }

static int compare_id(const void *id, const void *place) {
    return strcmp(id, ((const Place *)place)->id);
}

static const Place *place_of(const AnswerStore *store, const char *id) {
    if (!store->count) return NULL;
    return bsearch(id, store->places, (size_t)store->count, sizeof *store->places, compare_id);
}

bool answer_store_has(const AnswerStore *store, const char *id) {
    return store->dumps ? official_dumps_have(store->dumps, id) : place_of(store, id) != NULL;
}

bool answer_store_read(const AnswerStore *store, const char *id, Answer *answer, Error *error) {
    if (store->dumps) return official_dumps_read(store->dumps, id, NULL, answer, error);
    const Place *place = place_of(store, id);
    if (!place)
        return error_set(error, "no answer to item '%s' is stored in %s", id, store->folder);
    const StoreFile *file = &store->files[place->file];
    if (file->state) return answer_from_state(file->state, place->number, answer, error);
    size_t size;
    char *record = journal_read(file->journal, place->number + 1, &size, error);
    bool ok = record && answer_from_record(file->path, record, size, NULL, answer, error);
    free(record);
    return ok;
}

// ---- writing

struct AnswerWriter {
    char *path;
    Journal *journal;
};

AnswerWriter *answer_writer_open(const char *folder, int round, int process,
                                 const json_t *asked_with, Error *error) {
    char *path = file_name(folder, round, process, "journal");
    Journal *journal = journal_open(path, true, error);
    if (!journal) {
        free(path);
        return NULL;
    }
    AnswerWriter *writer = checked_calloc(1, sizeof *writer);
    *writer = (AnswerWriter){path, journal};
    char *text = json_dumps(asked_with, JSON_COMPACT | JSON_SORT_KEYS);
    bool ok = journal_count(journal) > 0 || journal_append(journal, text, strlen(text), error);
    free(text);
    if (ok) return writer;
    answer_writer_close(writer);
    return NULL;
}

bool answer_writer_put(AnswerWriter *writer, const char *id, const Answer *answer, Error *error) {
    size_t size;
    char *record = answer_to_record(id, answer, &size);
    bool ok = journal_append(writer->journal, record, size, error);
    free(record);
    return ok;
}

void answer_writer_close(AnswerWriter *writer) {
    if (!writer) return;
    if (journal_count(writer->journal) < 2) unlink(writer->path); // it says nothing
    journal_close(writer->journal);
    free(writer->path);
    free(writer);
}

static bool pack_records(const Journal *journal, const char *path, StateWriter *writer,
                         Error *error) {
    size_t size;
    char *asked_with = journal_read(journal, 0, &size, error);
    int64_t count = journal_count(journal) - 1;
    bool ok = asked_with && state_write_attribute_string(writer, "asked_with", asked_with, error) &&
              state_write_attribute_int(writer, "count", count, error);
    free(asked_with);
    for (int64_t i = 0; ok && i < count; i++) {
        char *record = journal_read(journal, i + 1, &size, error), *id = NULL;
        Answer answer;
        ok = record && answer_from_record(path, record, size, &id, &answer, error);
        free(record);
        if (!ok) break;
        ok = answer_to_state(writer, i, id, &answer, error);
        answer_free(&answer);
        free(id);
    }
    return ok;
}

static bool pack_journal(const char *folder, int round, int process, Error *error) {
    char *from = file_name(folder, round, process, "journal"),
         *to = file_name(folder, round, process, "h5");
    Journal *journal = journal_open(from, false, error);
    bool ok = journal != NULL;
    if (ok && journal_count(journal) > 1) { // one without answers says nothing
        output_remove_remains(to);          // of a kill while it was packed before
        StateWriter *writer = state_create(to, error);
        ok = writer && pack_records(journal, from, writer, error);
        if (ok)
            ok = state_commit(writer, error);
        else
            state_abandon(writer);
    }
    journal_close(journal);
    if (ok && unlink(from) != 0)
        ok = error_set(error, "%s: cannot be removed: %s", from, strerror(errno));
    free(from);
    free(to);
    return ok;
}

bool answer_store_pack(const char *folder, int process, int count, Error *error) {
    struct dirent **entries = NULL;
    int round, of, num_entries = scandir(folder, &entries, NULL, alphasort);
    bool ok =
        num_entries >= 0 || error_set(error, "%s: cannot be listed: %s", folder, strerror(errno));
    for (int i = 0; i < num_entries; i++) {
        if (ok && is_named(entries[i]->d_name, "journal", &round, &of) && of % count == process)
            ok = pack_journal(folder, round, of, error);
        free(entries[i]);
    }
    free(entries);
    return ok;
}

int64_t answer_store_bytes(int num_tokens, int layers, int heads, int cells) {
    // HDF5's structures; of a token its numbers, its text and, of a given text, an utterance
    static const int64_t FIXED = 2560, TOKEN = 3 * 8 + 8 + 2 * 8;
    return FIXED + (int64_t)num_tokens * ((int64_t)layers * heads * cells * 4 + TOKEN);
}
