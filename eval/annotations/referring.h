/// Referring expressions of RefCOCO, RefCOCO+ and RefCOCOg in REFER's form: `refs(unc).p`,
/// `refs(umd).p` or `refs(google).p`, and `instances.json` beside it.
///
/// The pickle is read as data, nothing in it is executed (checkpoints/torch/pickle.h). An image's
/// name comes from instances.json: the "file_name" of a reference carries its annotation's id and
/// names no file. [Kazemzadeh et al. 2014; Yu et al. 2016, arXiv 1608.00272; lichengunc/refer]
#pragma once
#include "autograd/error.h"
#include "data/coco_mask.h"

typedef struct ReferringImage {
    char *id;
    char *file_name;
    int height, width;
} ReferringImage;

/// What expressions refer to.
typedef struct ReferringObject {
    /// "ann_id"
    int64_t id;
    /// index into images
    int image;
    /// the union of the annotation's polygons; empty for an annotation that has none
    CocoMask mask;
} ReferringObject;

typedef struct ReferringExpression {
    int64_t reference_id;
    int64_t sentence_id;
    /// which sentence of its reference, from 0 on
    int sentence;
    /// "sent": lower case, without punctuation
    char *text;
    /// index into objects
    int object;
} ReferringExpression;

/// The expressions of one split, reference after reference as the file has them, and what they
/// refer to.
typedef struct ReferringExpressions {
    ReferringImage *images;
    int num_images;
    ReferringObject *objects;
    int num_objects;
    ReferringExpression *expressions;
    int num_expressions;
    int num_references;
} ReferringExpressions;

/// Reads every sentence of every reference of that split ("val", "testA", ...). `instances_path`
/// may be NULL: "instances.json" beside the references. Only the annotations that are referred to
/// are looked at. Errors name the file and the reference or annotation: a split that no reference
/// has (the message lists those there are), keys that are missing or of another type, references
/// and sentences that come twice, images and annotations that instances.json does not have, an
/// annotation of another image than its reference.
bool referring_read(const char *refs_path, const char *instances_path, const char *split,
                    ReferringExpressions *out, Error *error);
void referring_free(ReferringExpressions *expressions);
