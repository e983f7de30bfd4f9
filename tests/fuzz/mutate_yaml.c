#include "tests/fuzz/mutate.h"
#include "train/config/config_schema.h"

#include <stdlib.h>
#include <string.h>

// ---- values

static void append_word(ByteBuffer *out, const char *word) {
    byte_buffer_put(out, word, strlen(word));
}

static void append_integer(ByteBuffer *out, const ConfigField *field, Random *random) {
    double values[] = {field->minimum,     field->maximum,     field->minimum - 1,
                       field->maximum + 1, field->minimum + 1, 2};
    double value = RANDOM_PICK(random, values);
    if (random_chance(random, 30))
        append_word(out, random_number(random));
    else if (value > -1e15 && value < 1e15)
        byte_buffer_print(out, "%.0f", value);
    else
        byte_buffer_print(out, "%zu", random_size(random, 300));
}

static void append_quoted_text(ByteBuffer *out, Random *random) {
    static const char *const quotes[] = {"",      "",        "'",       "\"",
                                         "\"\\x", "\"\\u00", "|\n    ", "!!str "};
    const char *quote = RANDOM_PICK(random, quotes);
    append_word(out, quote);
    append_text(out, random);
    if (quote[0] == '"' || quote[0] == '\'') byte_buffer_put(out, quote, 1);
}

static void append_path(ByteBuffer *out, Random *random) {
    static const char *const paths[] = {"sd",
                                        "clip",
                                        "llm",
                                        "world",
                                        "world/train",
                                        "world/test/images",
                                        "runs/stage1",
                                        "runs/stage2",
                                        "runs/stage2/checkpoint-2.h5",
                                        "published",
                                        "stage1.yaml",
                                        "world/test/instances.json",
                                        "world/train/llava_v1_5_mix665k.json",
                                        "open/clip_openai",
                                        "open/clip_shards",
                                        "open/clip_open",
                                        "archives/training.pt",
                                        "out",
                                        "out/a/b",
                                        ".",
                                        "~/x",
                                        "~",
                                        "out//x/",
                                        "nothing/here"};
    append_word(out, RANDOM_PICK(random, paths));
}

static void append_files(ByteBuffer *out, Random *random) {
    static const char *const keys[] = {"path",    "path", "path: a, image_folder", "weight",
                                       "weights", "",     "image_folder"};
    append_word(out, random_chance(random, 90) ? "[" : "");
    for (size_t count = random_size(random, 4); count; count--) {
        const bool is_mapping = random_chance(random, 70);
        if (is_mapping) byte_buffer_print(out, "{%s: ", RANDOM_PICK(random, keys));
        if (random_chance(random, 80))
            append_path(out, random);
        else
            append_word(out, random_number(random));
        if (is_mapping && random_chance(random, 50))
            byte_buffer_print(out, ", weight: %s", random_number(random));
        append_word(out, is_mapping ? "}" : "");
        append_word(out, count > 1 ? ", " : "");
    }
    append_word(out, random_chance(random, 90) ? "]" : "");
}

void append_value(ByteBuffer *out, int index, Random *random) {
    static const char *const truths[] = {"true", "false", "yes", "Off", "TRUE", "1", "null", "~"};
    static const char *const odd[] = {
        "[]",         "{}",        "[1]",     "{a: 1}", "null",
        "~",          "",          "!!int 3", "*a",     "&a 1",
        "[[1]]",      "[1, ,",     "\t",      "- 1",    "!!python/object:os.system x",
        "!<tag:x> 1", "[a, b, c]", "? x",     "\"",     "'",
        "|",          ">-",        "%",       "@",      "`"};
    const ConfigField *field = &CONFIG_FIELDS[index];
    if (random_chance(random, 15)) {
        append_word(out, RANDOM_PICK(random, odd));
        return;
    }
    int names = 0;
    while (field->names && field->names[names]) names++;
    if (names && random_chance(random, 70)) {
        append_word(out, field->names[random_below(random, (size_t)names)]);
        if (random_chance(random, 20)) append_word(out, "s");
        return;
    }
    switch (field->type) {
    case FIELD_INT:
        append_integer(out, field, random);
        break;
    case FIELD_FLOAT:
        if (random_chance(random, 50))
            append_word(out, random_number(random));
        else
            byte_buffer_print(out, "%g", random_chance(random, 50) ? field->minimum : 0.25);
        break;
    case FIELD_BOOL:
        append_word(out, RANDOM_PICK(random, truths));
        break;
    case FIELD_PATH:
        if (random_chance(random, 60))
            append_path(out, random);
        else
            append_quoted_text(out, random);
        break;
    case FIELD_DATASET_FILES:
        append_files(out, random);
        break;
    case FIELD_INT_LIST:
    case FIELD_STRING_LIST:
        append_word(out, "[");
        for (size_t count = random_size(random, 12); count; count--) {
            if (field->type == FIELD_INT_LIST)
                append_integer(out, field, random);
            else
                append_word(out, random_chance(random, 80) ? "q_proj" : "lm_head");
            append_word(out, count > 1 ? ", " : "");
        }
        append_word(out, "]");
        break;
    default:
        append_quoted_text(out, random);
    }
}

void append_valid_setting(ByteBuffer *out, Random *random) {
    static const char *const paths[] = {
        "runs/stage1", "runs/stage2",      "published",        "adapters/stage1/mm_projector.bin",
        "null",        "open/clip_openai", "open/clip_shards", "clip",
        "world/train"};
    static const double floats[] = {0, 0.1, 0.5, 0.9, 1, 2, 1e-3, 1e-8, 100};
    static const char *const texts[] = {
        "\"\"", "What?", "<image>", "auto", "never", "null", "\"a \xc3\xa9 \xf0\x9f\x98\x80\""};
    int index = (int)random_below(random, (size_t)NUM_CONFIG_FIELDS), names = 0;
    const ConfigField *field = &CONFIG_FIELDS[index];
    while (field->names && field->names[names]) names++;
    byte_buffer_print(out, "%s.%s=", field->section, field->name);
    double number = RANDOM_PICK(random, floats);
    switch (field->type) {
    case FIELD_BOOL:
        append_word(out, random_chance(random, 50) ? "true" : "false");
        break;
    case FIELD_FLOAT:
        byte_buffer_print(out, "%g", number < field->minimum ? field->minimum : number);
        break;
    case FIELD_PATH:
        append_word(out, RANDOM_PICK(random, paths));
        break;
    case FIELD_DATASET_FILES:
        append_word(out, "[{path: world/train/llava_v1_5_mix665k.json, weight: ");
        byte_buffer_print(out, "%g}, {path: forms/lines.jsonl}]",
                          0.25 * (double)random_size(random, 12));
        break;
    case FIELD_STRING:
        append_word(out, RANDOM_PICK(random, texts));
        break;
    case FIELD_INT_LIST:
        byte_buffer_print(out, "[%zu]", random_below(random, 3));
        break;
    case FIELD_STRING_LIST:
        append_word(out, random_chance(random, 50) ? "[q_proj]" : "[up_proj, v_proj]");
        break;
    default:
        if (names && random_chance(random, 90))
            append_word(out, field->names[random_below(random, (size_t)names)]);
        else
            byte_buffer_print(out, "%.0f", field->minimum + (double)random_size(random, 100));
    }
}

void append_setting(ByteBuffer *out, Random *random) {
    int index = (int)random_below(random, (size_t)NUM_CONFIG_FIELDS);
    const ConfigField *field = &CONFIG_FIELDS[index];
    size_t begin = out->size;
    byte_buffer_print(out, "%s.%s=", field->section, field->name);
    append_value(out, index, random);
    if (random_chance(random, 5)) {
        ByteBuffer setting = bytes_copy(out->data + begin, out->size - begin);
        mutate_bytes(&setting, NULL, random);
        bytes_replace(out, begin, out->size - begin, setting.data, setting.size);
        byte_buffer_free(&setting);
    }
}

// ---- lines

typedef struct Line {
    /// with its newline
    size_t begin, size;
} Line;

static Line line_at(const ByteBuffer *bytes, size_t at) {
    Line line = {at, 0};
    while (line.begin && bytes->data[line.begin - 1] != '\n') line.begin--;
    while (line.begin + line.size < bytes->size && bytes->data[line.begin + line.size] != '\n')
        line.size++;
    if (line.begin + line.size < bytes->size) line.size++;
    return line;
}

static void append_line(ByteBuffer *out, Random *random) {
    static const char *const lines[] = {
        "<<: *a\n",
        "---\n",
        "...\n",
        "%YAML 1.3\n",
        "%TAG ! x\n",
        "? [a]\n: b\n",
        "  key: &a [*a]\n",
        "\tx: 1\n",
        "- x\n",
        "{\n",
        "}\n",
        "'\n",
        "\"\n",
        "|\n",
        "# \xff\n",
        "model: *x\n",
        "model: null\n",
        "data: []\n",
        "model: {sd: sd, llm: llm}\n",
        "[model]: x\n",
        "1: 2\n",
        "\xef\xbb\xbf",
        "\xff\xfe",
        "  ? \n",
        "a: &a [x, x]\nb: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\nd: [*c, *c, *c]\n",
        "lora:\n  lora_r: 4\n",
        "eval:\n",
        "training: &t\n",
        "  <<: *t\n",
        ": \n",
        "\r\n",
        "\n"};
    if (random_chance(random, 50)) {
        append_word(out, RANDOM_PICK(random, lines));
        return;
    }
    int index = (int)random_below(random, (size_t)NUM_CONFIG_FIELDS);
    if (random_chance(random, 20)) byte_buffer_print(out, "%s:\n", CONFIG_FIELDS[index].section);
    byte_buffer_print(out, "  %s: ", CONFIG_FIELDS[index].name);
    append_value(out, index, random);
    append_word(out, "\n");
}

/// The value of a line "  key: value" becomes another; of any other line the text.
static void change_value(ByteBuffer *bytes, Line line, Random *random) {
    char key[64] = "";
    const char *text = bytes->data + line.begin, *colon = memchr(text, ':', line.size);
    size_t indent = 0, from = colon ? (size_t)(colon - text) + 1 : 0;
    while (indent < line.size && text[indent] == ' ') indent++;
    if (colon && from > indent + 1 && from - indent - 1 < sizeof key)
        memcpy(key, text + indent, from - indent - 1);
    ByteBuffer value = bytes_copy(" ", colon ? 1 : 0);
    int field = -1;
    for (int i = 0; i < NUM_CONFIG_FIELDS; i++)
        if (!strcmp(CONFIG_FIELDS[i].name, key)) field = i;
    if (field >= 0)
        append_value(&value, field, random);
    else
        append_text(&value, random);
    byte_buffer_put(&value, "\n", 1);
    bytes_replace(bytes, line.begin + from, line.size - from, value.data, value.size);
    byte_buffer_free(&value);
}

static void change_once(ByteBuffer *bytes, Random *random) {
    Line line = line_at(bytes, random_below(random, bytes->size)),
         other = line_at(bytes, random_below(random, bytes->size));
    ByteBuffer text = {0};
    switch (random_below(random, 9)) {
    case 0:
        bytes_replace(bytes, line.begin, line.size, NULL, 0);
        break;
    case 1:
        bytes_replace(bytes, other.begin, 0, bytes->data + line.begin, line.size);
        break;
    case 2:
        append_line(&text, random);
        bytes_replace(bytes, line.begin, 0, text.data, text.size);
        break;
    case 3:
        bytes_replace(bytes, line.begin, 0, "  ", 1 + random_below(random, 2));
        break;
    case 4:
        if (bytes->size && bytes->data[line.begin] == ' ')
            bytes_replace(bytes, line.begin, 1 + random_below(random, 2), NULL, 0);
        break;
    default:
        change_value(bytes, line, random);
    }
    byte_buffer_free(&text);
}

void mutate_yaml(ByteBuffer *bytes, Random *random) {
    if (random_chance(random, 10)) bytes->size = 0;
    for (size_t changes = 1 + random_size(random, 10); changes; changes--)
        change_once(bytes, random);
    if (random_chance(random, 15)) mutate_bytes(bytes, NULL, random);
}
