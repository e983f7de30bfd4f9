// A journal's first record says what was judged with, each other one is a verdict.
#include "eval/tasks/verdict_journals.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *journal_path(const JudgingOptions *options, int process) {
    return format_string("%s/verdicts-%03d.journal", options->folder, process);
}

static char *judged_with_text(const JudgingOptions *options) {
    return json_dumps(options->judged_with, JSON_COMPACT | JSON_SORT_KEYS);
}

/// Whether the journal's verdicts were judged with what this run judges with.
static bool is_of_this_run(const JudgingOptions *options, const Journal *journal) {
    Error error;
    size_t size;
    char *there = journal_count(journal) ? journal_read(journal, 0, &size, &error) : NULL,
         *here = judged_with_text(options);
    bool same = there && !strcmp(there, here);
    free(there);
    free(here);
    return same;
}

/// Calls visit for every journal of verdicts in the folder.
static bool for_each_journal(const JudgingOptions *options,
                             bool (*visit)(const JudgingOptions *, const char *path, void *,
                                           Error *),
                             void *context, Error *error) {
    struct dirent **entries = NULL;
    int count = scandir(options->folder, &entries, NULL, alphasort), process;
    bool ok = count >= 0 ||
              error_set(error, "%s: cannot be listed: %s", options->folder, strerror(errno));
    for (int i = 0; i < count; i++) {
        int length = 0;
        const char *name = entries[i]->d_name;
        if (ok && sscanf(name, "verdicts-%6d.journal%n", &process, &length) == 1 && length &&
            !name[length]) {
            char *path = format_string("%s/%s", options->folder, name);
            ok = visit(options, path, context, error);
            free(path);
        }
        free(entries[i]);
    }
    free(entries);
    return ok;
}

static bool remove_if_other(const JudgingOptions *options, const char *path, void *context,
                            Error *error) {
    (void)context;
    Journal *journal = journal_open(path, false, error);
    if (!journal) return false;
    bool keep = is_of_this_run(options, journal);
    journal_close(journal);
    return keep || unlink(path) == 0 ||
           error_set(error, "%s: cannot be removed: %s", path, strerror(errno));
}

bool judging_clean(const JudgingOptions *options, Error *error) {
    return for_each_journal(options, remove_if_other, NULL, error);
}

static bool remove_any(const JudgingOptions *options, const char *path, void *context,
                       Error *error) {
    (void)options, (void)context, (void)error;
    unlink(path);
    return true;
}

void judging_remove_journals(const JudgingOptions *options) {
    Error error;
    for_each_journal(options, remove_any, NULL, &error);
}

// ---- what they hold

/// Verdicts by item; [count].
typedef struct Collected {
    json_t **verdicts;
    int64_t count;
    /// ids of the items, sorted, with their indices
    struct ItemId {
        char id[64];
        int64_t index;
    } * ids;
} Collected;

static int by_id(const void *a, const void *b) {
    return strcmp(((const struct ItemId *)a)->id, ((const struct ItemId *)b)->id);
}

static bool take_verdicts(const JudgingOptions *options, const char *path, void *context,
                          Error *error) {
    Collected *collected = context;
    Journal *journal = journal_open(path, false, error);
    if (!journal) return false;
    bool ok = true;
    if (is_of_this_run(options, journal))
        for (int64_t i = 1; ok && i < journal_count(journal); i++) {
            size_t size;
            json_error_t reason;
            char *record = journal_read(journal, i, &size, error);
            json_t *verdict = record ? json_loadb(record, size, 0, &reason) : NULL;
            free(record);
            struct ItemId key;
            const char *id = json_string_value(json_object_get(verdict, "id"));
            ok = id || error_set(error, "%s: verdict %lld is damaged; remove the file", path,
                                 (long long)i);
            snprintf(key.id, sizeof key.id, "%s", id ? id : "");
            const struct ItemId *item = bsearch(&key, collected->ids, (size_t)collected->count,
                                                sizeof *collected->ids, by_id);
            if (item && !collected->verdicts[item->index])
                collected->verdicts[item->index] = json_incref(verdict);
            json_decref(verdict);
        }
    journal_close(journal);
    return ok;
}

bool verdict_journals_collect(const JudgingOptions *options, json_t ***verdicts, int64_t *count,
                              Error *error) {
    *count = evaluation_items(options->task, options->data, options->evaluation);
    Collected collected = {checked_calloc((size_t)*count + 1, sizeof(json_t *)), *count,
                           checked_calloc((size_t)*count + 1, sizeof *collected.ids)};
    for (int64_t i = 0; i < *count; i++) {
        TaskItem item = {0};
        options->task->item(options->data, i, &item);
        memcpy(collected.ids[i].id, item.id, sizeof item.id);
        collected.ids[i].index = i;
    }
    qsort(collected.ids, (size_t)*count, sizeof *collected.ids, by_id);
    bool ok = for_each_journal(options, take_verdicts, &collected, error);
    free(collected.ids);
    if (!ok) verdicts_free(collected.verdicts, *count);
    *verdicts = ok ? collected.verdicts : NULL;
    return ok;
}

json_t **judging_collect(const JudgingOptions *options, int64_t *count, Error *error) {
    json_t **verdicts;
    if (!verdict_journals_collect(options, &verdicts, count, error)) return NULL;
    for (int64_t i = 0; i < *count; i++)
        if (!verdicts[i]) {
            TaskItem item = {0};
            options->task->item(options->data, i, &item);
            error_set(error, "%s: item %s has not been judged", options->folder, item.id);
            verdicts_free(verdicts, *count);
            return NULL;
        }
    return verdicts;
}

void verdicts_free(json_t **verdicts, int64_t count) {
    for (int64_t i = 0; verdicts && i < count; i++) json_decref(verdicts[i]);
    free(verdicts);
}

// ---- this process's own

static bool open_journal(const JudgingOptions *options, OwnJournal *own, Error *error) {
    own->path = journal_path(options, options->process);
    own->journal = journal_open(own->path, true, error);
    if (!own->journal) return false;
    char *judged_with = judged_with_text(options);
    bool ok = journal_count(own->journal) > 0 ||
              journal_append(own->journal, judged_with, strlen(judged_with), error);
    free(judged_with);
    return ok;
}

bool own_journal_append(const JudgingOptions *options, OwnJournal *own, const json_t *verdict,
                        Error *error) {
    if (!own->journal && !open_journal(options, own, error)) return false;
    char *text = json_dumps(verdict, JSON_COMPACT);
    bool ok = journal_append(own->journal, text, strlen(text), error);
    free(text);
    return ok;
}

void own_journal_close(OwnJournal *own) {
    if (own->journal && journal_count(own->journal) < 2) unlink(own->path);
    journal_close(own->journal);
    free(own->path);
}
