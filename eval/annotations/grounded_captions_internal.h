/// What annotations and predictions of grounded captions share. Not for use elsewhere.
#pragma once
#include "data/json_values.h"
#include "eval/annotations/grounded_captions.h"

/// Appends a caption, copied.
void grounded_caption_add_text(GroundedCaption *out, const char *text);
/// Appends the list of strings under that key to the phrases; none, if there is no such key.
bool grounded_caption_read_phrases(const json_t *item, const char *key, GroundedCaption *out,
                                   Error *error);
/// Appends a mask and owns it; it must have the size of those before it.
bool grounded_caption_add_mask(GroundedCaption *out, CocoMask *mask, Error *error);
