// A file's names come from strangers: what a terminal would take for a command is shown as '?'.
#include "checkpoints/stored_tensor.h"
#include "train/log/progress.h"
#include "train/report/inspection.h"

#include <stdlib.h>
#include <string.h>

enum { SHAPE_BYTES = 128 };

/// Prints text, then spaces up to `width` bytes.
static void print_text(FILE *out, const char *text, int width) {
    int length = 0;
    for (; *text; text++, length++) {
        unsigned char c = (unsigned char)*text;
        fputc(c < ' ' || c == 0x7f ? '?' : c, out);
    }
    for (; length < width; length++) fputc(' ', out);
}

static const char *string_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void print_value(FILE *out, const json_t *value, int indent);

/// Containers are {"kind", "count", "first"}.
static void print_container(FILE *out, const json_t *value, int indent) {
    json_int_t count = json_integer_value(json_object_get(value, "count"));
    const json_t *first = json_object_get(value, "first");
    const char *key;
    size_t index, shown = 0;
    json_t *item;
    fprintf(out, "%s of %lld\n", string_of(value, "kind"), (long long)count);
    json_object_foreach((json_t *)first, key, item) {
        fprintf(out, "%*s", indent, "");
        print_text(out, key, 0);
        fputs(": ", out);
        print_value(out, item, indent + 2);
        shown++;
    }
    json_array_foreach(first, index, item) {
        fprintf(out, "%*s[%zu] ", indent, "", index);
        print_value(out, item, indent + 2);
        shown++;
    }
    if (first && (json_int_t)shown < count)
        fprintf(out, "%*s... %lld more\n", indent, "", (long long)(count - (json_int_t)shown));
}

static void print_value(FILE *out, const json_t *value, int indent) {
    if (json_is_object(value)) {
        print_container(out, value, indent);
    } else if (json_is_string(value)) {
        print_text(out, json_string_value(value), 0);
        fputc('\n', out);
    } else if (json_is_real(value)) {
        fprintf(out, "%.9g\n", json_real_value(value));
    } else {
        char *text = json_dumps(value, JSON_ENCODE_ANY);
        fprintf(out, "%s\n", text);
        free(text);
    }
}

static const char *shape_of(const json_t *tensor, char buffer[SHAPE_BYTES]) {
    int64_t shape[STORED_MAX_RANK];
    const json_t *sizes = json_object_get(tensor, "shape");
    int rank = (int)json_array_size(sizes);
    for (int i = 0; i < rank; i++) shape[i] = json_integer_value(json_array_get(sizes, (size_t)i));
    return shape_text(rank, shape, buffer, SHAPE_BYTES);
}

/// The width of a column that text shall fit into; a longer one sticks out.
static int wider(int width, const char *text) {
    static const size_t WIDEST = 100;
    size_t length = strlen(text);
    return length > (size_t)width && length <= WIDEST ? (int)length : width;
}

static void print_tensors(FILE *out, const json_t *tensors) {
    int name_width = 4, shape_width = 5;
    char shape[SHAPE_BYTES];
    size_t index;
    json_t *tensor;
    json_array_foreach(tensors, index, tensor) {
        name_width = wider(name_width, string_of(tensor, "name"));
        shape_width = wider(shape_width, shape_of(tensor, shape));
    }
    const json_t *first = json_array_get(tensors, 0);
    bool checksums = json_object_get(first, "crc32c") != NULL,
         files = json_object_get(first, "file") != NULL;
    print_text(out, "name", name_width);
    fprintf(out, "  type     %-*s  %10s%s%s\n", shape_width, "shape", "size",
            checksums ? "  CRC-32C " : "", files ? "  file" : "");
    json_array_foreach(tensors, index, tensor) {
        char *size = format_bytes(json_integer_value(json_object_get(tensor, "bytes")));
        print_text(out, string_of(tensor, "name"), name_width);
        fprintf(out, "  %-7s  %-*s  %10s", string_of(tensor, "type"), shape_width,
                shape_of(tensor, shape), size);
        if (checksums) fprintf(out, "  %s", string_of(tensor, "crc32c"));
        if (files) fputs("  ", out);
        if (files) print_text(out, string_of(tensor, "file"), 0);
        fputc('\n', out);
        free(size);
    }
}

void inspection_print(const json_t *inspection, FILE *out) {
    const json_t *metadata = json_object_get(inspection, "metadata"),
                 *tensors = json_object_get(inspection, "tensors"),
                 *value = json_object_get(inspection, "value"),
                 *total = json_object_get(inspection, "total");
    const char *key;
    json_t *item;
    print_text(out, string_of(inspection, "path"), 0);
    fprintf(out, ": %s\n", string_of(inspection, "format"));
    json_object_foreach((json_t *)metadata, key, item) {
        fputs("  ", out);
        print_text(out, key, 0);
        fputs(": ", out);
        print_value(out, item, 4);
    }
    if (value) {
        print_value(out, value, 2);
        return;
    }
    if (json_array_size(tensors)) {
        fputc('\n', out);
        print_tensors(out, tensors);
        fputc('\n', out);
    }
    char *size = format_bytes(json_integer_value(json_object_get(total, "bytes")));
    fprintf(out, "%lld tensors, %lld elements, %s\n",
            (long long)json_integer_value(json_object_get(total, "tensors")),
            (long long)json_integer_value(json_object_get(total, "elements")), size);
    free(size);
}
