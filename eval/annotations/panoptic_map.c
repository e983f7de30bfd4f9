#include "data/images/image.h"
#include "eval/annotations/panoptic.h"

#include <stdlib.h>

void panoptic_map_free(PanopticMap *map) {
    free(map->ids);
    *map = (PanopticMap){0};
}

bool panoptic_map_read(const char *path, int height, int width, PanopticMap *map, Error *error) {
    Image image;
    *map = (PanopticMap){0};
    if (!image_read(path, &image, error)) return false;
    bool ok = (image.height == height && image.width == width) ||
              error_set(error, "%s: %d x %d pixels; expected its image's, %d x %d", path,
                        image.width, image.height, width, height);
    if (ok) {
        size_t pixels = (size_t)height * (size_t)width;
        *map = (PanopticMap){height, width, checked_malloc(pixels * sizeof *map->ids)};
        for (size_t i = 0; i < pixels; i++) {
            const uint8_t *colour = image.pixels + 3 * i;
            map->ids[i] = colour[0] | (uint32_t)colour[1] << 8 | (uint32_t)colour[2] << 16;
        }
    }
    image_free(&image);
    return ok;
}

static int compare_ids(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/// Ids are few and pixels many: a pixel is looked up only where the id changes along its row.
static bool check_segments(const PanopticMap *map, const PanopticImage *image, Error *error) {
    size_t count = (size_t)image->num_segments, pixels = (size_t)map->height * (size_t)map->width;
    uint32_t *ids = checked_malloc((count + 1) * sizeof *ids), previous = 0;
    bool *seen = checked_calloc(count + 1, sizeof *seen), ok = true;
    for (size_t i = 0; i < count; i++) ids[i] = image->segments[i].id;
    qsort(ids, count, sizeof *ids, compare_ids);
    for (size_t i = 0; ok && i < pixels; i++) {
        if (map->ids[i] == previous) continue;
        previous = map->ids[i];
        if (!previous) continue;
        const uint32_t *found = bsearch(&previous, ids, count, sizeof *ids, compare_ids);
        if (found)
            seen[found - ids] = true;
        else
            ok = error_set(error,
                           "the pixel of row %zu, column %zu has segment %u, which the "
                           "annotations of image %s do not list",
                           i / (size_t)map->width, i % (size_t)map->width, previous,
                           quote(image->id).text);
    }
    for (size_t i = 0; ok && i < count; i++)
        if (!seen[i])
            ok = error_set(error, "no pixel has segment %u, which the annotations of image %s list",
                           ids[i], quote(image->id).text);
    free(ids);
    free(seen);
    return ok;
}

bool panoptic_map_read_annotated(const char *folder, const PanopticImage *image, PanopticMap *map,
                                 Error *error) {
    *map = (PanopticMap){0};
    if (!image->map_name)
        return error_set(error, "image %s has no panoptic annotation", quote(image->id).text);
    char *path = format_string("%s/%s", folder, image->map_name);
    bool ok = panoptic_map_read(path, image->height, image->width, map, error) &&
              (check_segments(map, image, error) || error_context(error, "%s", path));
    free(path);
    if (!ok) panoptic_map_free(map);
    return ok;
}

uint32_t panoptic_map_at(const PanopticMap *map, int row, int column) {
    CHECK(row >= 0 && column >= 0 && row < map->height && column < map->width,
          "pixel %d, %d of a map of %d x %d", row, column, map->height, map->width);
    return map->ids[(size_t)row * (size_t)map->width + (size_t)column];
}

CocoMask panoptic_map_mask(const PanopticMap *map, const uint32_t *ids, int num_ids) {
    size_t pixels = (size_t)map->height * (size_t)map->width;
    uint8_t *bitmap = checked_malloc(pixels);
    for (size_t i = 0; i < pixels; i++) {
        // Neighbours mostly are of one segment.
        if (i && map->ids[i] == map->ids[i - 1]) {
            bitmap[i] = bitmap[i - 1];
            continue;
        }
        bitmap[i] = 0;
        for (int k = 0; k < num_ids; k++) bitmap[i] |= map->ids[i] == ids[k];
    }
    CocoMask mask = coco_mask_from_bitmap(bitmap, map->height, map->width);
    free(bitmap);
    return mask;
}
