// The schema and a configuration as text that people read.
#include "autograd/text/byte_buffer.h"
#include "train/config/config_schema.h"

#include <stdlib.h>
#include <string.h>

enum { COMMENT_WIDTH = 96 };

/// Prints words as comment lines of at most COMMENT_WIDTH columns.
static void print_comment(FILE *out, const char *text) {
    int column = 0;
    while (*text) {
        size_t length = strcspn(text, " ");
        if (column == 0 || column + 1 + (int)length > COMMENT_WIDTH)
            column = fprintf(out, "%s  #", column ? "\n" : "") - (column ? 1 : 0);
        column += fprintf(out, " %.*s", (int)length, text);
        text += length;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static void document_field(FILE *out, const ConfigField *field) {
    char *expected = config_expected(field);
    print_comment(out, field->doc);
    fprintf(out, "  # %s%s\n", expected, field->fallback ? "" : ", or null");
    fprintf(out, "  %s: %s\n", field->name, field->fallback ? field->fallback : "null");
    free(expected);
}

static void document_section(FILE *out, const ConfigSectionDoc *section) {
    fprintf(out, "# %s\n%s:\n", section->doc, section->name);
    bool is_first = true;
    for (int i = 0; i < NUM_CONFIG_FIELDS; i++) {
        if (strcmp(CONFIG_FIELDS[i].section, section->name)) continue;
        if (!is_first) fputc('\n', out);
        is_first = false;
        document_field(out, &CONFIG_FIELDS[i]);
    }
}

void config_document(FILE *out) {
    fprintf(out, "# Every key with its meaning, type and default. A configuration names only what "
                 "differs.\n# On the command line: section.key=value\n");
    for (int i = 0; i < NUM_CONFIG_SECTIONS; i++) {
        fputc('\n', out);
        document_section(out, &CONFIG_SECTIONS[i]);
    }
}

bool config_document_key(FILE *out, const char *name, Error *error) {
    int section = config_find_section(name);
    if (section >= 0) {
        document_section(out, &CONFIG_SECTIONS[section]);
        return true;
    }
    int index = config_find_key(name);
    if (index >= 0) {
        fprintf(out, "%s:\n", CONFIG_FIELDS[index].section);
        document_field(out, &CONFIG_FIELDS[index]);
        return true;
    }
    char *suggestion =
        strchr(name, '.') ? config_suggest(NULL, name) : config_suggest_section(name);
    // A bare name that is no section's may be a key's, written without its section.
    if (!strchr(name, '.') && !strstr(suggestion, "did you mean")) {
        free(suggestion);
        suggestion = config_suggest(NULL, name);
    }
    error_set(error, "there is no key or section '%.100s': %s", name, suggestion);
    free(suggestion);
    return false;
}

static char *to_yaml(const Config *config, bool set_keys_only) {
    ByteBuffer yaml = {0};
    const char *section = "";
    for (int i = 0; i < NUM_CONFIG_FIELDS; i++) {
        const ConfigField *field = &CONFIG_FIELDS[i];
        if (set_keys_only && config->origins[i].kind == ORIGIN_DEFAULT) continue;
        if (strcmp(section, field->section))
            byte_buffer_print(&yaml, "%s%s:\n", *section ? "\n" : "", field->section);
        section = field->section;
        char *value = config_format_value(config, field);
        byte_buffer_print(&yaml, "  %s: %s\n", field->name, value);
        free(value);
    }
    return byte_buffer_take(&yaml);
}

char *config_to_yaml(const Config *config) { return to_yaml(config, false); }

char *config_set_keys_to_yaml(const Config *config) { return to_yaml(config, true); }
