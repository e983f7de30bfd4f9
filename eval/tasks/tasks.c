// The table of tasks: a new one is added here and as a file beside.
#include "eval/tasks/tasks.h"

const Task *const TASKS[] = {&TASK_POINTS,    &TASK_GCG,     &TASK_RES, &TASK_PNG,
                             &TASK_INSTANCES, &TASK_CAPTION, NULL};
