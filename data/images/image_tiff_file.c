// A TIFF file in memory, with libtiff's messages kept for the error.
#include "data/images/image_tiff.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static tmsize_t read_bytes(thandle_t handle, void *target, tmsize_t count) {
    TiffSource *source = handle;
    if (source->at >= source->size || count <= 0) return 0;
    const uint64_t left = source->size - source->at;
    const size_t taken = (uint64_t)count < left ? (size_t)count : (size_t)left;
    memcpy(target, source->bytes + source->at, taken);
    source->at += taken;
    return (tmsize_t)taken;
}

static tmsize_t write_bytes(thandle_t handle, void *from, tmsize_t count) {
    (void)handle, (void)from, (void)count;
    return 0;
}

static toff_t seek(thandle_t handle, toff_t offset, int from) {
    TiffSource *source = handle;
    source->at = from == SEEK_SET   ? offset
                 : from == SEEK_CUR ? source->at + offset
                                    : source->size + offset;
    return source->at;
}

static int close_source(thandle_t handle) {
    (void)handle;
    return 0;
}

static toff_t size_of(thandle_t handle) { return ((TiffSource *)handle)->size; }

static int map_bytes(thandle_t handle, void **base, toff_t *size) {
    const TiffSource *source = handle;
    *base = (void *)source->bytes;
    *size = source->size;
    return 1;
}

static void unmap_bytes(thandle_t handle, void *base, toff_t size) {
    (void)handle, (void)base, (void)size;
}

static int keep_message(TIFF *tiff, void *context, const char *module, const char *format,
                        va_list arguments) {
    TiffSource *source = context;
    (void)tiff, (void)module;
    if (!source->message[0]) vsnprintf(source->message, TIFF_MESSAGE, format, arguments);
    return 1;
}

/// A palette that cannot be read is a warning for libtiff, which then shows its numbers as grey.
static int watch_palette(TIFF *tiff, void *context, const char *module, const char *format,
                         va_list arguments) {
    TiffSource *source = context;
    char warning[TIFF_MESSAGE];
    (void)tiff, (void)module;
    vsnprintf(warning, sizeof warning, format, arguments);
    if (strstr(warning, "\"ColorMap\"")) source->is_palette_lost = true;
    return 1;
}

TIFF *tiff_open(TiffSource *source) {
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options) return NULL;
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, TIFF_MOST_BYTES);
    TIFFOpenOptionsSetErrorHandlerExtR(options, keep_message, source);
    TIFFOpenOptionsSetWarningHandlerExtR(options, watch_palette, source);
    TIFF *tiff = TIFFClientOpenExt(source->name, "r", source, read_bytes, write_bytes, seek,
                                   close_source, size_of, map_bytes, unmap_bytes, options);
    TIFFOpenOptionsFree(options);
    return tiff;
}

bool tiff_damaged(const TiffSource *source) {
    return error_set(source->error, "%s: a damaged TIFF image%s%s", source->name,
                     source->message[0] ? ": " : "", source->message);
}
