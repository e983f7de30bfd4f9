// Before anything is asked: items, ranks and folders.
#include "eval/tasks/items.h"
#include "train/evaluation/evaluation_setup.h"

#include <stdlib.h>
#include <string.h>

bool evaluation_check_items(const Config *config, const Task *task, const void *data,
                            const EvaluationOptions *options, Error *error) {
    if (evaluation_items(task, data, options) == 0)
        return config_refuse(config, "eval.samples", error,
                             "there is nothing to evaluate: %lld items in %s, of which none is "
                             "taken",
                             (long long)task->count(data), config->eval.annotations);
    bool sees = task->looks || !config->eval.answers;
    return evaluation_check_ids(task, data, options, error) &&
           (!sees || evaluation_check_pictures(task, data, options, error));
}

bool evaluation_is_one_job(const Config *config, const json_t *asked_with, ProcessGroup *group,
                           Error *error) {
    char *settings = config_to_yaml(config),
         *asked = json_dumps(asked_with, JSON_COMPACT | JSON_ENCODE_ANY);
    bool same =
        process_group_same(group, "the configuration", settings, strlen(settings), error) &&
        (!asked || process_group_same(group, "what is asked (annotations, checkpoint, networks)",
                                      asked, strlen(asked), error));
    free(settings);
    free(asked);
    return same;
}

bool evaluation_take_folders(const Config *config, EvaluationFolders *folders, Error *error) {
    const char *output = config->eval.output_dir;
    if (!output_folder_make(&folders->output, output, error)) return false;
    folders->lock = run_lock_take(output, error);
    if (!folders->lock || config->eval.answers) return folders->lock != NULL;
    char *answers = format_string("%s/answers", output);
    bool ok = output_folder_make(&folders->answers, answers, error);
    free(answers);
    return ok;
}

void evaluation_leave_folders(EvaluationFolders *folders, bool has_failed) {
    run_lock_release(folders->lock);
    output_folder_close(&folders->answers, has_failed);
    output_folder_close(&folders->output, has_failed);
}
