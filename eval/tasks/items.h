/// The items of an evaluation and their pictures.
#pragma once
#include "eval/tasks/evaluation.h"

/// How many items are evaluated: those of the first evaluation->samples images.
int64_t evaluation_items(const Task *task, const void *data, const EvaluationOptions *evaluation);

/// Every item has an id of its own: answers and verdicts go by it.
bool evaluation_check_ids(const Task *task, const void *data, const EvaluationOptions *evaluation,
                          Error *error);
/// Before hours of asking: every item's picture is there.
bool evaluation_check_pictures(const Task *task, const void *data,
                               const EvaluationOptions *evaluation, Error *error);

/// Reads an item's picture below the folder of images; it must have the size that the annotations
/// say.
bool evaluation_read_image(const EvaluationOptions *evaluation, const TaskItem *item, Image *image,
                           Error *error);
