/// Evaluation during training: the tasks of eval.tasks, each on a few images, asked of the model as
/// it is at that moment.
///
/// What is asked, how it is judged and what is measured is what 'difflmm eval' does with the same
/// configuration and the same weights, to the bit; only that nothing is written, and that images
/// are few. Nothing of it changes training: no generator has a state, and no weight is touched.
///
/// A figure is called by its task's name and its own: "points.point_accuracy". A task's name is
/// that of the table (eval/tasks/tasks.h), or, of a YAML file, the file's name without its ending,
/// in which what is no letter, digit or '_' is a '_'.
#pragma once
#include "train/config/config.h"
#include "train/group/process_group.h"
#include "train/trainer/model_setup.h"

#include <jansson.h>

typedef struct TrainingTasks TrainingTasks;

/// Images of a task that are evaluated where eval.samples is -1.
enum { TRAINING_TASK_IMAGES = 16 };

/// Reads what eval.tasks names: configurations, annotations, phrase finders; no network. *tasks is
/// NULL where it names nothing. Fails, as a matter of configuration, with the entry and what is
/// wrong with it.
bool training_tasks_open(const Config *config, TrainingTasks **tasks, Error *error);
/// The second part, when the model is there: what of it is looked at, and networks that judge.
/// `setup` must outlive the tasks.
bool training_tasks_use(TrainingTasks *tasks, const ModelSetup *setup, Error *error);
/// NULL is allowed.
void training_tasks_close(TrainingTasks *tasks);

/// Whether there is a figure of that name.
bool training_tasks_have(const TrainingTasks *tasks, const char *figure);
/// The names of all figures, with commas; the caller frees it.
char *training_tasks_list(const TrainingTasks *tasks);
/// What a figure (NULL: all of them) depends on beside the weights, as JSON: figures compare where
/// it is the same. After training_tasks_use(); the caller frees it.
char *training_tasks_describe(const TrainingTasks *tasks, const char *figure);

/// Asks, judges and measures, images shared out over the ranks; every rank calls it and gets the
/// same: {"<task>": figures_describe()}, to be released by the caller, with real numbers to their
/// last bit. NULL if a rank failed, or was asked to stop (*stopping, as ranks_go_on() has it).
json_t *training_tasks_measure(const TrainingTasks *tasks, ProcessGroup *group, bool *stopping,
                               Error *error);
/// A figure by its whole name; NAN if there is nothing to measure.
double training_tasks_figure(const json_t *measured, const char *figure);
