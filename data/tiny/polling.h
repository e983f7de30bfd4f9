/// Questions about which shapes are in a test picture, in the form of POPE
/// [Li et al. 2023, arXiv 2305.10355].
#pragma once
#include "autograd/error.h"
#include <jansson.h>
#include <stdint.h>

/// Writes coco_pope_random.json, coco_pope_popular.json and coco_pope_adversarial.json into
/// `folder`: JSON Lines with "question_id" (from 1), "image", "text" and "label".
///
/// scenes: as in scenes.json. Every picture is asked about three shapes that are in it, the same in
/// all files, and, in turn with these, three that are not: drawn at random; those that most
/// pictures have; those that most pictures have together with the shape asked about before. Equal
/// ones stand in the order of SHAPE_NAMES. A picture that has, or lacks, fewer than three shapes is
/// asked about as many of either kind; POPE leaves it out. What is drawn is a function of seed and
/// image.
bool polling_write(const json_t *scenes, uint64_t seed, const char *folder, Error *error);
