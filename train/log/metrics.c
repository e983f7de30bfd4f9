#include "train/log/metrics.h"

#include "autograd/output/output_file.h"
#include "autograd/text/byte_buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct MetricsWriter {
    char *path;
    int descriptor;
    /// lines that are not in the file yet
    ByteBuffer pending;
};

struct MetricsLog {
    json_t *lines;
};

/// The object of one line, or NULL if the line is none of ours. The caller releases it.
static json_t *parse_line(const char *line, size_t length) {
    json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_integer(json_object_get(object, "step")) &&
        json_is_string(json_object_get(object, "kind")))
        return object;
    json_decref(object);
    return NULL;
}

typedef bool LineVisitor(void *context, const char *line, size_t length, const json_t *object,
                         Error *error);

static bool visit_lines(const char *path, FILE *file, LineVisitor *visit, void *context,
                        Error *error) {
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    long long number = 0;
    bool is_read = true;
    while (is_read && (length = getline(&line, &capacity, file)) > 0) {
        number++;
        if (line[length - 1] != '\n') break; // cut off
        json_t *object = parse_line(line, (size_t)length);
        is_read = object ? visit(context, line, (size_t)length, object, error)
                         : error_set(error,
                                     "%s:%lld: expected a JSON object with an integer 'step' and "
                                     "a string 'kind'",
                                     path, number);
        json_decref(object);
    }
    if (is_read && ferror(file))
        is_read = error_set(error, "%s: cannot be read: %s", path, strerror(errno));
    free(line);
    return is_read;
}

typedef struct Keeping {
    OutputFile *output;
    int64_t last_step;
} Keeping;

static bool keep_line(void *context, const char *line, size_t length, const json_t *object,
                      Error *error) {
    Keeping *keeping = context;
    if (json_integer_value(json_object_get(object, "step")) > keeping->last_step) return true;
    return output_write(keeping->output, line, length, error);
}

/// Rewrites the file with the lines up to that step.
static bool keep_through(const char *path, int64_t last_step, Error *error) {
    FILE *file = fopen(path, "r");
    if (!file && errno == ENOENT) return true;
    if (!file) return error_set(error, "%s: cannot be opened: %s", path, strerror(errno));
    Keeping keeping = {output_create(path, error), last_step};
    bool is_kept =
        keeping.output && (last_step < 0 || visit_lines(path, file, keep_line, &keeping, error));
    fclose(file);
    if (is_kept) return output_commit(keeping.output, error);
    output_abandon(keeping.output);
    return false;
}

MetricsWriter *metrics_open(const char *path, int64_t resumed_step, Error *error) {
    if (!keep_through(path, resumed_step, error)) return NULL;
    int descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor < 0) {
        error_set(error, "%s: cannot be opened for writing: %s", path, strerror(errno));
        return NULL;
    }
    MetricsWriter *writer = checked_calloc(1, sizeof *writer);
    writer->path = checked_strdup(path);
    writer->descriptor = descriptor;
    return writer;
}

/// The fewest digits that are read back to the same number.
static void print_number(FILE *out, double value) {
    if (!isfinite(value)) {
        fputs("null", out);
        return;
    }
    char text[32];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    fputs(text, out);
}

static bool is_plain_name(const char *name) {
    return *name &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./") ==
               strlen(name);
}

static char *format_line(const char *kind, int64_t step, const Metric *metrics, int count,
                         size_t *length) {
    char *line = NULL;
    FILE *out = open_memstream(&line, length);
    CHECK(out && is_plain_name(kind), "metrics_write: kind '%s'", kind);
    fprintf(out, "{\"step\": %lld, \"kind\": \"%s\"", (long long)step, kind);
    for (int i = 0; i < count; i++) {
        CHECK(is_plain_name(metrics[i].name), "metrics_write: name '%s'", metrics[i].name);
        fprintf(out, ", \"%s\": ", metrics[i].name);
        print_number(out, metrics[i].value);
    }
    fputs("}\n", out);
    CHECK(!fclose(out), "a line in memory cannot be written");
    return line;
}

static bool write_pending(MetricsWriter *writer, Error *error) {
    ByteBuffer *pending = &writer->pending;
    off_t before = lseek(writer->descriptor, 0, SEEK_END);
    ssize_t written = write(writer->descriptor, pending->data, pending->size);
    if (written == (ssize_t)pending->size) {
        byte_buffer_clear(pending);
        return true;
    }
    error_set(error, "%s: cannot be written: %s", writer->path,
              written < 0 ? strerror(errno) : "the disk is full");
    // Half a line would spoil the next. Where it cannot be taken back, what is missing of it
    // follows.
    if (written > 0 && ftruncate(writer->descriptor, before) != 0) {
        pending->size -= (size_t)written;
        memmove(pending->data, pending->data + written, pending->size);
    }
    return false;
}

bool metrics_write(MetricsWriter *writer, const char *kind, int64_t step, const Metric *metrics,
                   int count, Error *error) {
    size_t length = 0;
    char *line = format_line(kind, step, metrics, count, &length);
    byte_buffer_put(&writer->pending, line, length);
    free(line);
    return write_pending(writer, error);
}

void metrics_close(MetricsWriter *writer) {
    if (!writer) return;
    if (writer->pending.size) write_pending(writer, NULL);
    close(writer->descriptor);
    byte_buffer_free(&writer->pending);
    free(writer->path);
    free(writer);
}

static bool gather_line(void *context, const char *line, size_t length, const json_t *object,
                        Error *error) {
    (void)line;
    (void)length;
    (void)error;
    json_array_append(context, (json_t *)object);
    return true;
}

MetricsLog *metrics_load(const char *path, Error *error) {
    FILE *file = fopen(path, "r");
    if (!file) {
        error_set(error, "%s: cannot be opened: %s", path, strerror(errno));
        return NULL;
    }
    MetricsLog *log = checked_malloc(sizeof *log);
    log->lines = json_array();
    bool is_read = visit_lines(path, file, gather_line, log->lines, error);
    fclose(file);
    if (is_read) return log;
    metrics_log_free(log);
    return NULL;
}

void metrics_log_free(MetricsLog *log) {
    if (!log) return;
    json_decref(log->lines);
    free(log);
}

static bool is_of_kind(const json_t *line, const char *kind) {
    return !strcmp(json_string_value(json_object_get(line, "kind")), kind);
}

const char **metrics_names(const MetricsLog *log, const char *kind, int *count) {
    json_t *seen = json_object();
    const char **names = NULL, *name;
    size_t i;
    json_t *line, *value;
    *count = 0;
    json_array_foreach(log->lines, i, line) {
        if (!is_of_kind(line, kind)) continue;
        json_object_foreach(line, name, value) {
            if (!strcmp(name, "step") || !strcmp(name, "kind") || json_object_get(seen, name))
                continue;
            json_object_set_new(seen, name, json_true());
            names = checked_realloc(names, (size_t)(*count + 1) * sizeof *names);
            names[(*count)++] = name;
        }
    }
    json_decref(seen);
    return names;
}

MetricSeries metrics_series(const MetricsLog *log, const char *kind, const char *name) {
    unsigned long lines = json_array_size(log->lines);
    MetricSeries series = {checked_malloc((lines + 1) * sizeof(double)),
                           checked_malloc((lines + 1) * sizeof(double)), 0};
    for (unsigned long i = 0; i < lines; i++) {
        const json_t *line = json_array_get(log->lines, i), *value = json_object_get(line, name);
        if (!json_is_number(value) || !is_of_kind(line, kind)) continue;
        series.steps[series.count] = (double)json_integer_value(json_object_get(line, "step"));
        series.values[series.count++] = json_number_value(value);
    }
    return series;
}

void metric_series_free(MetricSeries *series) {
    free(series->steps);
    free(series->values);
    *series = (MetricSeries){0};
}
