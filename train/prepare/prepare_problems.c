#include "train/prepare/prepare_problems.h"

#include "autograd/output/output_file.h"
#include "autograd/text/utf8.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name, *title;
    bool is_refused, is_refused_where_skipped;
} KINDS[NUM_PROBLEM_KINDS] = {
    [PROBLEM_JSON] = {"json", "are lines that are no JSON", true, true},
    [PROBLEM_SAMPLE] = {"sample", "are no samples as expected", true, true},
    [PROBLEM_TOKENS] = {"tokens", "cannot be made tokens of", true, true},
    [PROBLEM_IMAGE_MISSING] = {"image_missing", "have an image that is missing", true, false},
    [PROBLEM_IMAGE_NONE] = {"image_none", "have a file that is no image", true, false},
    [PROBLEM_IMAGE_UNREADABLE] = {"image_unreadable", "have an image that cannot be read", true,
                                  false},
    [NOTE_IMAGE_NAME] = {"image_name",
                         "have an image that is not what its name says; it is read "
                         "all the same",
                         false, false},
    [NOTE_IMAGE_WARNING] = {"image_warning", "have an image that is damaged though whole", false,
                            false},
    [NOTE_ANSWER_CUT] = {"answer_cut", "teach nothing: data.model_max_length cuts off their answer",
                         false, false},
    [NOTE_CUT] = {"cut", "are cut to data.model_max_length", false, false}};

bool problem_is_refused(ProblemKind kind, bool skips) {
    return skips ? KINDS[kind].is_refused_where_skipped : KINDS[kind].is_refused;
}

const char *problem_name(ProblemKind kind) { return KINDS[kind].name; }

void problems_add(ProblemList *list, ProblemKind kind, int64_t number, int64_t line, const char *id,
                  const char *message) {
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 16;
        list->items = checked_realloc(list->items, (size_t)list->capacity * sizeof *list->items);
    }
    list->items[list->count++] =
        (Problem){kind, number, line, checked_strdup(id ? id : ""), checked_strdup(message)};
}

void problems_free(ProblemList *list) {
    for (int64_t i = 0; i < list->count; i++) {
        free(list->items[i].id);
        free(list->items[i].message);
    }
    free(list->items);
    *list = (ProblemList){0};
}

int64_t problems_refused(const ProblemList *list, bool skips) {
    int64_t refused = 0;
    for (int64_t i = 0; i < list->count; i++)
        refused += problem_is_refused(list->items[i].kind, skips);
    return refused;
}

static int by_sample(const void *a, const void *b) {
    const Problem *x = a, *y = b;
    if (x->number != y->number) return x->number < y->number ? -1 : 1;
    return (x->kind > y->kind) - (x->kind < y->kind);
}

void problems_sort(ProblemList *list) {
    if (list->count) qsort(list->items, (size_t)list->count, sizeof *list->items, by_sample);
}

/// The text of anything: bytes that are no UTF-8 as "\\xNN".
static json_t *text_of(const char *bytes) {
    char *text = utf8_escape(bytes);
    json_t *json = json_string(text);
    free(text);
    return json;
}

bool problems_write(const ProblemList *list, const char *path, Error *error) {
    if (!list->count) {
        return unlink(path) == 0 || errno == ENOENT ||
               error_set(error, "%s: cannot be removed: %s", path, strerror(errno));
    }
    OutputFile *file = output_create(path, error);
    bool ok = file != NULL;
    for (int64_t i = 0; ok && i < list->count; i++) {
        const Problem *problem = &list->items[i];
        json_t *json =
            json_pack("{s:s, s:I, s:I, s:o, s:o}", "kind", problem_name(problem->kind), "sample",
                      (json_int_t)problem->number, "line", (json_int_t)problem->line, "id",
                      text_of(problem->id), "message", text_of(problem->message));
        char *text = json_dumps(json, JSON_COMPACT);
        ok = output_write(file, text, strlen(text), error) && output_write(file, "\n", 1, error);
        free(text);
        json_decref(json);
    }
    if (ok) return output_commit(file, error);
    output_abandon(file);
    return false;
}

void problems_print(const ProblemList *list, bool skips, FILE *out) {
    for (ProblemKind kind = 0; kind < NUM_PROBLEM_KINDS; kind++) {
        const Problem *first = NULL;
        int64_t count = 0;
        for (int64_t i = 0; i < list->count; i++) {
            if (list->items[i].kind != kind) continue;
            if (!first) first = &list->items[i];
            count++;
        }
        if (!first) continue;
        utf8_print(out,
                   "  %-7s %lld %s\n          the first: sample %lld (id '%s', line %lld): %s\n",
                   problem_is_refused(kind, skips) ? "error" : "note", (long long)count,
                   KINDS[kind].title, (long long)first->number, quote(first->id).text,
                   (long long)first->line, first->message);
    }
}
