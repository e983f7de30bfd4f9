#include "autograd/output/output_file.h"
#include "autograd/text/byte_buffer.h"
#include "data/images/image_codecs.h"

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/// What a read needs over libpng's jump; in one place, so that no local variable is lost by it.
typedef struct Reading {
    const uint8_t *next;
    size_t left;
    uint32_t width, height;
    bool is_grey_16, is_clipped;
    ImageSink *sink;
    /// rows that the sink has
    uint32_t put;
    /// of an interlaced picture, whose passes go over all of it
    bool is_interlaced;
    Image whole;
    png_bytep *rows;
    const char *name;
    Error *error;
    char message[256];
} Reading;

static void on_error(png_structp png, png_const_charp message) {
    char *kept = png_get_error_ptr(png);
    snprintf(kept, sizeof((Reading *)0)->message, "%s", message);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

static void read_bytes(png_structp png, png_bytep target, size_t count) {
    Reading *reading = png_get_io_ptr(png);
    if (count > reading->left) png_error(png, "its data end early (a truncated file?)");
    memcpy(target, reading->next, count);
    reading->next += count;
    reading->left -= count;
}

/// Asks libpng for 8-bit RGB without alpha, whatever is stored; grey of 16 bits stays what it is.
static void ask_for_rgb(png_structp png, png_infop info, bool is_grey_16) {
    int colour = png_get_color_type(png, info);
    if (is_grey_16) return;
    if (colour == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
    if (!(colour & PNG_COLOR_MASK_COLOR)) {
        if (png_get_bit_depth(png, info) < 8) png_set_expand_gray_1_2_4_to_8(png);
        png_set_gray_to_rgb(png);
    }
    if (png_get_bit_depth(png, info) == 16) png_set_strip_16(png);
    png_set_strip_alpha(png);
}

/// A row of 16 bits a pixel, the high byte first, becomes RGB in its place.
static void expand_grey_16(Reading *reading, uint8_t *row) {
    for (size_t x = reading->width; x-- > 0;) {
        const unsigned value = (unsigned)row[2 * x] << 8 | row[2 * x + 1];
        memset(row + 3 * x, image_grey_16(value, &reading->is_clipped), 3);
    }
}

static void put_row(Reading *reading) {
    if (reading->is_grey_16) expand_grey_16(reading, reading->sink->row);
    reading->sink->put(reading->sink);
    reading->put++;
}

static void read_rows(Reading *reading, png_structp png) {
    reading->sink->begin(reading->sink, (int)reading->width, (int)reading->height);
    while (reading->put < reading->height) {
        png_read_row(png, reading->sink->row, NULL);
        put_row(reading);
    }
}

static void read_whole(Reading *reading, png_structp png) {
    const size_t stride = 3 * (size_t)reading->width;
    reading->whole = image_new((int)reading->width, (int)reading->height);
    reading->rows = checked_malloc(reading->height * sizeof *reading->rows);
    for (uint32_t y = 0; y < reading->height; y++)
        reading->rows[y] = reading->whole.pixels + y * stride;
    png_read_image(png, reading->rows);
}

static void put_whole(Reading *reading) {
    for (uint32_t y = 0; reading->is_grey_16 && y < reading->height; y++)
        expand_grey_16(reading, reading->rows[y]);
    reading->sink->take(reading->sink, &reading->whole);
}

/// Whether the last row of the last pass has its pixels: libpng counts a row when it has put it
/// into its place, before it looks at what is left of the data.
static bool is_complete(const Reading *reading, png_structp png) {
    enum { PASSES = 7 };
    if (reading->is_interlaced) return reading->rows && png_get_current_pass_number(png) == PASSES;
    return reading->height && png_get_current_row_number(png) == reading->height;
}

/// After libpng's jump. Damage behind the last pixel costs nothing; the sink may not have the last
/// row yet.
static bool conclude(Reading *reading, png_structp png) {
    if (!is_complete(reading, png))
        return error_set(reading->error, "%s: a damaged PNG image: %s", reading->name,
                         reading->message);
    image_warn("%s: a PNG image that is damaged behind its last pixel: %s", reading->name,
               reading->message);
    if (!reading->is_interlaced && reading->put < reading->height) put_row(reading);
    return true;
}

static bool decode(Reading *reading, png_structp png, png_infop info) {
    if (setjmp(png_jmpbuf(png)) != 0) return conclude(reading, png);
    png_set_read_fn(png, reading, read_bytes);
    png_read_info(png, info);
    const uint32_t width = png_get_image_width(png, info), height = png_get_image_height(png, info);
    if (!image_check_size(width, height, reading->name, reading->error)) return false;
    reading->is_interlaced = png_set_interlace_handling(png) > 1;
    reading->is_grey_16 =
        png_get_color_type(png, info) == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(png, info) == 16;
    ask_for_rgb(png, info, reading->is_grey_16);
    png_read_update_info(png, info);
    if (png_get_rowbytes(png, info) != (size_t)width * (reading->is_grey_16 ? 2 : 3))
        png_error(png, "an unknown pixel layout");
    reading->width = width;
    reading->height = height;
    if (reading->is_interlaced)
        read_whole(reading, png);
    else
        read_rows(reading, png);
    png_read_end(png, NULL);
    return true;
}

bool png_decode(const uint8_t *bytes, size_t size, const char *name, ImageSink *sink,
                Error *error) {
    Reading reading = {.next = bytes, .left = size, .sink = sink, .name = name, .error = error};
    png_structp png =
        png_create_read_struct(PNG_LIBPNG_VER_STRING, reading.message, on_error, on_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    const bool decoded = info && decode(&reading, png, info);
    if (!info) error_set(error, "%s: libpng could not be started", name);
    png_destroy_read_struct(&png, &info, NULL);
    if (decoded && reading.is_interlaced)
        put_whole(&reading);
    else
        image_free(&reading.whole);
    if (decoded && reading.is_clipped) image_warn_clipped(name);
    free(reading.rows);
    return decoded;
}

static void write_bytes(png_structp png, png_bytep source, size_t count) {
    byte_buffer_put(png_get_io_ptr(png), source, count);
}

static void flush_bytes(png_structp png) { (void)png; }

/// Rows of pixels to be encoded, and how.
typedef struct Rows {
    const uint8_t *pixels;
    int width, height, channels;
    int colour_type, filters;
} Rows;

static bool encode(ByteBuffer *writing, png_structp png, png_infop info, const Rows *rows,
                   const char *message, Error *error) {
    if (setjmp(png_jmpbuf(png)) != 0)
        return error_set(error, "an image could not be encoded as PNG: %s", message);
    png_set_write_fn(png, writing, write_bytes, flush_bytes);
    png_set_IHDR(png, info, (uint32_t)rows->width, (uint32_t)rows->height, 8, rows->colour_type,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (rows->filters) png_set_filter(png, PNG_FILTER_TYPE_BASE, rows->filters);
    png_write_info(png, info);
    for (int y = 0; y < rows->height; y++)
        png_write_row(png, rows->pixels + (size_t)y * (size_t)rows->width * (size_t)rows->channels);
    png_write_end(png, NULL);
    return true;
}

static bool encode_rows(const Rows *rows, void **bytes, size_t *size, Error *error) {
    char message[sizeof((Reading *)0)->message] = "";
    ByteBuffer writing = {0};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, message, on_error, on_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    bool encoded = info && encode(&writing, png, info, rows, message, error);
    if (!info) error_set(error, "libpng could not be started");
    png_destroy_write_struct(&png, &info);
    if (encoded) {
        *size = writing.size;
        *bytes = byte_buffer_take(&writing);
    }
    byte_buffer_free(&writing);
    return encoded;
}

bool image_encode_png(const Image *image, void **bytes, size_t *size, Error *error) {
    const Rows rows = {image->pixels, image->width, image->height, 3, PNG_COLOR_TYPE_RGB, 0};
    return encode_rows(&rows, bytes, size, error);
}

bool image_encode_grey_png(const uint8_t *pixels, int width, int height, void **bytes, size_t *size,
                           Error *error) {
    const Rows rows = {pixels, width, height, 1, PNG_COLOR_TYPE_GRAY, PNG_FILTER_NONE};
    return encode_rows(&rows, bytes, size, error);
}

bool image_write_png(const char *path, const Image *image, Error *error) {
    void *bytes;
    size_t size;
    if (!image_encode_png(image, &bytes, &size, error)) return error_context(error, "%s", path);
    bool written = output_whole_file(path, bytes, size, error);
    free(bytes);
    return written;
}
