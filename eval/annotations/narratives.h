/// Panoptic narratives: `png_coco_val2017.json`, a text for every image whose phrases name segments
/// of COCO's panoptic annotations. [González et al. 2021, arXiv 2109.04988; BCV-Uniandes/PNG]
#pragma once
#include "eval/annotations/panoptic.h"

/// One stretch of the narrative. All of them together, in order, are its words.
typedef struct Utterance {
    char *text;
    /// what it names, ids of segments of its image; none for words that name nothing
    uint32_t *segment_ids;
    int num_segments;
    /// flags of the file: of several things; a noun phrase
    bool is_plural, is_noun;
} Utterance;

typedef struct Narrative {
    /// index into PanopticAnnotations.images
    int image;
    char *caption;
    Utterance *utterances;
    int num_utterances;
} Narrative;

typedef struct Narratives {
    Narrative *items;
    int count;
} Narratives;

/// Reads the file, in its order; an image may have several narratives. Ids are numbers or strings,
/// also with zeros in front. Errors name the file, the narrative and the utterance: images that the
/// panoptic annotations do not have, segments that are not their image's, wrong types.
bool narratives_read(const char *path, const PanopticAnnotations *panoptic, Narratives *out,
                     Error *error);
void narratives_free(Narratives *narratives);

/// How an utterance counts in the figures for things and stuff, singulars and plurals.
typedef struct UtteranceKind {
    bool is_thing, is_plural;
} UtteranceKind;

/// What makes an utterance a plural.
typedef enum PluralRule {
    /// several segments, which then count as things whatever they are [BCV-Uniandes/PNG]
    PLURAL_BY_SEGMENTS,
    /// the file's flag [wusize/F-LMM]; several segments count as things all the same
    PLURAL_BY_FLAG,
} PluralRule;

/// Of an utterance with segments.
UtteranceKind utterance_kind(const Utterance *utterance, const PanopticAnnotations *panoptic,
                             int image, PluralRule rule);
