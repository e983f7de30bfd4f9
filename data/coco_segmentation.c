#include "data/coco_segmentation.h"

#include <stdlib.h>

bool coco_side_read(const json_t *item, const char *key, const char *what, int *side,
                    Error *error) {
    const json_t *value = json_object_get(item, key);
    int64_t number = 0;
    if (!json_whole_number(value, &number) || number < 1 || number > COCO_LARGEST_SIDE)
        return error_set(error, "the \"%s\" of %s is %s; expected 1 to %d pixels", key, what,
                         json_shown(value).text, COCO_LARGEST_SIDE);
    *side = (int)number;
    return true;
}

// ---- polygons

/// The corners of one polygon: a list of x, y, x, y, ... The caller frees them.
static double *read_points(const json_t *polygon, size_t number, int *num_points, Error *error) {
    const size_t count = json_array_size(polygon);
    if (!json_is_array(polygon) || count % 2 || count < 6 || count > INT32_MAX / 4) {
        error_set(error,
                  "polygon %zu is %s; expected a list of an even number of coordinates, 6 or more: "
                  "x, y, x, y, ...",
                  number, json_shown(polygon).text);
        return NULL;
    }
    double *points = checked_malloc(count * sizeof *points);
    for (size_t k = 0; k < count; k++) {
        const json_t *value = json_array_get(polygon, k);
        if (!json_is_number(value)) {
            error_set(error, "coordinate %zu of polygon %zu is %s; expected a number", k + 1,
                      number, json_shown(value).text);
            free(points);
            return NULL;
        }
        points[k] = json_number_value(value);
    }
    *num_points = (int)(count / 2);
    return points;
}

static bool read_polygons(const json_t *polygons, int height, int width, CocoMask *mask,
                          Error *error) {
    CocoMask all = coco_mask_empty(height, width);
    bool ok = json_array_size(polygons) > 0 || error_set(error, "no polygon in the segmentation");
    for (size_t i = 0; ok && i < json_array_size(polygons); i++) {
        int num_points = 0;
        CocoMask part;
        double *points = read_points(json_array_get(polygons, i), i + 1, &num_points, error);
        ok = points && coco_mask_from_polygon(points, num_points, height, width, &part, error);
        free(points);
        if (!ok) break;
        CocoMask before = all;
        all = coco_mask_union(&before, &part);
        coco_mask_free(&before);
        coco_mask_free(&part);
    }
    if (ok)
        *mask = all;
    else
        coco_mask_free(&all);
    return ok;
}

// ---- runs

static bool read_size(const json_t *runs, int *height, int *width) {
    const json_t *size = json_object_get(runs, "size");
    int64_t rows = 0, columns = 0;
    bool ok = json_array_size(size) == 2 && json_whole_number(json_array_get(size, 0), &rows) &&
              json_whole_number(json_array_get(size, 1), &columns) && rows > 0 && columns > 0 &&
              rows <= COCO_LARGEST_SIDE && columns <= COCO_LARGEST_SIDE;
    *height = (int)rows;
    *width = (int)columns;
    return ok;
}

static bool read_count_list(const json_t *counts, int height, int width, CocoMask *mask,
                            Error *error) {
    size_t count = json_array_size(counts);
    if (count > (size_t)height * (size_t)width + 1)
        return error_set(error, "%zu runs, more than there are pixels", count);
    uint32_t *values = checked_malloc((count + 1) * sizeof *values);
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        const json_t *item = json_array_get(counts, i);
        int64_t value = -1;
        if (!json_whole_number(item, &value) || value < 0 || value > (int64_t)height * width)
            ok = error_set(error, "run %zu is %s; expected a number of pixels", i + 1,
                           json_shown(item).text);
        values[i] = (uint32_t)value;
    }
    ok = ok && coco_mask_from_counts(values, (int)count, height, width, mask, error);
    free(values);
    return ok;
}

static bool read_counts(const json_t *runs, int height, int width, CocoMask *mask, Error *error) {
    const json_t *counts = json_object_get(runs, "counts");
    if (json_is_string(counts))
        return coco_mask_from_string(json_string_value(counts), height, width, mask, error);
    if (json_is_array(counts)) return read_count_list(counts, height, width, mask, error);
    return error_set(error, "\"counts\" is %s; expected a string or a list",
                     json_shown(counts).text);
}

bool coco_runs_read(const json_t *runs, CocoMask *mask, Error *error) {
    int height, width;
    if (!json_is_object(runs))
        return error_set(error, "a mask is %s; expected an object of \"size\" and \"counts\"",
                         json_shown(runs).text);
    if (!read_size(runs, &height, &width))
        return error_set(error, "the mask's \"size\" is %s; expected its height and width, 1 to %d",
                         json_shown(json_object_get(runs, "size")).text, COCO_LARGEST_SIDE);
    return read_counts(runs, height, width, mask, error);
}

json_t *coco_runs_write(const CocoMask *mask) {
    char *counts = coco_mask_to_string(mask);
    json_t *runs = json_pack("{s:[i,i],s:s}", "size", mask->height, mask->width, "counts", counts);
    free(counts);
    return runs;
}

static bool read_runs_of(const json_t *runs, int height, int width, CocoMask *mask, Error *error) {
    int rows, columns;
    if (!read_size(runs, &rows, &columns) || rows != height || columns != width)
        return error_set(error, "the mask's \"size\" is %s; expected its image's, [%d,%d]",
                         json_shown(json_object_get(runs, "size")).text, height, width);
    return read_counts(runs, height, width, mask, error);
}

bool coco_segmentation_read(const json_t *segmentation, int height, int width, CocoMask *mask,
                            Error *error) {
    if (json_is_array(segmentation)) return read_polygons(segmentation, height, width, mask, error);
    if (json_is_object(segmentation)) return read_runs_of(segmentation, height, width, mask, error);
    return error_set(error, "\"segmentation\" is %s; expected polygons or runs",
                     json_shown(segmentation).text);
}
