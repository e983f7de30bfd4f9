/// The annotation files of one split, grown scene by scene and written at the end.
#pragma once
#include "data/tiny/files.h"
#include "data/tiny/language.h"

typedef struct Annotations {
    WorldKind kind;
    uint64_t seed;
    Split split;
    /// LLaVA, and the objects' properties
    json_t *pretrain, *instruct, *scenes;
    /// COCO
    json_t *images, *instances;
    /// GranD-f
    json_t *gcg_images, *gcg_captions, *gcg_masks;
    /// RefCOCO
    json_t *refs, *ref_instances;
    /// PNG
    json_t *narratives, *panoptic;
    /// GQA
    json_t *questions;
    int num_sentences;
} Annotations;

void annotations_begin(Annotations *annotations, WorldKind kind, uint64_t seed, Split split);
/// What is said about a scene is drawn from a stream of the scene's own.
void annotations_add(Annotations *annotations, const Scene *scene, int index);
/// The panoptic PNG of a scene, rgb [IMAGE_SIZE, IMAGE_SIZE, 3]: segment id = R + 256 G + 65536 B.
void annotations_paint_panoptic(const Scene *scene, uint8_t *rgb);
/// Writes all files below `folder` (train or test) and frees.
bool annotations_write(Annotations *annotations, const char *folder, Error *error);
int image_id_of(Split split, int index);
