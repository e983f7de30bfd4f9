#include "eval/attention/answer_store.h"

#include "autograd/output/journal.h"
#include "eval/attention/answer_file_name.h"
#include "eval/attention/answer_record.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
    bool is_journal = answer_file_is_named(entry, "journal", &round, &process);
    if (!is_journal && !answer_file_is_named(entry, "h5", &round, &process)) return true;
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
