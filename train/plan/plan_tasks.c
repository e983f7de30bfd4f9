// Whether what would be evaluated during training (eval.tasks) is there. Neither its time nor its
// memory is counted.
#include "train/evaluation/training_tasks.h"
#include "train/plan/plan_parts.h"

void plan_tasks(Plan *plan) {
    TrainingTasks *tasks;
    Error error = {0};
    if (!training_tasks_open(plan->config, &tasks, &error))
        plan_add_problem(plan, "eval.tasks", error.message);
    else
        training_tasks_close(tasks);
}
