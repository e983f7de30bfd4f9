/// What evaluations leave, made by hand in the test's folder: a dog is named in each of eight
/// images, and the point lies in it or not.
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/unit/temporary_folder.h"
#include "train/evaluation/measured_evaluation.h"

enum { IMAGES = 8 };

static inline void write_annotations(const char *name) {
    char text[4096] = "{\"categories\": [{\"id\": 1, \"name\": \"dog\"}], \"annotations\": "
                      "[{\"id\": 1, \"image_id\": 1, \"category_id\": 1, \"iscrowd\": 0, \"area\": "
                      "4, \"bbox\": [0, 0, 2, 2], \"segmentation\": [[0, 0, 2, 0, 2, 2, 0, 2]]}], "
                      "\"images\": [";
    for (int i = 0; i < IMAGES; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 "%s{\"id\": %d, \"file_name\": \"%d.png\", \"height\": 4, \"width\": 4}",
                 i ? ", " : "", i + 1, i + 1);
    strcat(text, "]}");
    write_text(name, text);
}

/// hits: of each image 'x' for a point that lies in its dog, '.' for one that does not. Writes what
/// 'difflmm eval' leaves: results.json is measured of the other two.
static inline void write_evaluation(const char *folder, const char *annotations, const char *hits) {
    char name[256], text[4096] = "";
    assert_int_equal(mkdir(in_folder(folder), 0777), 0);
    snprintf(name, sizeof name, "%s/config.yaml", folder);
    snprintf(text, sizeof text, "eval:\n  task: points\n  annotations: %s\n  image_folder: .\n",
             in_folder(annotations));
    write_text(name, text);
    *text = 0;
    for (int i = 0; i < IMAGES; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 "{\"id\": \"%d\", \"image_id\": \"%d\", \"answer\": \"a dog\", \"phrases\": "
                 "[{\"present\": true, "
                 "\"hit\": %s, \"random_hit\": 0.25, \"centre_hit\": false, \"iou\": 0.%d}]}\n",
                 i + 1, i + 1, hits[i] == 'x' ? "true" : "false", i + 1);
    snprintf(name, sizeof name, "%s/items.jsonl", folder);
    write_text(name, text);
    MeasuredEvaluation measured;
    Error error = {0};
    if (!measured_evaluation_open(&measured, in_folder(folder), NULL, &error))
        fail_msg("%s", error.message);
    json_t *results = figures_describe(&measured.figures, (uint64_t)measured.config->eval.seed);
    json_object_set_new(results, "task", json_string("points"));
    snprintf(name, sizeof name, "%s/results.json", folder);
    json_dump_file(results, in_folder(name), JSON_REAL_PRECISION(8));
    json_decref(results);
    measured_evaluation_close(&measured);
}
