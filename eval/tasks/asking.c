#include "eval/tasks/asking.h"

#include <stdlib.h>
#include <string.h>

int64_t *asking_missing(const AskingOptions *options, const AnswerStore *store, int64_t *count) {
    int64_t all = evaluation_items(options->task, options->data, options->evaluation), last = -1,
            dealt = -1;
    int64_t *items = checked_malloc(((size_t)all + 1) * sizeof *items);
    *count = 0;
    for (int64_t i = 0; i < all; i++) {
        TaskItem item = {0};
        options->task->item(options->data, i, &item);
        if (store && answer_store_has(store, item.id)) continue;
        dealt += item.image != last;
        last = item.image;
        if (dealt % options->num_processes == options->process) items[(*count)++] = i;
    }
    return items;
}

/// Items on their way to the model and back.
typedef struct Asker {
    const AskingOptions *options;
    const int64_t *items;
    int64_t count, asked, answered;
    /// where answers go: one of these
    AnswerWriter *writer;
    Answer *answers;
    /// of the item that is being asked
    TaskItem item;
    char *prompt;
    /// of the item, and which image it is; -1: none
    Image picture;
    int64_t image;
} Asker;

/// Neighbours of the same image share its picture.
static bool read_picture(Asker *asker, Error *error) {
    if (asker->item.image == asker->image) return true;
    image_free(&asker->picture);
    asker->image = -1;
    if (!evaluation_read_image(asker->options->evaluation, &asker->item, &asker->picture, error))
        return false;
    asker->image = asker->item.image;
    return true;
}

static bool next_question(void *context, Question *question, Error *error) {
    Asker *asker = context;
    const AskingOptions *options = asker->options;
    if (asker->asked == asker->count) return true;
    asker->item = (TaskItem){0};
    options->task->item(options->data, asker->items[asker->asked], &asker->item);
    if (!read_picture(asker, error)) return false;
    const char *prompt = options->evaluation->prompt;
    free(asker->prompt);
    asker->prompt = task_prompt(prompt ? prompt : options->task->prompt, asker->item.expression);
    *question = (Question){.image = &asker->picture,
                           .text = asker->prompt,
                           .index = (uint64_t)asker->item.image,
                           .number = (uint64_t)asker->items[asker->asked],
                           .utterances = asker->item.utterances,
                           .num_utterances = asker->item.num_utterances};
    asker->asked++;
    return true;
}

static bool take_answer(void *context, int64_t number, Answer *answer, Error *error) {
    Asker *asker = context;
    const AskingOptions *options = asker->options;
    bool ok = true;
    if (asker->answers) {
        asker->answers[number] = *answer;
    } else {
        TaskItem item = {0};
        options->task->item(options->data, asker->items[number], &item);
        ok = answer_writer_put(asker->writer, item.id, answer, error);
        answer_free(answer);
    }
    asker->answered += ok;
    if (ok && options->progress.report)
        options->progress.report(options->progress.context, asker->answered, asker->count);
    return ok;
}

static bool ask(Asker *asker, int64_t at_once, Error *error) {
    QuestionFeed feed = {asker, next_question, take_answer};
    if (at_once > asker->count) at_once = asker->count;
    asker->image = -1;
    bool ok = answer_feed(&asker->options->answers, (int)at_once, &feed, error);
    image_free(&asker->picture);
    free(asker->prompt);
    return ok;
}

bool asking_answers(const AskingOptions *options, const int64_t *items, int count, Answer *answers,
                    Error *error) {
    Asker asker = {.options = options, .items = items, .count = count, .answers = answers};
    memset(answers, 0, (size_t)count * sizeof *answers);
    bool ok = !count || ask(&asker, count, error);
    for (int i = 0; !ok && i < count; i++) answer_free(&answers[i]);
    return ok;
}

bool asking_run(const AskingOptions *options, const int64_t *items, int64_t count, Error *error) {
    if (!count) return true;
    Asker asker = {.options = options, .items = items, .count = count};
    asker.writer = answer_writer_open(options->folder, options->round, options->process,
                                      options->asked_with, error);
    bool ok = asker.writer && ask(&asker, options->batch_size, error);
    answer_writer_close(asker.writer);
    return ok;
}
