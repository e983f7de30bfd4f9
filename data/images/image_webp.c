// Lossy, lossless, with alpha, and the first frame of an animation on its black canvas. Colours
// beneath full transparency are those of the file, as Pillow keeps them.
#include "data/images/image_codecs.h"

#include <string.h>
#include <webp/decode.h>
#include <webp/demux.h>

static bool damaged(const char *name, const char *reason, Error *error) {
    return error_set(error, "%s: a damaged WebP image%s", name, reason);
}

static bool decode_frame(const WebPIterator *frame, const char *name, Image *image, Error *error) {
    WebPDecoderConfig config;
    const size_t stride = 3 * (size_t)image->width,
                 place = (size_t)frame->y_offset * stride + 3 * (size_t)frame->x_offset;
    if (!WebPInitDecoderConfig(&config))
        return error_set(error, "%s: the WebP library has another version than its header", name);
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA = (WebPRGBABuffer){.rgba = image->pixels + place,
                                            .stride = (int)stride,
                                            .size = (size_t)image->height * stride - place};
    switch (WebPDecode(frame->fragment.bytes, frame->fragment.size, &config)) {
    case VP8_STATUS_OK:
        return true;
    case VP8_STATUS_OUT_OF_MEMORY:
        return error_set(error, "%s: no memory to decode the WebP image", name);
    case VP8_STATUS_SUSPENDED:
    case VP8_STATUS_NOT_ENOUGH_DATA:
        return damaged(name, ": its data end early (a truncated file?)", error);
    default:
        return damaged(name, "", error);
    }
}

/// Whether the frame lies on the canvas and its pixels are as many as it says.
static bool is_sound(const WebPIterator *frame, const Image *image) {
    int width, height;
    return frame->x_offset >= 0 && frame->y_offset >= 0 && frame->width > 0 && frame->height > 0 &&
           frame->width <= image->width - frame->x_offset &&
           frame->height <= image->height - frame->y_offset &&
           WebPGetInfo(frame->fragment.bytes, frame->fragment.size, &width, &height) &&
           width == frame->width && height == frame->height;
}

static bool decode(const WebPDemuxer *demuxer, const char *name, Image *image, Error *error) {
    const uint64_t width = WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_WIDTH),
                   height = WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_HEIGHT);
    WebPIterator frame;
    if (!image_check_size(width, height, name, error)) return false;
    if (!WebPDemuxGetFrame(demuxer, 1, &frame)) return damaged(name, ": it has no frame", error);
    *image = image_new((int)width, (int)height);
    bool done;
    if (is_sound(&frame, image)) {
        if (frame.width < image->width || frame.height < image->height)
            memset(image->pixels, 0, 3 * (size_t)width * (size_t)height);
        done = decode_frame(&frame, name, image, error);
    } else {
        done = damaged(name, ": its frame does not fit its canvas", error);
    }
    WebPDemuxReleaseIterator(&frame);
    return done;
}

bool webp_decode(const uint8_t *bytes, size_t size, const char *name, Image *image, Error *error) {
    const WebPData data = {bytes, size};
    WebPDemuxState state;
    WebPDemuxer *demuxer = WebPDemuxPartial(&data, &state);
    bool decoded;
    if (demuxer && state == WEBP_DEMUX_DONE)
        decoded = decode(demuxer, name, image, error);
    else
        decoded = damaged(
            name, state == WEBP_DEMUX_PARSE_ERROR ? "" : ": its data end early (a truncated file?)",
            error);
    WebPDemuxDelete(demuxer);
    if (!decoded) image_free(image);
    return decoded;
}
