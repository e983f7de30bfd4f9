#include "data/tiny/files.h"
#include "autograd/output/output_file.h"
#include "data/coco_mask.h"
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool write_json(const char *path, json_t *value, Error *error) {
    char *text = json_dumps(value, JSON_COMPACT);
    CHECK(text, "%s: JSON value with text that is not UTF-8", path);
    json_decref(value);
    bool written = output_whole_file(path, text, strlen(text), error);
    free(text);
    return written;
}

bool make_folder(const char *path, Error *error) {
    if (mkdir(path, 0777) != 0)
        return error_set(error, "%s: folder cannot be created: %s", path, strerror(errno));
    return true;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk) {
    (void)status, (void)type, (void)walk;
    remove(path);
    return 0;
}

void remove_folder(const char *path) { nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS); }

static void pickle_u32(FILE *out, char opcode, uint32_t value) {
    fputc(opcode, out);
    for (int i = 0; i < 4; i++) fputc((int)(value >> 8 * i & 255), out);
}

static void pickle_string(FILE *out, const char *text) {
    pickle_u32(out, 'X', (uint32_t)strlen(text));
    fputs(text, out);
}

static void pickle_value(FILE *out, const json_t *value) {
    const char *key;
    json_t *item,
        *holder = (json_t *)(uintptr_t)value; // jansson iterates over non-const objects only
    size_t index;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        fputs("}(", out);
        json_object_foreach(holder, key, item) {
            pickle_string(out, key);
            pickle_value(out, item);
        }
        fputc('u', out);
        break;
    case JSON_ARRAY:
        fputs("](", out);
        json_array_foreach(value, index, item) pickle_value(out, item);
        fputc('e', out);
        break;
    case JSON_STRING:
        pickle_string(out, json_string_value(value));
        break;
    case JSON_TRUE:
        fputs("\x88", out);
        break;
    case JSON_FALSE:
        fputs("\x89", out);
        break;
    case JSON_INTEGER:
        pickle_u32(out, 'J', (uint32_t)(int32_t)json_integer_value(value));
        break;
    default:
        CHECK(false, "pickle of a JSON value of type %d", (int)json_typeof(value));
    }
}

void pickle_json(const json_t *value, uint8_t **bytes, uint64_t *count) {
    char *data = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&data, &length);
    CHECK(out, "open_memstream: %s", strerror(errno));
    fputs("\x80\x02", out);
    pickle_value(out, value);
    fputc('.', out);
    fclose(out);
    *bytes = (uint8_t *)data;
    *count = length;
}

json_t *mask_to_rle(const uint8_t *bitmap, int height, int width) {
    CocoMask mask = coco_mask_from_bitmap(bitmap, height, width);
    json_t *counts = json_array();
    for (int i = 0; i < mask.num_counts; i++)
        json_array_append_new(counts, json_integer(mask.counts[i]));
    coco_mask_free(&mask);
    return json_pack("{s:[i,i], s:o}", "size", height, width, "counts", counts);
}

json_t *mask_to_compressed_rle(const uint8_t *bitmap, int height, int width) {
    CocoMask mask = coco_mask_from_bitmap(bitmap, height, width);
    char *counts = coco_mask_to_string(&mask);
    json_t *rle = json_pack("{s:[i,i], s:s}", "size", height, width, "counts", counts);
    free(counts);
    coco_mask_free(&mask);
    return rle;
}

json_t *mask_to_bbox(const uint8_t *bitmap, int height, int width) {
    CocoMask mask = coco_mask_from_bitmap(bitmap, height, width);
    double box[4];
    coco_mask_box(&mask, box);
    coco_mask_free(&mask);
    return json_pack("[i,i,i,i]", (int)box[0], (int)box[1], (int)box[2], (int)box[3]);
}
