// The first frame, as Pillow shows it: on a canvas that holds screen and frame, filled with the
// frame's transparent colour or with colour 0. The background colour of the file is not used.
#include "data/images/image_codecs.h"

#include <gif_lib.h>
#include <stdlib.h>
#include <string.h>

typedef struct Source {
    const uint8_t *next;
    size_t left;
} Source;

static int read_bytes(GifFileType *gif, GifByteType *target, int count) {
    Source *source = gif->UserData;
    size_t taken = (size_t)count < source->left ? (size_t)count : source->left;
    memcpy(target, source->next, taken);
    source->next += taken;
    source->left -= taken;
    return (int)taken;
}

/// Reads an extension; sets *transparent if it is one that says so.
static bool read_extension(GifFileType *gif, int *transparent) {
    enum { HAS_TRANSPARENT = 1 };
    int code;
    GifByteType *block; // the block's length, then its bytes
    if (DGifGetExtension(gif, &code, &block) == GIF_ERROR) return false;
    if (code == GRAPHICS_EXT_FUNC_CODE && block && block[0] >= 4 && block[1] & HAS_TRANSPARENT)
        *transparent = block[4];
    while (block)
        if (DGifGetExtensionNext(gif, &block) == GIF_ERROR) return false;
    return true;
}

/// Reads up to the first frame's pixels.
static bool find_frame(GifFileType *gif, int *transparent, bool *is_there) {
    GifRecordType type;
    *is_there = false;
    while (!*is_there) {
        if (DGifGetRecordType(gif, &type) == GIF_ERROR) return false;
        if (type == TERMINATE_RECORD_TYPE) return true;
        if (type == EXTENSION_RECORD_TYPE && !read_extension(gif, transparent)) return false;
        if (type == IMAGE_DESC_RECORD_TYPE) {
            if (DGifGetImageDesc(gif) == GIF_ERROR) return false;
            *is_there = true;
        }
    }
    return true;
}

/// palette: [256][3]. Without one, and where it is too short, as Pillow: grey, and black.
static void fill_palette(const GifFileType *gif, uint8_t (*palette)[3]) {
    const ColorMapObject *map = gif->Image.ColorMap ? gif->Image.ColorMap : gif->SColorMap;
    const int count = map ? map->ColorCount : 0;
    bool is_grey = true; // so far the colours are their numbers
    for (int i = 0; i < count; i++) {
        const GifColorType *colour = &map->Colors[i];
        is_grey = is_grey && colour->Red == i && colour->Green == i && colour->Blue == i;
    }
    for (int i = 0; i < 256; i++) {
        if (is_grey)
            memset(palette[i], i, 3);
        else if (i >= count)
            memset(palette[i], 0, 3);
        else
            memcpy(palette[i], &map->Colors[i], 3);
    }
}

_Static_assert(sizeof(GifColorType) == 3, "red, green, blue");

static void put_row(const GifFileType *gif, const uint8_t *indices, uint8_t (*palette)[3],
                    Image *image, int y) {
    const GifImageDesc *frame = &gif->Image;
    uint8_t *row =
        image->pixels + 3 * ((size_t)(frame->Top + y) * (size_t)image->width + (size_t)frame->Left);
    for (int x = 0; x < frame->Width; x++) memcpy(row + 3 * (size_t)x, palette[indices[x]], 3);
}

static bool read_rows(GifFileType *gif, uint8_t (*palette)[3], Image *image) {
    static const int first[] = {0, 4, 2, 1}, step[] = {8, 8, 4, 2};
    const int passes = gif->Image.Interlace ? 4 : 1;
    uint8_t *indices = checked_malloc((size_t)gif->Image.Width + 1);
    bool done = true;
    for (int pass = 0; done && pass < passes; pass++) {
        const int stride = passes > 1 ? step[pass] : 1;
        for (int y = first[pass]; done && y < gif->Image.Height; y += stride) {
            done = DGifGetLine(gif, indices, gif->Image.Width) != GIF_ERROR;
            if (done) put_row(gif, indices, palette, image, y);
        }
    }
    free(indices);
    return done;
}

static void fill(Image *image, const uint8_t *colour) {
    const size_t row = 3 * (size_t)image->width;
    for (int x = 0; x < image->width; x++) memcpy(image->pixels + 3 * (size_t)x, colour, 3);
    for (int y = 1; y < image->height; y++)
        memcpy(image->pixels + (size_t)y * row, image->pixels, row);
}

static int larger(int a, int b) { return a > b ? a : b; }

static bool damaged(const GifFileType *gif, const Source *source, const char *name, Error *error) {
    if (source->left == 0)
        return error_set(error, "%s: a damaged GIF image: its data end early (a truncated file?)",
                         name);
    const char *reason = gif ? GifErrorString(gif->Error) : NULL;
    return error_set(error, "%s: a damaged GIF image: %s", name, reason ? reason : "its header");
}

static bool decode(GifFileType *gif, const Source *source, const char *name, Image *image,
                   Error *error) {
    uint8_t palette[256][3];
    int transparent = 0;
    bool is_there;
    if (!find_frame(gif, &transparent, &is_there)) return damaged(gif, source, name, error);
    if (!is_there) return error_set(error, "%s: a GIF file without an image", name);
    const GifImageDesc *frame = &gif->Image;
    const int width = larger(gif->SWidth, frame->Left + frame->Width),
              height = larger(gif->SHeight, frame->Top + frame->Height);
    if (!image_check_size((uint64_t)width, (uint64_t)height, name, error)) return false;
    if (frame->Width == 0 || frame->Height == 0)
        return error_set(error, "%s: the first image of the GIF file has no pixels", name);
    fill_palette(gif, palette);
    *image = image_new(width, height);
    fill(image, palette[transparent]);
    return read_rows(gif, palette, image) || damaged(gif, source, name, error);
}

bool gif_decode(const uint8_t *bytes, size_t size, const char *name, Image *image, Error *error) {
    Source source = {bytes, size};
    int code;
    GifFileType *gif = DGifOpen(&source, read_bytes, &code);
    bool decoded =
        gif ? decode(gif, &source, name, image, error) : damaged(NULL, &source, name, error);
    if (gif) DGifCloseFile(gif, &code);
    if (!decoded) image_free(image);
    return decoded;
}
