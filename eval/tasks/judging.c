#include "eval/tasks/judging.h"

#include "autograd/stop_request.h"
#include "eval/tasks/verdict_journals.h"

#include <stdlib.h>
#include <string.h>

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

bool judging_run(const JudgingOptions *options, Error *error) {
    json_t **done;
    int64_t count;
    JudgedPicture seen = {.image = -1};
    if (!verdict_journals_collect(options, &done, &count, error)) return false;
    OwnJournal journal = {0};
    bool ok = true;
    int64_t dealt = -1, last = -1;
    for (int64_t i = 0; ok && i < count; i++) {
        TaskItem item = {0};
        options->task->item(options->data, i, &item);
        dealt += item.image != last;
        last = item.image;
        if (done[i] || dealt % options->num_processes != options->process) continue;
        json_t *verdict = stop_requested() ? NULL : judge_item(options, i, &seen, error);
        if (!verdict && stop_requested()) stop_request_error(error);
        ok = verdict && own_journal_append(options, &journal, verdict, error);
        json_decref(verdict);
        if (ok && options->progress.report)
            options->progress.report(options->progress.context, i + 1, count);
    }
    own_journal_close(&journal);
    image_free(&seen.picture);
    verdicts_free(done, count);
    return ok;
}
