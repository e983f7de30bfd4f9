/// How regions get from their files into memory. Not for use outside of regions*.c.
#pragma once
#include "data/json_values.h"
#include "eval/annotations/regions.h"

/// The images while they are read.
typedef struct RegionReader {
    Regions *out;
    /// [num_images] height, width; zeros if no file of images was given
    int (*sizes)[2];
    bool has_sizes;
} RegionReader;

/// Adds an image without regions and returns its index; -1 if there is one of that id.
int regions_add_image(RegionReader *reader, const char *id);
/// Adds a region to an image and owns its mask, also on failure.
bool regions_add(RegionReader *reader, int image, CocoMask *mask, double score, Error *error);

bool regions_read_results(RegionReader *reader, const char *path, Error *error);
bool regions_read_pickle(RegionReader *reader, const char *path, Error *error);
