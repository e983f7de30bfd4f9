#include "data/tiny/files.h"
#include <errno.h>
#include <ftw.h>
#include <jpeglib.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool write_bytes(const char *path, const void *bytes, uint64_t count, Error *error) {
    FILE *file = fopen(path, "wb");
    if (!file) return error_set(error, "%s: cannot be created: %s", path, strerror(errno));
    bool written = fwrite(bytes, 1, count, file) == count && fflush(file) == 0;
    int cause = errno;
    if (fclose(file) != 0 && written) {
        written = false;
        cause = errno;
    }
    if (!written) return error_set(error, "%s: cannot be written: %s", path, strerror(cause));
    return true;
}

bool write_json(const char *path, json_t *value, Error *error) {
    char *text = json_dumps(value, JSON_COMPACT);
    CHECK(text, "%s: JSON value with text that is not UTF-8", path);
    json_decref(value);
    bool written = write_bytes(path, text, strlen(text), error);
    free(text);
    return written;
}

bool write_jpeg(const char *path, const uint8_t *rgb, int width, int height, int quality,
                Error *error) {
    // The default error manager ends the program: it is only reached when libjpeg is used wrongly or memory is exhausted.
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr manager;
    unsigned char *bytes = NULL;
    unsigned long count = 0;
    jpeg.err = jpeg_std_error(&manager);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &bytes, &count);
    jpeg.image_width = (JDIMENSION)width;
    jpeg.image_height = (JDIMENSION)height;
    jpeg.input_components = 3;
    jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, quality, TRUE);
    jpeg_start_compress(&jpeg, TRUE);
    while (jpeg.next_scanline < jpeg.image_height) {
        JSAMPROW row = (JSAMPROW)(uintptr_t)(rgb + (size_t)jpeg.next_scanline * (size_t)width * 3);
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    bool written = write_bytes(path, bytes, count, error);
    free(bytes);
    return written;
}

bool write_png(const char *path, const uint8_t *rgb, int width, int height, Error *error) {
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)width,
                       .height = (png_uint_32)height,
                       .format = PNG_FORMAT_RGB};
    if (!png_image_write_to_file(&image, path, 0, rgb, 0, NULL))
        return error_set(error, "%s: cannot be written: %s", path, image.message);
    return true;
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

/// Lengths of the runs of 0, 1, 0, ... down the columns; returns how many. counts: [height * width + 1].
static int mask_runs(const uint8_t *mask, int height, int width, uint32_t *counts) {
    int runs = 0;
    uint8_t value = 0;
    uint32_t length = 0;
    for (int x = 0; x < width; x++)
        for (int y = 0; y < height; y++) {
            uint8_t here = mask[y * width + x];
            if (here != value) {
                counts[runs++] = length;
                length = 0;
                value = here;
            }
            length++;
        }
    counts[runs++] = length;
    return runs;
}

static uint32_t *new_runs(const uint8_t *mask, int height, int width, int *runs) {
    uint32_t *counts = checked_malloc(sizeof *counts * (unsigned long)(height * width + 1));
    *runs = mask_runs(mask, height, width, counts);
    return counts;
}

json_t *mask_to_rle(const uint8_t *mask, int height, int width) {
    int runs;
    uint32_t *counts = new_runs(mask, height, width, &runs);
    json_t *list = json_array();
    for (int i = 0; i < runs; i++) json_array_append_new(list, json_integer(counts[i]));
    free(counts);
    return json_pack("{s:[i,i], s:o}", "size", height, width, "counts", list);
}

json_t *mask_to_compressed_rle(const uint8_t *mask, int height, int width) {
    int runs, length = 0;
    uint32_t *counts = new_runs(mask, height, width, &runs);
    char *text = checked_malloc(7ul * (unsigned long)runs + 1);
    for (int i = 0; i < runs; i++) {
        // Differences to the run of the same value before, five bits per character, sign-extended (maskApi.c).
        int64_t value = i > 2 ? (int64_t)counts[i] - counts[i - 2] : counts[i];
        bool more = true;
        while (more) {
            int bits = (int)(value & 31);
            value >>= 5;
            more = bits & 16 ? value != -1 : value != 0;
            text[length++] = (char)((bits | (more ? 32 : 0)) + 48);
        }
    }
    json_t *rle = json_pack("{s:[i,i], s:s#}", "size", height, width, "counts", text, length);
    free(text);
    free(counts);
    return rle;
}

json_t *mask_to_bbox(const uint8_t *mask, int height, int width) {
    int x0 = width, y0 = height, x1 = 0, y1 = 0;
    for (int i = 0; i < height * width; i++) {
        if (!mask[i]) continue;
        int x = i % width, y = i / width;
        x0 = x < x0 ? x : x0, x1 = x >= x1 ? x + 1 : x1;
        y0 = y < y0 ? y : y0, y1 = y >= y1 ? y + 1 : y1;
    }
    if (x1 == 0) x0 = y0 = 0;
    return json_pack("[i,i,i,i]", x0, y0, x1 - x0, y1 - y0);
}
