#include "eval/tasks/judging.h"

#include "autograd/output/journal.h"
#include "autograd/stop_request.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// ---- journals: the first record says what was judged with, each other one is a verdict

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

// ---- which items have verdicts

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

static bool collect(const JudgingOptions *options, Collected *collected, Error *error) {
    int64_t count = evaluation_items(options->task, options->data, options->evaluation);
    *collected = (Collected){checked_calloc((size_t)count + 1, sizeof(json_t *)), count,
                             checked_calloc((size_t)count + 1, sizeof *collected->ids)};
    for (int64_t i = 0; i < count; i++) {
        TaskItem item = {0};
        options->task->item(options->data, i, &item);
        memcpy(collected->ids[i].id, item.id, sizeof item.id);
        collected->ids[i].index = i;
    }
    qsort(collected->ids, (size_t)count, sizeof *collected->ids, by_id);
    bool ok = for_each_journal(options, take_verdicts, collected, error);
    free(collected->ids);
    if (!ok) verdicts_free(collected->verdicts, count);
    return ok;
}

json_t **judging_collect(const JudgingOptions *options, int64_t *count, Error *error) {
    Collected collected;
    if (!collect(options, &collected, error)) return NULL;
    *count = collected.count;
    for (int64_t i = 0; i < collected.count; i++)
        if (!collected.verdicts[i]) {
            TaskItem item = {0};
            options->task->item(options->data, i, &item);
            error_set(error, "%s: item %s has not been judged", options->folder, item.id);
            verdicts_free(collected.verdicts, collected.count);
            return NULL;
        }
    return collected.verdicts;
}

void verdicts_free(json_t **verdicts, int64_t count) {
    for (int64_t i = 0; verdicts && i < count; i++) json_decref(verdicts[i]);
    free(verdicts);
}

bool judging_check_answers(const JudgingOptions *options, Error *error) {
    int64_t count = evaluation_items(options->task, options->data, options->evaluation), there = 0;
    char first[sizeof((TaskItem *)0)->id] = "";
    if (answer_store_dumps(options->store)) return true; // they say which file is missing
    for (int64_t i = 0; i < count; i++) {
        TaskItem item = {0};
        options->task->item(options->data, i, &item);
        bool has = answer_store_has(options->store, item.id);
        if (!has && there == i) memcpy(first, item.id, sizeof first);
        there += has;
    }
    return there == count ||
           error_set(error, "%s: %lld of %lld items have no answer there, the first is '%s'",
                     answer_store_folder(options->store), (long long)(count - there),
                     (long long)count, first);
}

// ---- judging

static bool see(const JudgingOptions *options, const TaskItem *item, JudgedPicture *seen,
                Error *error) {
    if (!options->task->looks || seen->image == item->image) return true;
    image_free(&seen->picture);
    seen->picture = (Image){0};
    seen->image = -1;
    if (!evaluation_read_image(options->evaluation, item, &seen->picture, error)) return false;
    seen->image = item->image;
    return !options->segmenter ||
           options->segmenter->see(options->segmenter, &seen->picture, item->image_id, error);
}

/// The answer that groundLMM's scripts keep about the item, told its picture.
static bool read_dump(const OfficialDumps *dumps, const TaskItem *item, const Image *picture,
                      Answer *answer, Error *error) {
    const char *slash = strrchr(item->file_name, '/'), *file = slash ? slash + 1 : item->file_name;
    char *name = item->published_name[0] ? checked_strdup(item->published_name)
                                         : format_string("%.*s", (int)strcspn(file, "."), file);
    DumpSubject subject = {item->image_id, item->expression};
    bool ok = official_dumps_read(dumps, name, &subject, answer, error) ||
              error_context(error, "item %s", item->id);
    free(name);
    if (ok && picture->pixels) official_dumps_place(dumps, picture->height, picture->width, answer);
    return ok;
}

static bool read_stored(const AnswerStore *store, const TaskItem *item, const Image *picture,
                        Answer *answer, Error *error) {
    const OfficialDumps *dumps = answer_store_dumps(store);
    return dumps ? read_dump(dumps, item, picture, answer, error)
                 : answer_store_read(store, item->id, answer, error);
}

static bool fits(const Answer *answer, const TaskItem *item, const Image *picture, Error *error) {
    if (!picture->pixels ||
        (answer->image_height == picture->height && answer->image_width == picture->width))
        return true;
    return error_set(error,
                     "the answer to item %s is about a picture of %d x %d pixels, but image %s has "
                     "%d x %d",
                     item->id, answer->image_width, answer->image_height, item->image_id,
                     picture->width, picture->height);
}

static bool are_within(const char *key, const int *chosen, int count, int there, Error *error) {
    for (int i = 0; i < count; i++)
        if (chosen[i] < 0 || chosen[i] >= there)
            return error_set(error,
                             "%s: %d is not there: the stored answers have %d, counted from 0", key,
                             chosen[i], there);
    return true;
}

/// The layers and heads that are looked at are there.
static bool has_maps(const Answer *answer, const GroundingOptions *grounding, const TaskItem *item,
                     Error *error) {
    if (!answer->maps)
        return error_set(error, "the answer to item %s has no attention maps", item->id);
    return are_within("eval.layers", grounding->layers, grounding->num_layers, answer->layers,
                      error) &&
           are_within("eval.heads", grounding->heads, grounding->num_heads, answer->heads, error);
}

static bool can_be_judged(const Task *task, const EvaluationOptions *evaluation,
                          const TaskItem *item, const Answer *answer, const Image *picture,
                          Error *error) {
    return (!task->looks || has_maps(answer, &evaluation->grounding, item, error)) &&
           fits(answer, item, picture, error);
}

static json_t *judge_answer(const JudgingOptions *options, const TaskItem *item, int64_t index,
                            const Answer *answer, const Image *picture, Error *error) {
    Judge judge = {options->evaluation, options->segmenter, options->phrases, picture};
    if (!can_be_judged(options->task, options->evaluation, item, answer, picture, error))
        return NULL;
    json_t *verdict = options->task->judge(options->data, index, &judge, answer, error);
    if (!verdict) return NULL;
    json_t *whole =
        json_pack("{s:s, s:s, s:s, s:s, s:b}", "id", item->id, "image_id", item->image_id,
                  "file_name", item->file_name, "answer", answer->text, "ended", answer->ended);
    json_object_update(whole, verdict);
    json_decref(verdict);
    return whole;
}

json_t *judging_verdict(const JudgingOptions *options, int64_t index, const Answer *answer,
                        JudgedPicture *seen, Error *error) {
    TaskItem item = {0};
    options->task->item(options->data, index, &item);
    if (!see(options, &item, seen, error)) return NULL;
    return judge_answer(options, &item, index, answer, &seen->picture, error);
}

bool judging_read_answer(const Task *task, const EvaluationOptions *evaluation,
                         const AnswerStore *store, const TaskItem *item, const Image *picture,
                         Answer *answer, Error *error) {
    if (!read_stored(store, item, picture, answer, error)) return false;
    bool ok = can_be_judged(task, evaluation, item, answer, picture, error);
    if (!ok) answer_free(answer);
    return ok;
}

/// By its answer in the store.
static json_t *judge_item(const JudgingOptions *options, int64_t index, JudgedPicture *seen,
                          Error *error) {
    TaskItem item = {0};
    Answer answer;
    options->task->item(options->data, index, &item);
    if (!see(options, &item, seen, error) ||
        !read_stored(options->store, &item, &seen->picture, &answer, error))
        return NULL;
    json_t *verdict = judge_answer(options, &item, index, &answer, &seen->picture, error);
    answer_free(&answer);
    return verdict;
}

/// This process's journal, made with its first verdict: one that is made and removed again would
/// come and go while other processes read the folder.
typedef struct OwnJournal {
    char *path;
    Journal *journal;
} OwnJournal;

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

static bool append(const JudgingOptions *options, OwnJournal *own, const json_t *verdict,
                   Error *error) {
    if (!own->journal && !open_journal(options, own, error)) return false;
    char *text = json_dumps(verdict, JSON_COMPACT);
    bool ok = journal_append(own->journal, text, strlen(text), error);
    free(text);
    return ok;
}

/// One without verdicts, of a full disk, is removed.
static void close_journal(OwnJournal *own) {
    if (own->journal && journal_count(own->journal) < 2) unlink(own->path);
    journal_close(own->journal);
    free(own->path);
}

bool judging_run(const JudgingOptions *options, Error *error) {
    Collected done;
    JudgedPicture seen = {.image = -1};
    if (!collect(options, &done, error)) return false;
    OwnJournal journal = {0};
    bool ok = true;
    int64_t dealt = -1, last = -1;
    for (int64_t i = 0; ok && i < done.count; i++) {
        TaskItem item = {0};
        options->task->item(options->data, i, &item);
        dealt += item.image != last;
        last = item.image;
        if (done.verdicts[i] || dealt % options->num_processes != options->process) continue;
        json_t *verdict = stop_requested() ? NULL : judge_item(options, i, &seen, error);
        if (!verdict && stop_requested()) stop_request_error(error);
        ok = verdict && append(options, &journal, verdict, error);
        json_decref(verdict);
        if (ok && options->progress.report)
            options->progress.report(options->progress.context, i + 1, done.count);
    }
    close_journal(&journal);
    image_free(&seen.picture);
    verdicts_free(done.verdicts, done.count);
    return ok;
}
