#include "eval/tasks/asking.h"

#include "autograd/stop_request.h"

#include <stdlib.h>

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

/// A batch: its items, and their pictures, each once.
typedef struct AskedBatch {
    int count, num_images;
    TaskItem *items;
    Question *questions;
    char **prompts;
    Image *images;
} AskedBatch;

static void batch_free(AskedBatch *batch) {
    for (int i = 0; i < batch->count; i++) free(batch->prompts[i]);
    for (int i = 0; i < batch->num_images; i++) image_free(&batch->images[i]);
    free(batch->items);
    free(batch->questions);
    free(batch->prompts);
    free(batch->images);
}

static bool prepare(const AskingOptions *options, const int64_t *items, int count,
                    AskedBatch *batch, Error *error) {
    const char *prompt =
        options->evaluation->prompt ? options->evaluation->prompt : options->task->prompt;
    size_t n = (size_t)count;
    *batch = (AskedBatch){count,
                          0,
                          checked_calloc(n, sizeof(TaskItem)),
                          checked_calloc(n, sizeof(Question)),
                          checked_calloc(n, sizeof(char *)),
                          checked_calloc(n, sizeof(Image))};
    for (int i = 0; i < count; i++) {
        TaskItem *item = &batch->items[i];
        options->task->item(options->data, items[i], item);
        if (i == 0 || item->image != item[-1].image) {
            if (!evaluation_read_image(options->evaluation, item, &batch->images[batch->num_images],
                                       error))
                return false;
            batch->num_images++;
        }
        batch->prompts[i] = task_prompt(prompt, item->expression);
        batch->questions[i] = (Question){.image = &batch->images[batch->num_images - 1],
                                         .text = batch->prompts[i],
                                         .index = (uint64_t)item->image,
                                         .number = (uint64_t)items[i],
                                         .utterances = item->utterances,
                                         .num_utterances = item->num_utterances};
    }
    return true;
}

bool asking_answers(const AskingOptions *options, const int64_t *items, int count, Answer *answers,
                    Error *error) {
    AskedBatch batch;
    bool ok = prepare(options, items, count, &batch, error) &&
              answer_questions(&options->answers, batch.questions, count, answers, error);
    batch_free(&batch);
    return ok;
}

static bool ask(const AskingOptions *options, AnswerWriter *writer, const int64_t *items, int count,
                Error *error) {
    Answer *answers = checked_calloc((size_t)count, sizeof *answers);
    bool ok = asking_answers(options, items, count, answers, error);
    for (int i = 0; ok && i < count; i++) {
        TaskItem item = {0};
        options->task->item(options->data, items[i], &item);
        ok = answer_writer_put(writer, item.id, &answers[i], error);
    }
    for (int i = 0; i < count; i++) answer_free(&answers[i]);
    free(answers);
    return ok;
}

bool asking_run(const AskingOptions *options, const int64_t *items, int64_t count, Error *error) {
    if (!count) return true;
    AnswerWriter *writer = answer_writer_open(options->folder, options->round, options->process,
                                              options->asked_with, error);
    bool ok = writer != NULL;
    for (int64_t done = 0; ok && done < count;) {
        int n = (int)(count - done < options->batch_size ? count - done : options->batch_size);
        ok = stop_requested() ? stop_request_error(error)
                              : ask(options, writer, items + done, n, error);
        done += n;
        if (ok && options->progress.report)
            options->progress.report(options->progress.context, done, count);
    }
    answer_writer_close(writer);
    return ok;
}
