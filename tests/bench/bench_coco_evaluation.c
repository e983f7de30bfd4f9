// rooms: eval models ops checkpoints data autograd
// COCO's figures of a file of annotations and a file of results: seconds of this thread for
// reading, matching, the figures, and a resample of the images; then the figures.
//
//   bench_coco_evaluation INSTANCES.json RESULTS.json [segm|bbox]
//
// bench_coco_evaluation.py makes files, runs pycocotools and this in turn, and compares.
#include "data/coco_annotations.h"
#include "data/coco_segmentation.h"
#include "eval/metrics/bootstrap.h"
#include "eval/metrics/coco_evaluation.h"
#include "tests/bench/bench.h"

typedef struct Results {
    CocoDetection *detections;
    CocoMask *masks;
    int count;
} Results;

static Results read_results(const char *path, const CocoAnnotations *all, const int *places,
                            Error *error) {
    Results results = {0};
    json_t *root = json_file_read(path, 0, error), *item;
    json_t *image_ids = json_object(), *category_ids = json_object();
    size_t i, count = json_array_size(root);
    results.detections = calloc(count + 1, sizeof *results.detections);
    results.masks = calloc(count + 1, sizeof *results.masks);
    for (int k = 0; k < all->num_images; k++)
        json_remember_id(image_ids, all->images[k].id, places[k]);
    for (int k = 0; k < all->num_categories; k++)
        json_remember_id(category_ids, all->category_ids[k], k);
    json_array_foreach(root, i, item) {
        CocoDetection *d = &results.detections[i];
        const json_t *box = json_object_get(item, "bbox");
        d->image = json_find_id(image_ids, json_object_get(item, "image_id"));
        d->category = json_find_id(category_ids, json_object_get(item, "category_id"));
        d->score = json_number_value(json_object_get(item, "score"));
        for (size_t k = 0; k < 4; k++) d->box[k] = json_number_value(json_array_get(box, k));
        d->mask = &results.masks[i];
        results.count++;
        if (!coco_runs_read(json_object_get(item, "segmentation"), &results.masks[i], error)) break;
    }
    json_decref(image_ids);
    json_decref(category_ids);
    json_decref(root);
    return results;
}

static CocoTruth *make_truths(const CocoAnnotations *all, const int *places) {
    CocoTruth *truths = calloc((size_t)all->num_annotations + 1, sizeof *truths);
    for (int i = 0; i < all->num_annotations; i++) {
        const CocoAnnotation *a = &all->annotations[i];
        truths[i] = (CocoTruth){.image = places[a->image],
                                .category = a->category,
                                .area = a->area,
                                .is_crowd = a->is_crowd,
                                .mask = &a->mask};
        memcpy(truths[i].box, a->box, sizeof a->box);
    }
    return truths;
}

int main(int argc, char **argv) {
    CocoAnnotations all;
    Error error = {0};
    if (argc < 3) {
        fprintf(stderr, "usage: %s INSTANCES.json RESULTS.json [segm|bbox]\n", argv[0]);
        return 2;
    }
    CocoOverlap overlap = argc > 3 && !strcmp(argv[3], "bbox") ? COCO_BBOX : COCO_SEGM;
    bench_clock = CLOCK_THREAD_CPUTIME_ID;
    double begin = bench_now();
    if (!coco_annotations_read_all(argv[1], &all, &error)) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    int *places = calloc((size_t)all.num_images + 1, sizeof *places);
    coco_order_images(&all, places);
    Results results = read_results(argv[2], &all, places, &error);
    if (*error.message) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    CocoTruth *truths = make_truths(&all, places);
    double read = bench_now();
    CocoEvaluation *evaluation =
        coco_evaluation_new(overlap, truths, all.num_annotations, results.detections, results.count,
                            all.num_images, all.num_categories);
    double matched = bench_now();
    double figures[COCO_NUM_FIGURES], again[COCO_NUM_FIGURES];
    coco_evaluation_figures(evaluation, -1, NULL, figures);
    double summed = bench_now();
    uint32_t *times = calloc((size_t)all.num_images + 1, sizeof *times);
    bootstrap_times(1, 0, all.num_images, times);
    double drawn = bench_now();
    coco_evaluation_figures(evaluation, -1, times, again);
    printf("{\"read\": %.4f, \"match\": %.4f, \"figures\": %.4f, \"resample\": %.4f, \"values\": [",
           read - begin, matched - read, summed - matched, bench_now() - drawn);
    for (int f = 0; f < COCO_NUM_FIGURES; f++) printf("%s%.17g", f ? ", " : "", figures[f]);
    printf("]}\n");
    return 0;
}
