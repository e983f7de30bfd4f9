// Windows bitmaps: 1, 4, 8, 16, 24 and 32 bits a pixel, bottom-up and top-down, run lengths, the
// colour masks that occur. [Microsoft: BITMAPINFOHEADER and its successors]
//
// Where the format is vague, as Pillow: what a delta skips is colour 0, a colour number without a
// colour is black, 5 bits become value * 255 / 31. Unlike it, 4 and 8 bits with a palette of black
// and white alone are colour numbers too (Pillow takes them for pixels of one bit), and the colours
// 0, 1, 2, ... of 4 bits as well.
#include "data/images/image_codecs.h"

#include <stdlib.h>
#include <string.h>

enum { FILE_HEADER = 14, CORE_HEADER = 12, INFO_HEADER = 40, MASKS_END = 52, ALPHA_END = 56 };
typedef enum Compression { RAW, RLE8, RLE4, BITFIELDS } Compression;

typedef struct Bitmap {
    const uint8_t *bytes;
    size_t size;
    const char *name;
    Error *error;
    uint32_t header, width, height, bits, compression;
    bool top_down;
    /// Where pixels begin.
    size_t data;
    uint32_t masks[4];
    /// BGR
    uint8_t palette[256][3];
} Bitmap;

static uint32_t number(const uint8_t *bytes, int size) {
    uint32_t value = 0;
    for (int i = 0; i < size; i++) value |= (uint32_t)bytes[i] << (8 * i);
    return value;
}

static bool cut_off(const Bitmap *bitmap) {
    return error_set(bitmap->error,
                     "%s: a damaged BMP image: its data end early (a truncated file?)",
                     bitmap->name);
}

static bool refuse(const Bitmap *bitmap, const char *what, uint32_t value) {
    return error_set(bitmap->error, "%s: a BMP image with %s %u, which is not read; save it as PNG",
                     bitmap->name, what, value);
}

// ---- header

static bool is_header_known(uint32_t header) {
    static const uint32_t known[] = {12, 40, 52, 56, 64, 108, 124};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (header == known[i]) return true;
    return false;
}

/// The masks follow a header of 40 bytes, *at then goes behind them, and are part of a longer one.
static bool read_masks(Bitmap *bitmap, size_t *at) {
    const uint8_t *masks = bitmap->bytes + FILE_HEADER + INFO_HEADER;
    if (bitmap->header < MASKS_END) *at = FILE_HEADER + MASKS_END;
    if (bitmap->size < *at) return false;
    for (int i = 0; i < 3; i++) bitmap->masks[i] = number(masks + 4 * i, 4);
    if (bitmap->header >= ALPHA_END) bitmap->masks[3] = number(masks + 12, 4);
    return true;
}

static bool are_masks_known(const Bitmap *bitmap) {
    static const struct {
        uint32_t bits, masks[4];
    } known[] = {{32, {0xff0000, 0xff00, 0xff, 0}},
                 {32, {0xff000000, 0xff0000, 0xff00, 0}},
                 {32, {0xff000000, 0xff00, 0xff, 0}},
                 {32, {0xff000000, 0xff0000, 0xff00, 0xff}},
                 {32, {0xff, 0xff00, 0xff0000, 0xff000000}},
                 {32, {0xff0000, 0xff00, 0xff, 0xff000000}},
                 {32, {0xff000000, 0xff00, 0xff, 0xff0000}},
                 {32, {0, 0, 0, 0}},
                 {24, {0xff0000, 0xff00, 0xff}},
                 {16, {0xf800, 0x7e0, 0x1f}},
                 {16, {0x7c00, 0x3e0, 0x1f}}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const size_t masks = bitmap->bits == 32 ? 4 : 3;
        if (known[i].bits == bitmap->bits &&
            memcmp(known[i].masks, bitmap->masks, masks * sizeof *bitmap->masks) == 0)
            return true;
    }
    return false;
}

static void usual_masks(Bitmap *bitmap) {
    static const uint32_t of_16[] = {0x7c00, 0x3e0, 0x1f}, of_24[] = {0xff0000, 0xff00, 0xff};
    memcpy(bitmap->masks, bitmap->bits == 16 ? of_16 : of_24, sizeof of_16);
}

/// A palette that begins 0, 1, 2, ... in grey goes on so, for Pillow, where it ends.
static void fill_greys(Bitmap *bitmap, uint32_t colours) {
    if (bitmap->bits != 8 || colours <= 2) return;
    for (uint32_t i = 0; i < 256; i++) {
        static const uint8_t none[3];
        const uint8_t grey[3] = {(uint8_t)i, (uint8_t)i, (uint8_t)i};
        if (memcmp(bitmap->palette[i], i < colours ? grey : none, 3) != 0) return;
    }
    for (uint32_t i = colours; i < 256; i++) memset(bitmap->palette[i], (int)i, 3);
}

/// Reads the colours behind the header; *at goes behind them.
static bool read_palette(Bitmap *bitmap, uint32_t colours, size_t *at) {
    const size_t entry = bitmap->header == CORE_HEADER ? 3 : 4;
    enum { MOST_COLOURS = 65536 };
    if (colours > MOST_COLOURS) return refuse(bitmap, "a number of colours of", colours);
    for (uint32_t i = 0; i < colours && i < 256; i++) {
        const size_t place = *at + i * entry;
        if (place + 3 > bitmap->size) return cut_off(bitmap);
        memcpy(bitmap->palette[i], bitmap->bytes + place, 3);
    }
    *at += colours * entry;
    fill_greys(bitmap, colours);
    return true;
}

static bool check_kind(Bitmap *bitmap) {
    static const uint32_t depths[] = {1, 4, 8, 16, 24, 32};
    bool known = false;
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++)
        known = known || bitmap->bits == depths[i];
    if (!known) return refuse(bitmap, "a pixel of bits:", bitmap->bits);
    const uint32_t run_bits = bitmap->compression == RLE8 ? 8 : 4;
    switch (bitmap->compression) {
    case RAW:
        usual_masks(bitmap);
        return true;
    case RLE8:
    case RLE4:
        return bitmap->bits == run_bits || refuse(bitmap, "runs and bits:", bitmap->bits);
    case BITFIELDS:
        return are_masks_known(bitmap) || refuse(bitmap, "masks for red", bitmap->masks[0]);
    default:
        return refuse(bitmap, "the compression", bitmap->compression);
    }
}

/// Width and height, of which a negative one means rows from the top.
static void read_sides(Bitmap *bitmap) {
    const uint8_t *header = bitmap->bytes + FILE_HEADER;
    const int bytes = bitmap->header == CORE_HEADER ? 2 : 4;
    bitmap->width = number(header + 4, bytes);
    bitmap->height = number(header + 4 + bytes, bytes);
    bitmap->bits = number(header + 6 + 2 * bytes, 2);
    bitmap->top_down = bytes == 4 && bitmap->height >> 24 == 0xff;
    if (bitmap->top_down) bitmap->height = -bitmap->height;
}

static bool read_header(Bitmap *bitmap) {
    const uint8_t *header = bitmap->bytes + FILE_HEADER;
    uint32_t colours = 0;
    if (bitmap->size < FILE_HEADER + 4) return cut_off(bitmap);
    bitmap->header = number(header, 4);
    if (!is_header_known(bitmap->header)) return refuse(bitmap, "a header of size", bitmap->header);
    if (bitmap->size < FILE_HEADER + bitmap->header) return cut_off(bitmap);
    size_t at = FILE_HEADER + bitmap->header;
    read_sides(bitmap);
    if (bitmap->header != CORE_HEADER) {
        bitmap->compression = number(header + 16, 4);
        colours = number(header + 32, 4);
    }
    if (!image_check_size(bitmap->width, bitmap->height, bitmap->name, bitmap->error)) return false;
    if (bitmap->compression == BITFIELDS && !read_masks(bitmap, &at)) return cut_off(bitmap);
    bitmap->data = number(bitmap->bytes + 10, 4);
    if (!check_kind(bitmap)) return false;
    const bool is_indexed = bitmap->bits <= 8, no_room = bitmap->data == at;
    if (colours == 0) colours = is_indexed ? 1u << bitmap->bits : 0;
    if (is_indexed && !read_palette(bitmap, colours, &at)) return false;
    // Some writers forget the palette when they say where the pixels begin, or say nothing.
    if (bitmap->data == 0 || (is_indexed && no_room)) bitmap->data = at;
    return true;
}

// ---- pixels

static uint8_t *row_of(const Bitmap *bitmap, const Image *image, uint32_t y) {
    const uint32_t from_top = bitmap->top_down ? y : bitmap->height - 1 - y;
    return image->pixels + 3 * (size_t)from_top * bitmap->width;
}

static void put_colour(const Bitmap *bitmap, unsigned index, uint8_t *rgb) {
    const uint8_t *bgr = bitmap->palette[index];
    rgb[0] = bgr[2], rgb[1] = bgr[1], rgb[2] = bgr[0];
}

/// The bits of a mask, scaled to a byte.
static uint8_t part(uint32_t pixel, uint32_t mask) {
    const int shift = __builtin_ctz(mask);
    return (uint8_t)(((pixel & mask) >> shift) * 255 / (mask >> shift));
}

static void put_masked(const Bitmap *bitmap, const uint8_t *pixel, uint8_t *rgb) {
    const uint32_t value = number(pixel, (int)bitmap->bits / 8);
    static const uint32_t without[] = {0xff0000, 0xff00, 0xff};
    const uint32_t *masks = bitmap->masks[0] ? bitmap->masks : without;
    for (int c = 0; c < 3; c++) rgb[c] = part(value, masks[c]);
}

static bool read_raw(const Bitmap *bitmap, Image *image) {
    const uint64_t bits = (uint64_t)bitmap->width * bitmap->bits, used = (bits + 7) / 8,
                   stride = (bits + 31) / 32 * 4,
                   needed = stride * (bitmap->height - 1) + used; // the last row needs no padding
    if (bitmap->data > bitmap->size || needed > bitmap->size - bitmap->data) return cut_off(bitmap);
    for (uint32_t y = 0; y < bitmap->height; y++) {
        const uint8_t *from = bitmap->bytes + bitmap->data + stride * y;
        uint8_t *to = row_of(bitmap, image, y);
        for (uint32_t x = 0; x < bitmap->width; x++, to += 3) {
            const size_t bit = (size_t)x * bitmap->bits;
            if (bitmap->bits > 8) {
                put_masked(bitmap, from + bit / 8, to);
                continue;
            }
            const unsigned shift = (unsigned)(8 - bitmap->bits - bit % 8);
            put_colour(bitmap, (from[bit / 8] >> shift) & ((1u << bitmap->bits) - 1), to);
        }
    }
    return true;
}

/// Colour numbers as they come out of the runs.
typedef struct Runs {
    const Bitmap *bitmap;
    size_t at;
    /// in the row, for runs that are too long for it
    uint32_t x;
    uint8_t *indices;
    size_t count, needed;
} Runs;

/// Appends `count` colours of which `packed` holds those of a run (`repeat`) or each.
static void put_indices(Runs *runs, const uint8_t *packed, size_t count, bool repeat) {
    const bool halves = runs->bitmap->compression == RLE4;
    for (size_t i = 0; i < count && runs->count < runs->needed; i++) {
        const uint8_t byte = packed[repeat ? 0 : halves ? i / 2 : i];
        runs->indices[runs->count++] = (uint8_t)(!halves      ? byte
                                                 : i % 2 == 0 ? byte >> 4
                                                              : byte & 15);
    }
}

static void skip(Runs *runs, size_t count) {
    const size_t left = runs->needed - runs->count;
    runs->count += count < left ? count : left; // they are 0
}

/// What stands behind a 0: false at the end of the picture or of the data.
static bool escape(Runs *runs, uint8_t code) {
    const Bitmap *bitmap = runs->bitmap;
    const uint32_t width = bitmap->width;
    const size_t left = bitmap->size - runs->at, room = runs->needed - runs->count;
    if (code == 0) {
        skip(runs, (width - runs->count % width) % width);
        runs->x = 0;
        return true;
    }
    if (code == 1) return false;
    if (code == 2) {
        if (left < 2) return false;
        const uint8_t *delta = bitmap->bytes + runs->at;
        skip(runs, delta[0] + (size_t)delta[1] * width);
        runs->x = (uint32_t)(runs->count % width);
        runs->at += 2;
        return true;
    }
    const size_t count = code < room ? code : room,
                 packed = bitmap->compression == RLE4 ? (count + 1) / 2 : count;
    if (left < packed) return false;
    put_indices(runs, bitmap->bytes + runs->at, count, false);
    runs->x += code;
    runs->at += packed;
    runs->at += runs->at % 2;
    return true;
}

static void read_runs(Runs *runs) {
    const Bitmap *bitmap = runs->bitmap;
    while (runs->count < runs->needed && runs->at < bitmap->size && bitmap->size - runs->at >= 2) {
        const uint8_t *pair = bitmap->bytes + runs->at;
        runs->at += 2;
        if (pair[0] == 0) {
            if (!escape(runs, pair[1])) return;
            continue;
        }
        // A run ends with its row.
        const uint32_t left = runs->x < bitmap->width ? bitmap->width - runs->x : 0;
        const uint32_t count = pair[0] < left ? pair[0] : left;
        put_indices(runs, pair + 1, count, true);
        runs->x += count;
    }
}

static bool read_run_lengths(const Bitmap *bitmap, Image *image) {
    const size_t pixels = (size_t)bitmap->width * bitmap->height;
    Runs runs = {.bitmap = bitmap, .at = bitmap->data, .needed = pixels};
    runs.indices = checked_calloc(pixels, 1);
    read_runs(&runs);
    for (size_t i = 0; i < runs.count; i++) {
        const uint32_t y = (uint32_t)(i / bitmap->width);
        put_colour(bitmap, runs.indices[i], row_of(bitmap, image, y) + 3 * (i % bitmap->width));
    }
    free(runs.indices);
    return runs.count == pixels || cut_off(bitmap);
}

bool bmp_decode(const uint8_t *bytes, size_t size, const char *name, Image *image, Error *error) {
    Bitmap bitmap = {.bytes = bytes, .size = size, .name = name, .error = error};
    if (!read_header(&bitmap)) return false;
    *image = image_new((int)bitmap.width, (int)bitmap.height);
    const bool has_runs = bitmap.compression == RLE8 || bitmap.compression == RLE4;
    const bool decoded = has_runs ? read_run_lengths(&bitmap, image) : read_raw(&bitmap, image);
    if (!decoded) image_free(image);
    return decoded;
}
