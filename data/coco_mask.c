// The formats are pycocotools' (maskApi): columns first; a string packs the difference of each run
// to the one two before it, five bits a character, from the character '0' up.
#include "data/coco_mask.h"

#include <stdlib.h>
#include <string.h>

enum { BITS_PER_CHARACTER = 5, CONTINUES = 0x20, SIGN = 0x10, FIRST_CHARACTER = 48 };

void coco_mask_free(CocoMask *mask) {
    free(mask->counts);
    *mask = (CocoMask){0};
}

static CocoMask with_capacity(int height, int width, size_t capacity) {
    return (CocoMask){height, width, checked_malloc((capacity ? capacity : 1) * sizeof(uint32_t)),
                      0};
}

/// Gives back the memory that no run takes.
static void fit(CocoMask *mask) {
    size_t count = mask->num_counts ? (size_t)mask->num_counts : 1;
    mask->counts = checked_realloc(mask->counts, count * sizeof *mask->counts);
}

CocoMask coco_mask_empty(int height, int width) {
    CocoMask mask = with_capacity(height, width, 1);
    mask.counts[mask.num_counts++] = (uint32_t)height * (uint32_t)width;
    return mask;
}

CocoMask coco_mask_copy(const CocoMask *mask) {
    CocoMask copy = with_capacity(mask->height, mask->width, (size_t)mask->num_counts);
    memcpy(copy.counts, mask->counts, (size_t)mask->num_counts * sizeof *copy.counts);
    copy.num_counts = mask->num_counts;
    return copy;
}

CocoMask coco_mask_from_bitmap(const uint8_t *bitmap, int height, int width) {
    CocoMask mask = with_capacity(height, width, (size_t)height * (size_t)width + 1);
    bool inside = false;
    uint32_t run = 0;
    for (int x = 0; x < width; x++)
        for (int y = 0; y < height; y++) {
            if ((bitmap[(size_t)y * (size_t)width + (size_t)x] != 0) != inside) {
                mask.counts[mask.num_counts++] = run;
                run = 0;
                inside = !inside;
            }
            run++;
        }
    mask.counts[mask.num_counts++] = run;
    fit(&mask);
    return mask;
}

void coco_mask_paint(const CocoMask *mask, uint8_t *bitmap) {
    size_t position = 0, height = (size_t)mask->height, width = (size_t)mask->width;
    for (int i = 0; i < mask->num_counts; i++)
        for (uint32_t k = 0; k < mask->counts[i]; k++, position++)
            if (i & 1) bitmap[position % height * width + position / height] = 1;
}

void coco_mask_to_bitmap(const CocoMask *mask, uint8_t *bitmap) {
    memset(bitmap, 0, (size_t)mask->height * (size_t)mask->width);
    coco_mask_paint(mask, bitmap);
}

int64_t coco_mask_area(const CocoMask *mask) {
    int64_t area = 0;
    for (int i = 1; i < mask->num_counts; i += 2) area += mask->counts[i];
    return area;
}

/// Walks two run lists side by side: each step is as long as neither changes.
typedef struct RunWalk {
    const CocoMask *a, *b;
    int i, j;
    uint32_t left_a, left_b;
} RunWalk;

static RunWalk begin_walk(const CocoMask *a, const CocoMask *b) {
    CHECK(a->height == b->height && a->width == b->width, "masks of %dx%d and %dx%d", a->height,
          a->width, b->height, b->width);
    return (RunWalk){
        a, b, 0, 0, a->num_counts ? a->counts[0] : 0, b->num_counts ? b->counts[0] : 0};
}

/// False at the end. *length pixels are inside a, b as told; it may be 0.
static bool next_run(RunWalk *walk, uint32_t *length, bool *inside_a, bool *inside_b) {
    if (walk->i == walk->a->num_counts || walk->j == walk->b->num_counts) return false;
    uint32_t step = walk->left_a < walk->left_b ? walk->left_a : walk->left_b;
    *length = step;
    *inside_a = walk->i & 1;
    *inside_b = walk->j & 1;
    walk->left_a -= step;
    walk->left_b -= step;
    if (!walk->left_a && ++walk->i < walk->a->num_counts) walk->left_a = walk->a->counts[walk->i];
    if (!walk->left_b && ++walk->j < walk->b->num_counts) walk->left_b = walk->b->counts[walk->j];
    return true;
}

int64_t coco_mask_intersection(const CocoMask *a, const CocoMask *b) {
    RunWalk walk = begin_walk(a, b);
    int64_t common = 0;
    uint32_t length;
    bool inside_a, inside_b;
    while (next_run(&walk, &length, &inside_a, &inside_b))
        if (inside_a && inside_b) common += length;
    return common;
}

CocoMask coco_mask_union(const CocoMask *a, const CocoMask *b) {
    RunWalk walk = begin_walk(a, b);
    CocoMask mask =
        with_capacity(a->height, a->width, (size_t)a->num_counts + (size_t)b->num_counts + 1);
    uint32_t length;
    bool inside_a, inside_b;
    mask.counts[0] = 0;
    mask.num_counts = 1;
    while (next_run(&walk, &length, &inside_a, &inside_b)) {
        const bool inside = !(mask.num_counts & 1);
        if (length && (inside_a || inside_b) != inside) mask.counts[mask.num_counts++] = 0;
        mask.counts[mask.num_counts - 1] += length;
    }
    fit(&mask);
    return mask;
}

double coco_mask_iou(const CocoMask *a, const CocoMask *b) {
    int64_t common = coco_mask_intersection(a, b),
            all = coco_mask_area(a) + coco_mask_area(b) - common;
    return all ? (double)common / (double)all : 0.0;
}

bool coco_mask_contains(const CocoMask *mask, int row, int column) {
    if (row < 0 || column < 0 || row >= mask->height || column >= mask->width) return false;
    int64_t wanted = (int64_t)column * mask->height + row, position = 0;
    for (int i = 0; i < mask->num_counts; i++) {
        position += mask->counts[i];
        if (wanted < position) return i & 1;
    }
    return false;
}

void coco_mask_box(const CocoMask *mask, double box[4]) {
    int64_t position = 0, x0 = mask->width, y0 = mask->height, x1 = -1, y1 = -1;
    for (int i = 0; i < mask->num_counts; position += mask->counts[i++]) {
        if (!(i & 1) || !mask->counts[i]) continue;
        int64_t first = position, last = position + mask->counts[i] - 1;
        int64_t first_x = first / mask->height, last_x = last / mask->height;
        int64_t top = first % mask->height, bottom = last % mask->height;
        if (first_x < last_x) top = 0, bottom = mask->height - 1;
        if (first_x < x0) x0 = first_x;
        if (last_x > x1) x1 = last_x;
        if (top < y0) y0 = top;
        if (bottom > y1) y1 = bottom;
    }
    if (x1 < 0) x0 = y0 = 0, x1 = y1 = -1;
    box[0] = (double)x0, box[1] = (double)y0, box[2] = (double)(x1 - x0 + 1),
    box[3] = (double)(y1 - y0 + 1);
}

char *coco_mask_to_string(const CocoMask *mask) {
    char *text = checked_malloc((size_t)mask->num_counts * 8 + 1), *out = text;
    for (int i = 0; i < mask->num_counts; i++) {
        int64_t value = mask->counts[i];
        if (i > 2) value -= mask->counts[i - 2];
        bool more = true;
        while (more) {
            int character = (int)(value & 0x1f);
            value >>= BITS_PER_CHARACTER;
            more = (character & SIGN) ? value != -1 : value != 0;
            *out++ = (char)((more ? character | CONTINUES : character) + FIRST_CHARACTER);
        }
    }
    *out = 0;
    return text;
}

/// One number of the compressed form. Advances *text; false if it is not one.
static bool read_number(const char **text, int64_t *value) {
    int shift = 0;
    *value = 0;
    for (;;) {
        int character = (unsigned char)**text - FIRST_CHARACTER;
        if (character < 0 || character > 0x3f || shift > 35) return false;
        (*text)++;
        *value |= (int64_t)(character & 0x1f) << shift;
        shift += BITS_PER_CHARACTER;
        if (character & CONTINUES) continue;
        if (character & SIGN) *value |= -((int64_t)1 << shift);
        return true;
    }
}

static bool check_total(CocoMask *mask, int64_t total, Error *error) {
    if (total == (int64_t)mask->height * mask->width) {
        fit(mask);
        return true;
    }
    error_set(error, "the runs of a mask add up to %lld pixels, expected %d x %d", (long long)total,
              mask->height, mask->width);
    coco_mask_free(mask);
    return false;
}

bool coco_mask_from_string(const char *text, int height, int width, CocoMask *mask, Error *error) {
    const size_t length = strlen(text);
    if (length > INT32_MAX) return error_set(error, "a mask of %zu characters", length);
    *mask = with_capacity(height, width, length);
    int64_t total = 0;
    while (*text) {
        int64_t value;
        bool readable = read_number(&text, &value);
        int n = mask->num_counts;
        if (readable && n > 2) value += mask->counts[n - 2];
        if (!readable || value < 0 || value > (int64_t)height * width) {
            coco_mask_free(mask);
            return error_set(error, "run %d of a compressed mask is not a valid run length", n);
        }
        mask->counts[mask->num_counts++] = (uint32_t)value;
        total += value;
    }
    return check_total(mask, total, error);
}

bool coco_mask_from_counts(const uint32_t *counts, int num_counts, int height, int width,
                           CocoMask *mask, Error *error) {
    *mask = with_capacity(height, width, (size_t)num_counts);
    int64_t total = 0;
    for (int i = 0; i < num_counts; i++) total += mask->counts[i] = counts[i];
    mask->num_counts = num_counts;
    return check_total(mask, total, error);
}
