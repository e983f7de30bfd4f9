#include "eval/tasks/tasks.h"

#define POINT_TO_TASK(name, NAME) &TASK_##NAME,
const Task *const TASKS[] = {EVALUATION_TASKS(POINT_TO_TASK) NULL};
