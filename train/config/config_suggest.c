// Words about the schema for people who made a mistake: what a misspelt name may have meant, what a
// key may hold.
#include "autograd/text/nearest_name.h"
#include "train/config/config_schema.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/// The field of that section (NULL: any) whose name is nearest, or -1.
static int nearest_field(const char *section, const char *name) {
    const char **names = checked_malloc((unsigned long)NUM_CONFIG_FIELDS * sizeof *names);
    int *fields = checked_malloc((unsigned long)NUM_CONFIG_FIELDS * sizeof *fields), count = 0;
    for (int i = 0; i < NUM_CONFIG_FIELDS; i++) {
        if (section && strcmp(section, CONFIG_FIELDS[i].section)) continue;
        names[count] = CONFIG_FIELDS[i].name;
        fields[count++] = i;
    }
    int nearest = nearest_name(name, names, count);
    if (nearest >= 0) nearest = fields[nearest];
    free(names);
    free(fields);
    return nearest;
}

static int field_of_that_name(const char *name) {
    for (int i = 0; i < NUM_CONFIG_FIELDS; i++)
        if (!strcmp(CONFIG_FIELDS[i].name, name)) return i;
    return -1;
}

char *config_suggest(const char *section, const char *name) {
    const char *dot = section ? NULL : strchr(name, '.'), *own_name = dot ? dot + 1 : name;
    char *own_section = dot ? format_string("%.*s", (int)(dot - name), name)
                            : (section ? checked_strdup(section) : NULL);
    bool is_known = own_section && config_find_section(own_section) >= 0;
    int field = field_of_that_name(own_name);
    if (field < 0 && is_known) { // lora.r, for lora.lora_r
        char *longer = format_string("%s_%s", own_section, own_name);
        field = config_find_field(own_section, longer);
        free(longer);
    }
    if (field < 0 && is_known) field = nearest_field(own_section, own_name);
    if (field < 0) field = nearest_field(NULL, own_name);
    char *sentence;
    if (field >= 0)
        sentence = format_string("did you mean '%s.%s'?", CONFIG_FIELDS[field].section,
                                 CONFIG_FIELDS[field].name);
    else if (is_known)
        sentence = format_string("'difflmm config %s' lists the keys of the section", own_section);
    else
        sentence = checked_strdup("'difflmm config' lists all keys");
    free(own_section);
    return sentence;
}

static char *sections_in_words(void) {
    char *words = checked_strdup("the sections are");
    for (int i = 0; i < NUM_CONFIG_SECTIONS; i++) {
        char *longer = format_string("%s%s %s", words, i ? "," : "", CONFIG_SECTIONS[i].name);
        free(words);
        words = longer;
    }
    return words;
}

char *config_suggest_section(const char *name) {
    const char *names[16];
    CHECK(NUM_CONFIG_SECTIONS <= 16, "%d sections", NUM_CONFIG_SECTIONS);
    for (int i = 0; i < NUM_CONFIG_SECTIONS; i++) names[i] = CONFIG_SECTIONS[i].name;
    int nearest = nearest_name(name, names, NUM_CONFIG_SECTIONS);
    if (nearest >= 0) return format_string("did you mean section '%s'?", names[nearest]);
    int field = field_of_that_name(name);
    if (field < 0 && config_find_key(name) >= 0) field = config_find_key(name);
    if (field >= 0)
        return format_string("'%s' is written below section '%s:'", CONFIG_FIELDS[field].name,
                             CONFIG_FIELDS[field].section);
    return sections_in_words();
}

static char *range_in_words(const ConfigField *field) {
    bool has_least = field->minimum > -0x1p53, has_most = field->maximum < 0x1p53;
    if (has_least && has_most)
        return format_string(" from %.10g to %.10g", field->minimum, field->maximum);
    if (field->minimum > 0 && field->minimum < 1e-30) return checked_strdup(" above 0");
    if (has_least) return format_string(" of at least %.10g", field->minimum);
    return checked_strdup("");
}

static char *names_in_words(const ConfigField *field) {
    char *words = checked_strdup("");
    for (const char *const *name = field->names; *name; name++) {
        const char *separator = name == field->names ? "" : name[1] ? ", " : " or ";
        char *longer = format_string("%s%s%s", words, separator, *name);
        free(words);
        words = longer;
    }
    return words;
}

char *config_expected(const ConfigField *field) {
    char *range = range_in_words(field), *names = field->names ? names_in_words(field) : NULL;
    char *words = NULL;
    switch (field->type) {
    case FIELD_INT:
        words = names ? format_string("%s, or an integer%s", names, range)
                      : format_string("an integer%s", range);
        break;
    case FIELD_FLOAT:
        words = format_string("a number%s", range);
        break;
    case FIELD_BOOL:
        words = checked_strdup("true or false");
        break;
    case FIELD_STRING:
        words = names ? format_string("%s, or a string", names) : checked_strdup("a string");
        break;
    case FIELD_PATH:
        words = checked_strdup("a path");
        break;
    case FIELD_ENUM:
        words = format_string("%s%s", field->names[1] ? "one of " : "", names);
        break;
    case FIELD_INT_LIST:
        words = format_string("a list of integers%s, as [0, 1]", range);
        break;
    case FIELD_STRING_LIST:
        words = checked_strdup("a list of strings, as [a, b]");
        break;
    case FIELD_DATASET_FILES:
        words = checked_strdup("a path, or a list as "
                               "[{path: a.json, image_folder: images, weight: 0.5}, b.json]");
        break;
    }
    free(range);
    free(names);
    return words;
}
