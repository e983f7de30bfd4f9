#include "train/evaluation/evaluation_compare.h"

#include "eval/tasks/judging.h"
#include "eval/tasks/results.h"
#include "train/evaluation/evaluation_setup.h"
#include "train/evaluation/evaluation_similarity.h"

#include <stdlib.h>
#include <string.h>

/// What one of the evaluations left.
typedef struct Measured {
    Config *config;
    const Task *task;
    void *data;
    Figures figures;
    bool has_figures;
} Measured;

static bool measure(Measured *measured, const char *folder, Error *error) {
    const Config *config = measured->config;
    EvaluationOptions options = evaluation_options(config);
    ModelSetup device = {0};
    BertSimilarity *bert = NULL;
    int64_t count = 0;
    json_t **verdicts = results_read_verdicts(folder, &count, error);
    measured->data = verdicts ? measured->task->open(&options, error) : NULL;
    bool ok =
        measured->data &&
        (evaluation_items(measured->task, measured->data, &options) == count ||
         error_set(error,
                   "%s: has %lld verdicts, but its annotations have %lld items; they "
                   "have changed since",
                   folder, (long long)count,
                   (long long)evaluation_items(measured->task, measured->data, &options))) &&
        (!evaluation_similarity_needs_device(config, measured->task) ||
         model_setup_open_device(config, NULL, &device, error)) &&
        evaluation_similarity_open(config, measured->task, device.device, &options, &bert, error) &&
        measured->task->measure(measured->data, &options, verdicts, count, &measured->figures,
                                error);
    measured->has_figures = ok;
    bert_similarity_close(bert);
    verdicts_free(verdicts, count);
    return ok;
}

static bool open_measured(const char *folder, Measured *measured, Error *error) {
    char *path = format_string("%s/config.yaml", folder);
    *measured = (Measured){.config = config_load(path, NULL, 0, error)};
    free(path);
    if (!measured->config)
        return error_context(error, "'%s' is not the eval.output_dir of an evaluation", folder);
    measured->task = evaluation_task(measured->config);
    return measure(measured, folder, error);
}

static void close_measured(Measured *measured) {
    if (measured->has_figures) figures_free(&measured->figures);
    if (measured->data) measured->task->close(measured->data);
    config_free(measured->config);
}

static void print_number(FILE *out, const json_t *value) {
    if (json_is_number(value))
        fprintf(out, " %10.4f", json_number_value(value));
    else
        fprintf(out, " %10s", "-");
}

static void print_table(FILE *out, const json_t *compared) {
    const char *name;
    json_t *figure;
    fprintf(out, "%-28s %10s %10s %10s   95%% interval\n", "", "a", "b", "b - a");
    json_object_foreach((json_t *)compared, name, figure) {
        const json_t *interval = json_object_get(figure, "interval");
        double low = json_number_value(json_array_get(interval, 0)),
               high = json_number_value(json_array_get(interval, 1));
        fprintf(out, "%-28s", name);
        print_number(out, json_object_get(figure, "a"));
        print_number(out, json_object_get(figure, "b"));
        print_number(out, json_object_get(figure, "difference"));
        fprintf(out, "   (%.4f to %.4f)%s\n", low, high, low > 0 || high < 0 ? " *" : "");
    }
    fprintf(out, "\n* zero lies outside of the interval of the paired difference\n");
}

bool evaluation_compare(const char *a, const char *b, bool as_json, FILE *out, Error *error) {
    Measured of_a = {0}, of_b = {0};
    json_t *compared = NULL;
    bool ok = open_measured(a, &of_a, error) && open_measured(b, &of_b, error) &&
              (of_a.task == of_b.task || error_set(error, "%s is an evaluation of %s, %s one of %s",
                                                   a, of_a.task->name, b, of_b.task->name));
    if (ok)
        compared =
            figures_compare(&of_a.figures, &of_b.figures, (uint64_t)of_a.config->eval.seed, error);
    if (compared && as_json) {
        json_dumpf(compared, out, JSON_INDENT(1) | JSON_REAL_PRECISION(8));
        fputc('\n', out);
    } else if (compared) {
        print_table(out, compared);
    }
    json_decref(compared);
    close_measured(&of_a);
    close_measured(&of_b);
    return compared != NULL;
}
