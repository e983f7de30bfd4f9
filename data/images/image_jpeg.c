// libjpeg reports errors by a jump and damage by warnings. Warnings that the data ended early
// become errors: the rest of such a picture is grey that nobody photographed. Other warnings (stray
// bytes between markers) are let pass, as by Pillow.
#include "autograd/output/output_file.h"
#include "data/images/image_codecs.h"

#include <setjmp.h>
#include <stdio.h> // jpeglib.h needs FILE

#include <jerror.h>
#include <jpeglib.h>
#include <stdlib.h>

/// A progressive file may repeat scans without end at almost no cost in bytes; real ones have about
/// ten.
enum { MAX_SCANS = 500 };

typedef struct Failure {
    struct jpeg_error_mgr base;
    jmp_buf jump;
    struct jpeg_progress_mgr progress;
    char message[JMSG_LENGTH_MAX];
    bool cut_off;
} Failure;

static void on_error(j_common_ptr codec) {
    Failure *failure = (Failure *)codec->err;
    codec->err->format_message(codec, failure->message);
    longjmp(failure->jump, 1);
}

static void on_message(j_common_ptr codec, int level) {
    Failure *failure = (Failure *)codec->err;
    int code = codec->err->msg_code;
    if (level < 0 && (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER)) failure->cut_off = true;
}

static void watch_scans(j_common_ptr codec) {
    Failure *failure = (Failure *)codec->err;
    if (((j_decompress_ptr)codec)->input_scan_number <= MAX_SCANS) return;
    snprintf(failure->message, sizeof failure->message, "more than %d scans", MAX_SCANS);
    longjmp(failure->jump, 1);
}

static void catch_failures(Failure *failure, j_common_ptr codec) {
    codec->err = jpeg_std_error(&failure->base);
    failure->base.error_exit = on_error;
    failure->base.emit_message = on_message;
}

/// Files with four components store inverted inks, as Adobe began to.
static void inverted_row_to_rgb(const uint8_t *light, uint8_t *rgb, int width) {
    for (int x = 0; x < width; x++, light += 4, rgb += 3)
        image_cmyk_to_rgb(255 - light[0], 255 - light[1], 255 - light[2], 255 - light[3], rgb);
}

static void decode_rows(struct jpeg_decompress_struct *codec, ImageSink *sink) {
    const bool cmyk = codec->out_color_space == JCS_CMYK;
    // Allocated by libjpeg's pool, so that an error's jump does not lose it.
    JSAMPARRAY inks = cmyk ? codec->mem->alloc_sarray((j_common_ptr)codec, JPOOL_IMAGE,
                                                      codec->output_width * 4, 1)
                           : NULL;
    while (codec->output_scanline < codec->output_height) {
        jpeg_read_scanlines(codec, cmyk ? inks : &sink->row, 1);
        if (cmyk) inverted_row_to_rgb(inks[0], sink->row, (int)codec->output_width);
        sink->put(sink);
    }
}

static bool decode(struct jpeg_decompress_struct *codec, const uint8_t *bytes, size_t size,
                   const char *name, ImageSink *sink, Error *error) {
    jpeg_create_decompress(codec);
    codec->progress = &((Failure *)codec->err)->progress;
    codec->progress->progress_monitor = watch_scans;
    jpeg_mem_src(codec, bytes, size);
    jpeg_read_header(codec, TRUE);
    if (codec->num_components != 1 && codec->num_components != 3 && codec->num_components != 4)
        return error_set(error, "%s: a JPEG with %d components; expected 1, 3 or 4", name,
                         codec->num_components);
    if (!image_check_size(codec->image_width, codec->image_height, name, error)) return false;
    codec->out_color_space = codec->num_components == 4 ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(codec);
    sink->begin(sink, (int)codec->output_width, (int)codec->output_height);
    decode_rows(codec, sink);
    jpeg_finish_decompress(codec);
    return true;
}

bool jpeg_decode(const uint8_t *bytes, size_t size, const char *name, ImageSink *sink,
                 Error *error) {
    struct jpeg_decompress_struct codec = {0};
    Failure failure = {0};
    catch_failures(&failure, (j_common_ptr)&codec);
    bool decoded;
    if (setjmp(failure.jump) == 0) {
        decoded = decode(&codec, bytes, size, name, sink, error);
    } else {
        decoded = error_set(error, "%s: a damaged JPEG image: %s", name, failure.message);
    }
    jpeg_destroy_decompress(&codec);
    if (decoded && failure.cut_off)
        decoded = error_set(
            error, "%s: a damaged JPEG image: its data end early (a truncated file?)", name);
    return decoded;
}

static void encode(struct jpeg_compress_struct *codec, const Image *image, int quality,
                   unsigned char **bytes, unsigned long *size) {
    jpeg_create_compress(codec);
    jpeg_mem_dest(codec, bytes, size);
    codec->image_width = (JDIMENSION)image->width;
    codec->image_height = (JDIMENSION)image->height;
    codec->input_components = 3;
    codec->in_color_space = JCS_RGB;
    jpeg_set_defaults(codec);
    jpeg_set_quality(codec, quality, TRUE);
    jpeg_start_compress(codec, TRUE);
    while (codec->next_scanline < codec->image_height) {
        uint8_t *row = image->pixels + (size_t)codec->next_scanline * codec->image_width * 3;
        jpeg_write_scanlines(codec, &row, 1);
    }
    jpeg_finish_compress(codec);
}

bool image_encode_jpeg(const Image *image, int quality, void **bytes, size_t *size, Error *error) {
    struct jpeg_compress_struct codec = {0};
    Failure failure = {0};
    // libjpeg changes both between setjmp and a jump; memory, not registers, must hold them.
    struct {
        unsigned char *bytes;
        unsigned long size;
    } volatile encoded = {0};
    catch_failures(&failure, (j_common_ptr)&codec);
    bool is_encoded;
    if (setjmp(failure.jump) == 0) {
        encode(&codec, image, quality, (unsigned char **)&encoded.bytes,
               (unsigned long *)&encoded.size);
        is_encoded = true;
    } else {
        is_encoded = error_set(error, "an image could not be encoded as JPEG: %s", failure.message);
    }
    jpeg_destroy_compress(&codec);
    if (is_encoded) {
        *bytes = encoded.bytes;
        *size = encoded.size;
    } else {
        free(encoded.bytes);
    }
    return is_encoded;
}

bool image_write_jpeg(const char *path, const Image *image, int quality, Error *error) {
    void *bytes;
    size_t size;
    if (!image_encode_jpeg(image, quality, &bytes, &size, error))
        return error_context(error, "%s", path);
    bool written = output_whole_file(path, bytes, size, error);
    free(bytes);
    return written;
}
