#include "eval/attention/answers.h"

#include "autograd/stop_request.h"
#include "eval/attention/asked.h"

#include <stdlib.h>
#include <string.h>

typedef struct Answering {
    const AnswerOptions *options;
    const QuestionFeed *feed;
    LlamaWriting *writing;
    GenerationOptions generation;
    /// NULL: nobody listens
    AnswerStream *stream;
    /// [places]
    Asked *asked;
    int places;
    /// questions that came, and whether there may be others
    int64_t count;
    bool more;
    SeenPicture seen;
} Answering;

// ---- as questions come

/// Hands an answer over; its place is free then.
static bool hand_over(Answering *answering, Asked *asked, Error *error) {
    const QuestionFeed *feed = answering->feed;
    bool ok = feed->answered(feed->context, asked->number, &asked->answer, error);
    asked->answer = (Answer){0};
    asked_free(asked);
    return ok;
}

static bool hand_over_complete(Answering *answering, Error *error) {
    bool ok = true;
    for (int i = 0; ok && i < answering->places; i++) {
        Asked *asked = &answering->asked[i];
        if (!asked->visual || !asked->generation.complete) continue;
        asked_take_generation(answering->options, asked);
        if (answering->stream)
            answer_stream_end(answering->stream, asked->sequence, asked->answer.text);
        ok = hand_over(answering, asked, error);
    }
    return ok;
}

/// Begins a question; one whose answer is given is answered then.
static bool begin(Answering *answering, const Question *question, Asked *asked, Error *error) {
    const AnswerOptions *options = answering->options;
    asked->number = answering->count++;
    if (!asked_begin(options, question, &answering->seen, asked, error)) return false;
    if (question->utterances) return asked_read_given(options, question, asked, error);
    if (answering->stream)
        asked->sequence = answer_stream_add(answering->stream, (int)asked->number);
    difflmm_writing_add(options->model, answering->writing, &asked->sample, question->number,
                        asked->visual, &asked->generation);
    return true;
}

/// Puts the next question into a free place.
static bool take_question(Answering *answering, Error *error) {
    const QuestionFeed *feed = answering->feed;
    Question question = {0};
    Asked *asked = answering->asked;
    while (asked->visual) asked++;
    bool ok = feed->next(feed->context, &question, error);
    answering->more = ok && question.image;
    if (!answering->more) return ok;
    ok = begin(answering, &question, asked, error);
    if (ok && question.utterances) return hand_over(answering, asked, error);
    if (ok) return hand_over_complete(answering, error);
    answering->more = false;
    asked_free(asked);
    return false;
}

/// Until all are answered; a question that cannot be asked is the last.
static bool answer_all(Answering *answering, Error *error) {
    bool asks = true;
    while (answering->more || llama_writing_count(answering->writing)) {
        if (stop_requested()) return asks && stop_request_error(error);
        if (answering->more && llama_writing_count(answering->writing) < answering->places) {
            asks = take_question(answering, error);
            continue;
        }
        Error other;
        llama_writing_step(answering->writing);
        if (!hand_over_complete(answering, asks ? error : &other)) return false;
    }
    return asks;
}

static void listen(Answering *answering) {
    const AnswerOptions *options = answering->options;
    answering->generation = options->generation;
    if (!options->listener) return;
    answering->stream = answer_stream_new(options->tokenizer, options->listener);
    answering->generation.taken = answer_stream_take;
    answering->generation.context = answering->stream;
}

bool answer_feed(const AnswerOptions *options, int at_once, const QuestionFeed *feed,
                 Error *error) {
    const DiffLMM *model = options->model;
    Answering answering = {.options = options, .feed = feed, .places = at_once, .more = true};
    answering.asked = checked_calloc((size_t)at_once, sizeof *answering.asked);
    listen(&answering);
    tape_pause();
    scope_begin();
    answering.writing =
        llama_writing_new(model->llama, model->lora, at_once, &answering.generation);
    bool ok = answer_all(&answering, error);
    llama_writing_free(answering.writing);
    seen_picture_free(&answering.seen);
    for (int i = 0; i < at_once; i++) asked_free(&answering.asked[i]);
    scope_end();
    tape_resume();
    answer_stream_free(answering.stream);
    free(answering.asked);
    return ok;
}

// ---- all together

/// Questions and answers that lie side by side.
typedef struct QuestionList {
    const Question *questions;
    int count, given;
    Answer *answers;
} QuestionList;

static bool next_of_list(void *context, Question *question, Error *error) {
    (void)error;
    QuestionList *list = context;
    if (list->given < list->count) *question = list->questions[list->given++];
    return true;
}

static bool answered_of_list(void *context, int64_t number, Answer *answer, Error *error) {
    (void)error;
    QuestionList *list = context;
    list->answers[number] = *answer;
    return true;
}

bool answer_questions(const AnswerOptions *options, const Question *questions, int count,
                      Answer *answers, Error *error) {
    QuestionList list = {questions, count, 0, answers};
    QuestionFeed feed = {&list, next_of_list, answered_of_list};
    memset(answers, 0, (size_t)count * sizeof *answers);
    bool ok = answer_feed(options, count, &feed, error);
    for (int i = 0; !ok && i < count; i++) answer_free(&answers[i]);
    return ok;
}
