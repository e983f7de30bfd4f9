#include "eval/metrics/meteor/resources.h"
#include "autograd/file_content.h"

#include <stdlib.h>
#include <string.h>

/// Far above any list of words.
static const size_t LARGEST_FILE = (size_t)256 << 20;

/// A file on its way, line by line.
typedef struct Lines {
    char *path, *text, *next;
    size_t length;
    int line;
} Lines;

static bool lines_open(Lines *lines, const char *folder, const char *name, Error *error) {
    *lines = (Lines){.path = format_string("%s/%s", folder, name)};
    if (!file_read_text(lines->path, LARGEST_FILE, &lines->text, &lines->length, error))
        return false;
    if (memchr(lines->text, '\0', lines->length))
        return error_set(error, "%s: expected a list of words, and not bytes that are zero",
                         lines->path);
    lines->next = lines->text;
    return true;
}

static void lines_close(Lines *lines) {
    free(lines->path);
    free(lines->text);
}

/// The next line, ended by a zero; NULL behind the last.
static char *lines_next(Lines *lines) {
    char *line = lines->next, *end = lines->text + lines->length;
    if (line >= end) return NULL;
    char *line_end = memchr(line, '\n', (size_t)(end - line));
    if (!line_end) line_end = end;
    lines->next = line_end + 1;
    *line_end = '\0';
    if (line_end > line && line_end[-1] == '\r') line_end[-1] = '\0';
    lines->line++;
    return line;
}

/// A second line that belongs to the one before.
static char *lines_next_of_pair(Lines *lines, const char *what, Error *error) {
    char *line = lines_next(lines);
    if (!line)
        error_set(error, "%s ends behind line %d; expected %s on a line of their own", lines->path,
                  lines->line, what);
    return line;
}

/// The next word of a line, ended by a zero; NULL behind the last.
static char *next_word(char **line) {
    char *word = *line + strspn(*line, " \t\f");
    if (!*word) return NULL;
    char *end = word + strcspn(word, " \t\f");
    *line = *end ? end + 1 : end;
    *end = '\0';
    return word;
}

static bool read_function_words(MeteorResources *resources, Lines *lines, Error *error) {
    for (char *line; (line = lines_next(lines));)
        string_table_add(resources->function_words, line, strlen(line));
    return string_table_size(resources->function_words) > 0 ||
           error_set(error, "%s is empty; expected a word a line", lines->path);
}

static bool read_prefixes(MeteorResources *resources, Lines *lines, Error *error) {
    (void)error;
    int capacity = 0;
    for (char *line; (line = lines_next(lines));) {
        char *word = next_word(&line);
        if (!word || *word == '#') continue;
        const int32_t number = string_table_add(resources->prefixes, word, strlen(word));
        if (number >= capacity) {
            capacity = 2 * number + 64;
            resources->is_numeric_prefix =
                checked_realloc(resources->is_numeric_prefix, (size_t)capacity * sizeof(bool));
        }
        const char *mark = next_word(&line);
        resources->is_numeric_prefix[number] = mark && strcmp(mark, "#NUMERIC_ONLY#") == 0;
    }
    return true;
}

/// Pairs of lines: a word, and the numbers of its sets.
static bool read_synsets(MeteorResources *resources, Lines *lines, Error *error) {
    int word_capacity = 0, set_capacity = 0, sets = 0;
    for (char *line; (line = lines_next(lines));) {
        const int32_t word = string_table_add(resources->words, line, strlen(line));
        if (word >= word_capacity) {
            word_capacity = 2 * word + 1024;
            resources->ranges = checked_realloc(resources->ranges,
                                                (size_t)word_capacity * sizeof *resources->ranges);
        }
        const int32_t begin = sets;
        line = lines_next_of_pair(lines, "the numbers of a word's synonym sets", error);
        if (!line) return false;
        for (char *number; (number = next_word(&line));) {
            char *end;
            const long value = strtol(number, &end, 10);
            if (*end || value < 0 || value > INT32_MAX)
                return error_set(error, "%s:%d: '%s' is no number of a synonym set", lines->path,
                                 lines->line, quote(number).text);
            if (sets == set_capacity) {
                set_capacity = 2 * set_capacity + 1024;
                resources->synsets = checked_realloc(
                    resources->synsets, (size_t)set_capacity * sizeof *resources->synsets);
            }
            resources->synsets[sets++] = (int32_t)value;
        }
        resources->ranges[word] = (SynsetRange){begin, sets - begin};
    }
    return true;
}

/// The number of an irregular form, which has no bases yet if it is new.
static int32_t add_irregular(MeteorResources *resources, const char *form, int *capacity) {
    const int before = string_table_size(resources->irregular);
    const int32_t number = string_table_add(resources->irregular, form, strlen(form));
    if (number < before) return number;
    if (number >= *capacity) {
        *capacity = 2 * number + 1024;
        const size_t bytes = (size_t)*capacity * sizeof(int32_t);
        resources->first_base = checked_realloc(resources->first_base, bytes);
        resources->last_base = checked_realloc(resources->last_base, bytes);
    }
    resources->first_base[number] = resources->last_base[number] = -1;
    return number;
}

/// Pairs of lines: a base form, and its irregular forms.
static bool read_exceptions(MeteorResources *resources, Lines *lines, Error *error) {
    int form_capacity = 0, base_capacity = 0, bases = 0;
    for (char *line; (line = lines_next(lines));) {
        const int32_t word = string_table_find(resources->words, line, strlen(line));
        line = lines_next_of_pair(lines, "a word's irregular forms", error);
        if (!line) return false;
        for (char *form; (form = next_word(&line));) {
            const int32_t number = add_irregular(resources, form, &form_capacity);
            if (bases == base_capacity) {
                base_capacity = 2 * base_capacity + 1024;
                resources->bases = checked_realloc(resources->bases, (size_t)base_capacity *
                                                                         sizeof *resources->bases);
            }
            resources->bases[bases] = (IrregularBase){word, -1};
            const int32_t last = resources->last_base[number];
            if (last < 0)
                resources->first_base[number] = bases;
            else
                resources->bases[last].next = bases;
            resources->last_base[number] = bases++;
        }
    }
    return true;
}

MeteorResources *meteor_resources_open(const char *folder, Error *error) {
    // Exceptions name words that have synsets, so they come behind.
    static const struct {
        const char *name;
        bool (*read)(MeteorResources *resources, Lines *lines, Error *error);
    } files[] = {{"function/english.words", read_function_words},
                 {"nonbreaking/english.prefixes", read_prefixes},
                 {"synonym/english.synsets", read_synsets},
                 {"synonym/english.exceptions", read_exceptions}};
    MeteorResources *resources = checked_calloc(1, sizeof *resources);
    resources->function_words = string_table_new();
    resources->prefixes = string_table_new();
    resources->words = string_table_new();
    resources->irregular = string_table_new();
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        Lines lines;
        const bool is_read = lines_open(&lines, folder, files[i].name, error) &&
                             files[i].read(resources, &lines, error);
        lines_close(&lines);
        if (is_read) continue;
        meteor_resources_close(resources);
        return NULL;
    }
    return resources;
}

void meteor_resources_close(MeteorResources *resources) {
    if (!resources) return;
    string_table_free(resources->function_words);
    string_table_free(resources->prefixes);
    free(resources->is_numeric_prefix);
    string_table_free(resources->words);
    free(resources->ranges);
    free(resources->synsets);
    string_table_free(resources->irregular);
    free(resources->first_base);
    free(resources->last_base);
    free(resources->bases);
    free(resources);
}

// ---- synonyms

typedef struct SetList {
    int32_t *sets;
    int count;
} SetList;

/// Adds the sets of the word of a number; -1 has none.
static void add_sets(const MeteorResources *resources, int32_t word, SetList *list) {
    if (word < 0 || resources->ranges[word].count == 0) return;
    const SynsetRange range = resources->ranges[word];
    list->sets =
        checked_realloc(list->sets, (size_t)(list->count + range.count) * sizeof *list->sets);
    memcpy(list->sets + list->count, resources->synsets + range.begin,
           (size_t)range.count * sizeof *list->sets);
    list->count += range.count;
}

/// The base form of a regular one, as WordNet's morphology finds it: the first ending that can be
/// replaced so that a word with synonyms comes out. Its number, or -1.
static int32_t regular_base(const MeteorResources *resources, const char *word, size_t length) {
    static const char *const endings[][2] = {// nouns
                                             {"s", ""},
                                             {"ses", "s"},
                                             {"xes", "x"},
                                             {"zes", "z"},
                                             {"ches", "ch"},
                                             {"shes", "sh"},
                                             {"men", "man"},
                                             {"ies", "y"},
                                             // verbs
                                             {"s", ""},
                                             {"ies", "y"},
                                             {"es", "e"},
                                             {"es", ""},
                                             {"ed", "e"},
                                             {"ed", ""},
                                             {"ing", "e"},
                                             {"ing", ""},
                                             // adjectives
                                             {"er", ""},
                                             {"est", ""},
                                             {"er", "e"},
                                             {"est", "e"}};
    char base[128];
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const size_t ending = strlen(endings[i][0]), end = strlen(endings[i][1]);
        if (length < ending || memcmp(word + length - ending, endings[i][0], ending) != 0) continue;
        memcpy(base, word, length - ending);
        memcpy(base + length - ending, endings[i][1], end);
        const int32_t found = string_table_find(resources->words, base, length - ending + end);
        if (found >= 0) return found;
    }
    return -1;
}

static void add_base_sets(const MeteorResources *resources, const char *word, size_t length,
                          SetList *list) {
    enum { LONGEST_WORD = 120 }; // WordNet's longest has 71 letters
    const int32_t form = string_table_find(resources->irregular, word, length);
    if (form >= 0) {
        for (int32_t i = resources->first_base[form]; i >= 0; i = resources->bases[i].next)
            add_sets(resources, resources->bases[i].word, list);
        return;
    }
    if (length <= 2 || length > LONGEST_WORD || memcmp(word + length - 2, "ss", 2) == 0) return;
    add_sets(resources, regular_base(resources, word, length), list);
}

static int by_number(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

int meteor_synsets(const MeteorResources *resources, const char *word, size_t length,
                   int32_t **sets) {
    SetList list = {0};
    add_sets(resources, string_table_find(resources->words, word, length), &list);
    add_base_sets(resources, word, length, &list);
    *sets = list.sets;
    if (list.count == 0) return 0;
    qsort(list.sets, (size_t)list.count, sizeof *list.sets, by_number);
    int count = 1;
    for (int i = 1; i < list.count; i++) {
        if (list.sets[i] != list.sets[count - 1]) list.sets[count++] = list.sets[i];
    }
    return count;
}
