#include "train/trainer/best_checkpoint.h"

#include "autograd/crc32c.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char LOSS[] = "loss";

bool best_is_kept(const TrainingSection *training) {
    return strcmp(training->save_best, "false") != 0;
}

static bool is_by_loss(const TrainingSection *training) {
    return !best_is_kept(training) || !strcmp(training->save_best, "true");
}

const char *best_figure(const TrainingSection *training) {
    return is_by_loss(training) ? LOSS : training->save_best;
}

bool best_check(const Config *config, const TrainingTasks *tasks, Error *error) {
    const TrainingSection *training = &config->training;
    if (!best_is_kept(training)) return true;
    if (is_by_loss(training))
        return config->data.eval.count ||
               config_refuse(config, "training.save_best", error,
                             "true is the lowest loss on data.eval, which is "
                             "null; set data.eval, or name a figure of "
                             "eval.tasks");
    if (training_tasks_have(tasks, training->save_best)) return true;
    char *figures = training_tasks_list(tasks);
    config_refuse(
        config, "training.save_best", error,
        "'%s' is no figure of eval.tasks; expected true (the loss on data.eval), false%s%s",
        quote(training->save_best).text, *figures ? ", or one of " : "; eval.tasks is empty",
        figures);
    free(figures);
    return false;
}

BestSoFar best_begin(const Config *config, const TrainingTasks *tasks) {
    BestSoFar best = {.value = NAN, .step = -1};
    snprintf(best.figure, sizeof best.figure, "%s", best_figure(&config->training));
    if (is_by_loss(&config->training)) return best;
    char *basis = training_tasks_describe(tasks, best.figure);
    best.basis = (int64_t)crc32c(0, basis, strlen(basis));
    free(basis);
    return best;
}

BestSoFar best_go_on(const BestSoFar *now, const BestSoFar *then, FILE *out) {
    bool same_figure = !strcmp(now->figure, then->figure);
    if (same_figure && now->basis == then->basis) return *then;
    if (then->step >= 0 && out)
        fprintf(
            out,
            "the best so far, %s %.4g after step %lld, does not count any more: %s; the best is "
            "looked for anew\n",
            then->figure, then->value, (long long)then->step,
            same_figure ? "it was measured on something else (eval.tasks)"
                        : "training.save_best is another");
    return *now;
}

void best_update(BestSoFar *best, double value, int64_t step) {
    bool is_loss = !strcmp(best->figure, LOSS);
    if (!isfinite(value) || (is_loss ? value >= best->value : value <= best->value)) return;
    best->value = value;
    best->step = step;
}
