#include "eval/tasks/results.h"

#include "autograd/output/output_file.h"
#include "autograd/output/output_folder.h"
#include "autograd/text/byte_buffer.h"
#include "eval/pages/overlay.h"
#include "eval/tasks/items.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PICTURE_SIDE = 512 };

// ---- what kills left half-written

/// In a folder that is the evaluation's own.
static void remove_remains_in(const char *folder) {
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, NULL, NULL);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name, *suffix = strrchr(name, '.');
        if (suffix && suffix > name) {
            char *path = format_string("%s/%.*s", folder, (int)(suffix - name), name);
            output_remove_remains(path);
            free(path);
        }
        free(entries[i]);
    }
    free(entries);
}

static void remove_remains(const char *folder) {
    static const char *const FILES[] = {"items.jsonl", "results.json"}, *const FOLDERS[] = {
                                                                            "pictures",
                                                                            "predictions"};
    for (int i = 0; i < 2; i++) {
        char *file = format_string("%s/%s", folder, FILES[i]),
             *below = format_string("%s/%s", folder, FOLDERS[i]);
        output_remove_remains(file);
        remove_remains_in(below);
        free(file);
        free(below);
    }
}

// ---- pictures

/// What a verdict says about phrases, as the overlay draws it. Masks that cannot be read are left
/// out.
static Grounding grounding_of(const json_t *verdict, const Image *picture) {
    const json_t *phrases = json_object_get(verdict, "phrases");
    Grounding grounding = {checked_calloc(json_array_size(phrases) + 1, sizeof *grounding.items),
                           0};
    size_t i;
    json_t *phrase;
    json_array_foreach((json_t *)phrases, i, phrase) {
        const json_t *point = json_object_get(phrase, "point");
        CocoMask mask;
        if (!point) continue;
        GroundedPhrase *item = &grounding.items[grounding.count++];
        item->phrase.begin = (int)verdict_number(phrase, "begin");
        item->phrase.end = (int)verdict_number(phrase, "end");
        item->point = (Point){(int)json_integer_value(json_array_get(point, 1)),
                              (int)json_integer_value(json_array_get(point, 0))};
        if (!verdict_mask(phrase, &mask)) continue;
        if (mask.height == picture->height && mask.width == picture->width) {
            item->mask = checked_malloc((size_t)mask.height * (size_t)mask.width);
            coco_mask_to_bitmap(&mask, item->mask);
        }
        coco_mask_free(&mask);
    }
    return grounding;
}

static bool draw_picture(const ResultsOptions *options, int64_t index, int number,
                         const json_t *verdict, json_t *pictures, Error *error) {
    TaskItem item = {0};
    Image picture;
    options->task->item(options->data, index, &item);
    if (!evaluation_read_image(options->evaluation, &item, &picture, error)) return false;
    char *file = format_string("pictures/%03d.png", number),
         *path = format_string("%s/%s", options->folder, file);
    Grounding grounding = grounding_of(verdict, &picture);
    char *caption =
        overlay_caption_html(json_string_value(json_object_get(verdict, "answer")), &grounding);
    Image overlay = overlay_draw(&picture, &grounding, overlay_scale(&picture, PICTURE_SIDE));
    bool ok = image_write_png(path, &overlay, error);
    json_array_append_new(pictures, json_pack("{s:s, s:s}", "file", file, "caption_html", caption));
    image_free(&overlay);
    image_free(&picture);
    grounding_free(&grounding);
    free(caption);
    free(file);
    free(path);
    return ok;
}

/// One picture per image, of its first item.
static bool draw_pictures(const ResultsOptions *options, json_t *const *verdicts, int64_t count,
                          json_t *pictures, Error *error) {
    int64_t last = -1;
    int drawn = 0;
    for (int64_t i = 0; i < count && drawn < options->pictures; i++) {
        TaskItem item = {0};
        options->task->item(options->data, i, &item);
        if (item.image == last) continue;
        last = item.image;
        if (!draw_picture(options, i, drawn++, verdicts[i], pictures, error)) return false;
    }
    return true;
}

/// Pictures of an earlier judging that drew more of them.
static void remove_further_pictures(const ResultsOptions *options, size_t number) {
    for (bool there = true; there; number++) {
        char *path = format_string("%s/pictures/%03zu.png", options->folder, number);
        there = unlink(path) == 0;
        free(path);
    }
}

/// Pictures without results say nothing.
static void remove_pictures(const ResultsOptions *options, const json_t *pictures) {
    for (size_t i = 0; i < json_array_size(pictures); i++) {
        const char *file = json_string_value(json_object_get(json_array_get(pictures, i), "file"));
        char *path = format_string("%s/%s", options->folder, file);
        unlink(path);
        free(path);
    }
}

// ---- figures

static json_t *describe(const ResultsOptions *options, const Figures *figures) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    json_t *results = json_pack("{s:s, s:s, s:s?}", "task", options->task->name, "architecture",
                                options->architecture, "checkpoint", options->checkpoint);
    json_t *described = figures_describe(figures, options->evaluation->seed);
    json_object_update(results, described);
    json_decref(described);
    json_object_set_new(results, "asked_with", json_deep_copy(options->asked_with));
    json_t *judged_with = json_deep_copy(options->judged_with);
    json_object_del(judged_with, "answers"); // the same again
    json_object_set_new(results, "judged_with", judged_with);
    json_object_set_new(results, "seconds", json_real(options->seconds));
    json_object_set_new(results, "peak_memory_bytes",
                        json_integer((json_int_t)usage.ru_maxrss * 1024));
    return results;
}

static void print_figures(const Figures *figures, const json_t *results, FILE *out) {
    for (int i = 0; i < figures->count; i++) {
        const char *name = figures->items[i].name;
        const json_t *interval = json_object_get(json_object_get(results, "intervals"), name);
        fprintf(out, "%-28s %8.4f   (%.4f to %.4f)\n", name,
                json_number_value(json_object_get(results, name)),
                json_number_value(json_array_get(interval, 0)),
                json_number_value(json_array_get(interval, 1)));
    }
}

static char *lines_of(json_t *const *verdicts, int64_t count) {
    ByteBuffer lines = {0};
    for (int64_t i = 0; i < count; i++) {
        char *line = json_dumps(verdicts[i], JSON_COMPACT);
        byte_buffer_put_text(&lines, line);
        byte_buffer_put_byte(&lines, '\n');
        free(line);
    }
    byte_buffer_put_byte(&lines, '\0');
    return byte_buffer_take(&lines);
}

static OutputFile *prepare(const char *folder, const char *name, const char *text, Error *error) {
    char *path = format_string("%s/%s", folder, name);
    OutputFile *file = output_create(path, error);
    if (file && !output_write(file, text, strlen(text), error)) {
        output_abandon(file);
        file = NULL;
    }
    free(path);
    return file;
}

/// items.jsonl and results.json go together: both are on the disk before one of them takes the
/// place of what an earlier judging left.
static bool write_both(const ResultsOptions *options, json_t *const *verdicts, int64_t count,
                       const json_t *results, Error *error) {
    char *lines = lines_of(verdicts, count),
         *text = json_dumps(results, JSON_INDENT(1) | JSON_REAL_PRECISION(8));
    OutputFile *items = prepare(options->folder, "items.jsonl", lines, error),
               *figures = items ? prepare(options->folder, "results.json", text, error) : NULL;
    bool ok = figures && output_commit(items, error);
    if (ok)
        ok = output_commit(figures, error);
    else {
        if (!figures) output_abandon(items); // a commit that failed has freed it
        output_abandon(figures);
    }
    free(lines);
    free(text);
    return ok;
}

static bool publish(const ResultsOptions *options, json_t *const *verdicts, int64_t count,
                    Error *error) {
    if (!options->task->publish) return true;
    OutputFolder folder = {0};
    char *path = format_string("%s/predictions", options->folder);
    bool ok = output_folder_make(&folder, path, error) &&
              options->task->publish(options->data, verdicts, count, path, error);
    output_folder_close(&folder, !ok);
    free(path);
    return ok;
}

bool results_write(const ResultsOptions *options, json_t *const *verdicts, int64_t count, FILE *out,
                   Error *error) {
    Figures figures;
    if (!options->task->measure(options->data, options->evaluation, verdicts, count, &figures,
                                error))
        return false;
    json_t *results = describe(options, &figures), *pictures = json_array();
    OutputFolder folder = {0};
    char *path = format_string("%s/pictures", options->folder);
    bool draws = options->task->looks && options->pictures > 0;
    remove_remains(options->folder);
    bool ok = (!draws || (output_folder_make(&folder, path, error) &&
                          draw_pictures(options, verdicts, count, pictures, error))) &&
              publish(options, verdicts, count, error);
    json_object_set(results, "pictures", pictures);
    ok = ok && write_both(options, verdicts, count, results, error);
    if (ok) {
        remove_further_pictures(options, json_array_size(pictures));
        print_figures(&figures, results, out);
    } else {
        remove_pictures(options, pictures);
    }
    output_folder_close(&folder, !ok);
    free(path);
    json_decref(pictures);
    json_decref(results);
    figures_free(&figures);
    return ok;
}

/// It has what every verdict has.
static bool is_verdict(const json_t *value) {
    return json_is_string(json_object_get(value, "id")) &&
           json_is_string(json_object_get(value, "image_id")) &&
           json_is_string(json_object_get(value, "answer"));
}

json_t **results_read_verdicts(const char *folder, int64_t *count, Error *error) {
    char *path = format_string("%s/items.jsonl", folder);
    FILE *file = fopen(path, "r");
    json_t **verdicts = NULL;
    int64_t capacity = 0;
    *count = 0;
    bool ok = file || error_set(error, "%s: cannot be opened: %s", path, strerror(errno));
    char *line = NULL;
    size_t size = 0;
    for (ssize_t length; ok && (length = getline(&line, &size, file)) >= 0;) {
        json_error_t reason;
        json_t *verdict = json_loadb(line, (size_t)length, 0, &reason);
        ok = is_verdict(verdict) ||
             error_set(error, "%s:%lld: is no verdict", path, (long long)*count + 1);
        if (*count == capacity) {
            capacity = capacity ? 2 * capacity : 256;
            verdicts = checked_realloc(verdicts, (size_t)capacity * sizeof *verdicts);
        }
        verdicts[(*count)++] = verdict;
    }
    if (file) fclose(file);
    free(line);
    free(path);
    if (ok) return verdicts ? verdicts : checked_calloc(1, sizeof *verdicts);
    for (int64_t i = 0; i < *count; i++) json_decref(verdicts[i]);
    free(verdicts);
    return NULL;
}
