/// The tasks, each in a file of its own.
#pragma once
#include "eval/tasks/evaluation.h"

#define DECLARE_TASK(name, NAME) extern const Task TASK_##NAME;
EVALUATION_TASKS(DECLARE_TASK)
#undef DECLARE_TASK
