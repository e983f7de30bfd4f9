/// The tasks, each in a file of its own.
#pragma once
#include "eval/tasks/evaluation.h"

/// Nouns that name a category point at it: attention alone, without a segmenter.
extern const Task TASK_POINTS;
/// Grounded conversation generation [Rasheed et al. 2024, arXiv 2311.03356].
extern const Task TASK_GCG;
/// Referring expression segmentation [Kazemzadeh et al. 2014; Yu et al. 2016].
extern const Task TASK_RES;
/// Panoptic narrative grounding [Gonzalez et al. 2021, arXiv 2109.04988].
extern const Task TASK_PNG;
/// Instance segmentation of what answers name, with point accuracy.
extern const Task TASK_INSTANCES;
/// Captions without grounding.
extern const Task TASK_CAPTION;
