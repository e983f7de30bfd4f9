#include "eval/annotations/pope.h"

#include "autograd/file_content.h"
#include "data/json_values.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

/// POPE's own have 430 KB.
static const size_t LARGEST_FILE = (size_t)1 << 30;

static const char MARK[] = "_pope_", ENDING[] = ".json";
static const char *const CATEGORIES[] = {"random", "popular", "adversarial"};
enum { NUM_CATEGORIES = sizeof CATEGORIES / sizeof *CATEGORIES };

/// What the reading of the files goes by.
typedef struct PopeReading {
    PopeQuestions *out;
    /// image -> index, of all files
    json_t *images;
    /// question -> index, of the file that is read
    json_t *ids;
    int capacity;
} PopeReading;

static int image_of(PopeReading *reading, const char *file_name) {
    PopeQuestions *out = reading->out;
    const json_t *known = json_object_get(reading->images, file_name);
    if (known) return (int)json_integer_value(known);
    json_remember_id(reading->images, file_name, out->num_images);
    out->images = checked_realloc(out->images, ((size_t)out->num_images + 1) * sizeof *out->images);
    out->images[out->num_images] = checked_strdup(file_name);
    return out->num_images++;
}

static bool read_label(const json_t *line, bool *is_yes, Error *error) {
    const json_t *value = json_object_get(line, "label");
    const char *label = json_string_value(value);
    *is_yes = label && !strcmp(label, "yes");
    return *is_yes || (label && !strcmp(label, "no")) ||
           error_set(error, "\"label\" is %s; expected \"yes\" or \"no\"", json_shown(value).text);
}

static bool read_question(PopeReading *reading, const json_t *line, Error *error) {
    PopeQuestions *out = reading->out;
    const json_t *id = json_object_get(line, "question_id");
    const char *text, *image;
    bool is_yes;
    if (!json_is_object(line))
        return error_set(error, "is %s; expected an object", json_shown(line).text);
    if (!(text = json_find_text(line, "text", error)) ||
        !(image = json_find_text(line, "image", error)) || !read_label(line, &is_yes, error))
        return false;
    char *name = json_id(id);
    if (!name)
        return error_set(error, "\"question_id\" is %s; expected a number or a text",
                         json_shown(id).text);
    if (!json_remember_id(reading->ids, name, out->count)) {
        error_set(error, "question id %s occurs twice", quote(name).text);
        free(name);
        return false;
    }
    if (out->count == reading->capacity) {
        reading->capacity = 2 * reading->capacity + 64;
        out->items = checked_realloc(out->items, (size_t)reading->capacity * sizeof *out->items);
    }
    out->items[out->count++] = (PopeQuestion){.id = name,
                                              .text = checked_strdup(text),
                                              .file = out->num_files - 1,
                                              .image = image_of(reading, image),
                                              .is_yes = is_yes};
    return true;
}

static bool read_line(PopeReading *reading, const char *text, size_t length, const char *path,
                      int number, Error *error) {
    json_error_t where;
    size_t blanks = 0;
    while (blanks < length && strchr(" \t\r", text[blanks])) blanks++;
    if (blanks == length) return true;
    json_t *line = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where);
    if (!line)
        return error_set(error, "%s:%d: not valid JSON, one question a line: %s", path, number,
                         where.text);
    bool ok = read_question(reading, line, error) || error_context(error, "%s:%d", path, number);
    json_decref(line);
    return ok;
}

static bool read_lines(PopeReading *reading, const char *path, const char *text, size_t length,
                       Error *error) {
    const char *end = text + length;
    for (int number = 1; text < end; number++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        if (!stop) stop = end;
        if (!read_line(reading, text, (size_t)(stop - text), path, number, error)) return false;
        text = stop + 1;
    }
    return true;
}

static bool read_list(PopeReading *reading, const char *path, const char *text, size_t length,
                      Error *error) {
    json_error_t where;
    json_t *list = json_loadb(text, length, JSON_REJECT_DUPLICATES, &where), *item;
    size_t i;
    bool ok = true;
    if (!list) return error_set(error, "%s:%d: not valid JSON: %s", path, where.line, where.text);
    json_array_foreach(list, i, item) {
        ok = read_question(reading, item, error) ||
             error_context(error, "%s: number %zu of the list", path, i + 1);
        if (!ok) break;
    }
    json_decref(list);
    return ok;
}

static void add_file(PopeQuestions *out, const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t length = strlen(name), ending = strlen(ENDING);
    if (length > ending && !strcmp(name + length - ending, ENDING)) length -= ending;
    out->files = checked_realloc(out->files, ((size_t)out->num_files + 1) * sizeof *out->files);
    PopeFile *file = &out->files[out->num_files++];
    file->name = format_string("%.*s", (int)length, name);
    const char *last = strrchr(file->name, '_');
    file->category = strstr(file->name, MARK) && last[1] ? last + 1 : NULL;
}

static bool read_file(PopeReading *reading, const char *path, Error *error) {
    char *text;
    size_t length = 0;
    int before = reading->out->count;
    add_file(reading->out, path);
    if (!file_read_text(path, LARGEST_FILE, &text, &length, error)) return false;
    reading->ids = json_object();
    bool is_list = text[strspn(text, " \t\r\n")] == '[';
    bool ok = (is_list ? read_list : read_lines)(reading, path, text, length, error) &&
              (reading->out->count > before || error_set(error, "%s: has no question", path));
    json_decref(reading->ids);
    free(text);
    return ok;
}

// ---- folders

/// "coco_pope_random.json" and "gqa_pope_seem_random.json" are of "random".
static bool is_of(const char *name, const char *category) {
    char *ending = format_string("_%s%s", category, ENDING);
    size_t length = strlen(name), behind = strlen(ending);
    bool is = length > behind && strstr(name, MARK) && !strcmp(name + length - behind, ending);
    free(ending);
    return is;
}

/// The name of the folder's file of that category, to be freed; NULL without exactly one.
static char *find_file(DIR *folder, const char *path, const char *category, Error *error) {
    char *found = NULL;
    rewinddir(folder);
    for (const struct dirent *entry; (entry = readdir(folder));) {
        if (!is_of(entry->d_name, category)) continue;
        if (found) {
            bool first = strcmp(found, entry->d_name) < 0;
            error_set(error, "%s: has both %s and %s; name the file that is meant", path,
                      first ? found : entry->d_name, first ? entry->d_name : found);
            free(found);
            return NULL;
        }
        found = checked_strdup(entry->d_name);
    }
    if (!found)
        error_set(error,
                  "%s: has no ...%s%s%s; expected POPE's three files, of random, popular and "
                  "adversarial questions, or name one file",
                  path, MARK, category, ENDING);
    return found;
}

static bool read_folder(PopeReading *reading, DIR *folder, const char *path, Error *error) {
    for (int c = 0; c < NUM_CATEGORIES; c++) {
        char *name = find_file(folder, path, CATEGORIES[c], error),
             *file = format_string("%s/%s", path, name ? name : "");
        bool ok = name && read_file(reading, file, error);
        free(file);
        free(name);
        if (!ok) return false;
    }
    return true;
}

bool pope_read(const char *path, PopeQuestions *out, Error *error) {
    *out = (PopeQuestions){0};
    PopeReading reading = {.out = out, .images = json_object()};
    DIR *folder = opendir(path);
    bool ok =
        folder ? read_folder(&reading, folder, path, error) : read_file(&reading, path, error);
    if (folder) closedir(folder);
    json_decref(reading.images);
    return ok;
}

void pope_free(PopeQuestions *questions) {
    for (int i = 0; i < questions->count; i++) {
        free(questions->items[i].id);
        free(questions->items[i].text);
    }
    for (int i = 0; i < questions->num_images; i++) free(questions->images[i]);
    for (int i = 0; i < questions->num_files; i++) free(questions->files[i].name);
    free(questions->items);
    free(questions->images);
    free(questions->files);
    *questions = (PopeQuestions){0};
}
