#include "train/evaluation/evaluation_compare.h"

#include "train/evaluation/measured_evaluation.h"

#include <jansson.h>

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
    MeasuredEvaluation of_a = {0}, of_b = {0};
    SharedAnnotations *shared = shared_annotations_new();
    json_t *compared = NULL;
    bool ok = measured_evaluation_open(&of_a, a, shared, error) &&
              measured_evaluation_open(&of_b, b, shared, error) &&
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
    measured_evaluation_close(&of_a);
    measured_evaluation_close(&of_b);
    shared_annotations_free(shared);
    return compared != NULL;
}
