/// Writes the tiny world: images and annotations in the formats that the published data sets have.
///
///   OUT/train/images/%012d.jpg                 JPEG, 128 x 128
///            blip_laion_cc_sbu_558k.json       LLaVA stage 1: one caption per image
///            llava_v1_5_mix665k.json           LLaVA stage 2: conversations, some of them without
///            an image instances.json                    COCO instances, compressed RLE masks
///            scenes.json                       every object's properties, for research
///            documents.json                    (only with num_documents) texts for a language
///            model: array of strings
///   OUT/test/ images/, the two LLaVA files, instances.json, scenes.json as above, and
///            gcg/test_gcg_coco_caption_gt.json, gcg/test_gcg_coco_mask_gt.json      GranD-f
///            refcoco/refs(unc).p, refcoco/instances.json                            RefCOCO
///            (uncompressed RLE masks) png/png_coco_val2017.json, png/panoptic_val2017.json,
///            png/panoptic_val2017/%012d.png
///            pope/coco_pope_random.json, and popular, adversarial                   POPE
///            gqa/testdev_balanced_questions.json                                    GQA
///
/// Image file names in the LLaVA files are relative to OUT/train and OUT/test. Test image ids begin
/// at 500000.
#pragma once
#include "autograd/error.h"
#include "data/tiny/scene.h"
#include <stdbool.h>
#include <stdint.h>

enum { FIRST_TEST_ID = 500000, MAX_SCENES = 400000 };

typedef struct WorldOptions {
    WorldKind kind;
    uint64_t seed;
    int num_train, num_test;
    int num_documents;
    /// may be NULL
    void (*progress)(void *context, const char *what, int done, int total);
    void *progress_context;
} WorldOptions;

/// Writes the world into the folder `path`, which must not exist or be empty; folders above it are
/// made. Everything is written to a folder beside it and renamed at the end, so that after a
/// failure nothing is left.
bool world_write(const char *path, const WorldOptions *options, Error *error);
