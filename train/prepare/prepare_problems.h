/// What is wrong with samples, and what is remarkable about them.
#pragma once
#include "autograd/error.h"
#include "autograd/text/byte_buffer.h"

#include <stdint.h>
#include <stdio.h>

typedef enum ProblemKind {
    /// training refuses these samples; the first and its file
    PROBLEM_JSON,
    PROBLEM_SAMPLE,
    PROBLEM_TOKENS,
    PROBLEM_IMAGE_MISSING,
    PROBLEM_IMAGE_NONE,
    PROBLEM_IMAGE_UNREADABLE,
    /// training takes these as they are
    NOTE_IMAGE_NAME,
    NOTE_IMAGE_WARNING,
    NOTE_ANSWER_CUT,
    NOTE_CUT,
    NUM_PROBLEM_KINDS
} ProblemKind;

/// Whether training refuses such a sample where data.missing_image is fail, and where it is skip.
bool problem_is_refused(ProblemKind kind, bool skips);
/// "image_missing", in the report.
const char *problem_name(ProblemKind kind);

typedef struct Problem {
    ProblemKind kind;
    /// of the sample in its file, and the line, from 1
    int64_t number, line;
    char *id, *message;
} Problem;

typedef struct ProblemList {
    Problem *items;
    int64_t count, capacity;
} ProblemList;

void problems_add(ProblemList *list, ProblemKind kind, int64_t number, int64_t line, const char *id,
                  const char *message);
void problems_free(ProblemList *list);
/// How many training refuses.
int64_t problems_refused(const ProblemList *list, bool skips);
/// By sample, and for a sample by kind.
void problems_sort(ProblemList *list);
/// A line of JSON per problem, whole or not at all; where there is no problem, a report of before
/// is removed.
bool problems_write(const ProblemList *list, const char *path, Error *error);
/// How many there are of each kind, and the first of it.
void problems_print(const ProblemList *list, bool skips, FILE *out);
