#include "data/coco_segmentation.h"
#include "eval/annotations/regions_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void regions_free(Regions *regions) {
    for (int i = 0; i < regions->num_images; i++) {
        ImageRegions *image = &regions->images[i];
        for (int k = 0; k < image->num_regions; k++) coco_mask_free(&image->regions[k].mask);
        free(image->regions);
        free(image->image_id);
    }
    free(regions->images);
    json_decref(regions->image_ids);
    *regions = (Regions){0};
}

const ImageRegions *regions_find(const Regions *regions, const char *image_id) {
    const json_t *index = json_object_get(regions->image_ids, image_id);
    return index ? &regions->images[json_integer_value(index)] : NULL;
}

const Region *regions_at(const ImageRegions *image, int row, int column) {
    for (int i = 0; i < image->num_regions; i++)
        if (coco_mask_contains(&image->regions[i].mask, row, column)) return &image->regions[i];
    return NULL;
}

// ---- making them

/// Whether a list that doubles its room is full.
static bool is_full(int count) { return !(count & (count - 1)); }

int regions_add_image(RegionReader *reader, const char *id) {
    Regions *out = reader->out;
    int index = out->num_images;
    if (!json_remember_id(out->image_ids, id, index)) return -1;
    if (is_full(index)) {
        size_t room = 2 * (size_t)index + 1;
        out->images = checked_realloc(out->images, room * sizeof *out->images);
        reader->sizes = checked_realloc(reader->sizes, room * sizeof *reader->sizes);
    }
    out->images[out->num_images++] = (ImageRegions){.image_id = checked_strdup(id)};
    reader->sizes[index][0] = reader->sizes[index][1] = 0;
    return index;
}

bool regions_add(RegionReader *reader, int index, CocoMask *mask, double score, Error *error) {
    ImageRegions *image = &reader->out->images[index];
    int *size = reader->sizes[index];
    if (!size[0]) {
        size[0] = mask->height;
        size[1] = mask->width;
    }
    bool ok = (mask->height == size[0] && mask->width == size[1]) ||
              error_set(error, "a mask of %d x %d pixels in an image of %d x %d", mask->width,
                        mask->height, size[1], size[0]);
    ok = ok && (isfinite(score) || error_set(error, "a score of %g", score));
    if (!ok) {
        coco_mask_free(mask);
        return false;
    }
    if (is_full(image->num_regions))
        image->regions = checked_realloc(image->regions, (2 * (size_t)image->num_regions + 1) *
                                                             sizeof *image->regions);
    image->regions[image->num_regions] = (Region){*mask, score, image->num_regions};
    image->num_regions++;
    return true;
}

static int by_score(const void *a, const void *b) {
    const Region *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->position - y->position;
}

static bool use_image(void *context, const json_t *item, size_t number, Error *error) {
    RegionReader *reader = context;
    char *id = json_id(json_object_get(item, "id")), what[sizeof(Quoted) + 8];
    if (!id)
        return error_set(error,
                         "number %zu of \"images\" is %s; expected \"id\", \"height\" and "
                         "\"width\"",
                         number + 1, json_shown(item).text);
    snprintf(what, sizeof what, "image %s", quote(id).text);
    int index = regions_add_image(reader, id);
    free(id);
    if (index < 0) return error_set(error, "%s occurs twice", what);
    return coco_side_read(item, "height", what, &reader->sizes[index][0], error) &&
           coco_side_read(item, "width", what, &reader->sizes[index][1], error);
}

static bool read_images(RegionReader *reader, const char *path, Error *error) {
    const JsonList images = {"images", use_image};
    reader->has_sizes = true;
    return json_file_read_lists(path, &images, 1, reader, error) &&
           (reader->out->num_images > 0 ||
            error_set(error, "%s: there is no image in \"images\"", path));
}

static bool read_regions(RegionReader *reader, const char *path, Error *error) {
    const char *dot = strrchr(path, '.');
    if (dot && !strcmp(dot, ".json")) return regions_read_results(reader, path, error);
    if (!dot || (strcmp(dot, ".pkl") != 0 && strcmp(dot, ".pickle") != 0 && strcmp(dot, ".p") != 0))
        return error_set(error, "%s: expected COCO results (.json) or a pickle (.pkl) of regions",
                         path);
    if (!reader->has_sizes)
        return error_set(error,
                         "%s: a pickle has its entries in the order of a file of images, which "
                         "must be given",
                         path);
    return regions_read_pickle(reader, path, error);
}

bool regions_read(const char *path, const char *images_path, Regions *out, Error *error) {
    *out = (Regions){.image_ids = json_object()};
    RegionReader reader = {.out = out};
    bool ok = (!images_path || read_images(&reader, images_path, error)) &&
              read_regions(&reader, path, error);
    free(reader.sizes);
    for (int i = 0; ok && i < out->num_images; i++)
        if (out->images[i].num_regions)
            qsort(out->images[i].regions, (size_t)out->images[i].num_regions, sizeof(Region),
                  by_score);
    if (!ok) regions_free(out);
    return ok;
}
