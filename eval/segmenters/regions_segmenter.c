// Masks that another program has found beforehand.
#include "eval/annotations/panoptic.h"
#include "eval/annotations/regions.h"
#include "eval/segmenters/segmenter.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// ---- a list of regions per image

typedef struct RegionsSegmenter {
    Segmenter base;
    char *path;
    Regions regions;
    /// of the picture that was last seen
    const ImageRegions *image;
} RegionsSegmenter;

static bool see_regions(Segmenter *segmenter, const Image *picture, const char *image_id,
                        Error *error) {
    RegionsSegmenter *self = (RegionsSegmenter *)segmenter;
    self->image = regions_find(&self->regions, image_id);
    for (int i = 0; self->image && i < self->image->num_regions; i++) {
        const CocoMask *mask = &self->image->regions[i].mask;
        if (mask->height != picture->height || mask->width != picture->width)
            return error_set(error,
                             "%s: region %d of image %s is a mask of %d x %d, but the picture has "
                             "%d x %d pixels",
                             self->path, self->image->regions[i].position, image_id, mask->width,
                             mask->height, picture->width, picture->height);
    }
    return true;
}

static bool take_region(Segmenter *segmenter, const SegmentPrompt *prompt, Segments *segments,
                        Error *error) {
    const RegionsSegmenter *self = (const RegionsSegmenter *)segmenter;
    const Region *region =
        self->image ? regions_at(self->image, prompt->point.row, prompt->point.column) : NULL;
    (void)error;
    *segments = (Segments){0};
    if (region)
        segments->items[segments->count++] =
            (SegmentMask){coco_mask_copy(&region->mask), region->score};
    return true;
}

static void close_regions(Segmenter *segmenter) {
    RegionsSegmenter *self = (RegionsSegmenter *)segmenter;
    regions_free(&self->regions);
    free(self->path);
    free(self);
}

static Segmenter *open_regions(const char *path, const char *images_path, Error *error) {
    Regions regions;
    if (!regions_read(path, images_path, &regions, error)) return NULL;
    RegionsSegmenter *self = checked_calloc(1, sizeof *self);
    *self = (RegionsSegmenter){{"regions", see_regions, take_region, close_regions},
                               format_string("%s", path),
                               regions,
                               NULL};
    return &self->base;
}

// ---- a panoptic map per image

typedef struct PanopticSegmenter {
    Segmenter base;
    char *folder;
    PanopticMap map;
} PanopticSegmenter;

/// "<folder>/<name>.png": with twelve digits, as COCO names its files, or the id as it is.
static char *map_path(const char *folder, const char *image_id) {
    struct stat about;
    char *path = format_string("%s/%s.png", folder, image_id);
    if (stat(path, &about) == 0 || strspn(image_id, "0123456789") != strlen(image_id)) return path;
    free(path);
    return format_string("%s/%012lld.png", folder, atoll(image_id));
}

static bool see_map(Segmenter *segmenter, const Image *picture, const char *image_id,
                    Error *error) {
    PanopticSegmenter *self = (PanopticSegmenter *)segmenter;
    char *path = map_path(self->folder, image_id);
    panoptic_map_free(&self->map);
    self->map = (PanopticMap){0};
    bool ok = panoptic_map_read(path, picture->height, picture->width, &self->map, error);
    free(path);
    return ok;
}

static bool take_segment(Segmenter *segmenter, const SegmentPrompt *prompt, Segments *segments,
                         Error *error) {
    const PanopticSegmenter *self = (const PanopticSegmenter *)segmenter;
    uint32_t id = panoptic_map_at(&self->map, prompt->point.row, prompt->point.column);
    (void)error;
    *segments = (Segments){.items = {{panoptic_map_mask(&self->map, &id, 1), 1}}, .count = 1};
    return true;
}

static void close_panoptic(Segmenter *segmenter) {
    PanopticSegmenter *self = (PanopticSegmenter *)segmenter;
    panoptic_map_free(&self->map);
    free(self->folder);
    free(self);
}

Segmenter *segmenter_regions(const char *path, const char *images_path, Error *error) {
    struct stat about;
    if (stat(path, &about) != 0 || !S_ISDIR(about.st_mode))
        return open_regions(path, images_path, error);
    PanopticSegmenter *self = checked_calloc(1, sizeof *self);
    *self = (PanopticSegmenter){.base = {"regions", see_map, take_segment, close_panoptic},
                                .folder = format_string("%s", path)};
    return &self->base;
}
