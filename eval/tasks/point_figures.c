// What every task that points has in common: does the point lie in what is meant, and would a
// random point or the image's centre?
#include "data/coco_annotations.h"
#include "eval/tasks/evaluation.h"

#include <stdlib.h>

void verdict_add_point(json_t *verdict, const CocoMask *truth, const Point *point) {
    double pixels = (double)truth->height * truth->width;
    bool hit = point && coco_mask_contains(truth, point->row, point->column);
    json_object_set_new(verdict, "hit", json_boolean(hit));
    json_object_set_new(
        verdict, "centre_hit",
        json_boolean(coco_mask_contains(truth, truth->height / 2, truth->width / 2)));
    json_object_set_new(verdict, "random_hit", json_real((double)coco_mask_area(truth) / pixels));
}

bool coco_category_truth(const CocoAnnotations *annotations, int image, int category,
                         CocoMask *truth) {
    const CocoImage *of = &annotations->images[image];
    uint8_t *bitmap = checked_malloc((size_t)of->height * (size_t)of->width);
    bool present = coco_category_mask(annotations, image, category, bitmap);
    *truth = coco_mask_from_bitmap(bitmap, of->height, of->width);
    free(bitmap);
    return present;
}

PointFigures point_figures_begin(Figures *figures, const char *name) {
    return (PointFigures){figures_add_ratio(figures, name),
                          figures_add_ratio(figures, "random_point"),
                          figures_add_ratio(figures, "centre")};
}

void point_figures_count(const PointFigures *figures, int unit, const json_t *verdict) {
    figures->hits[unit][0] += verdict_number(verdict, "hit");
    figures->random[unit][0] += verdict_number(verdict, "random_hit");
    figures->centre[unit][0] += verdict_number(verdict, "centre_hit");
    figures->hits[unit][1]++, figures->random[unit][1]++, figures->centre[unit][1]++;
}
