/// A picture with what the model points at, and its words in the same colours: phrase k of the
/// answer has colour k of the palette and, for readers who do not tell the colours apart, number k
/// + 1.
#pragma once
#include "data/images/image.h"
#include "eval/attention/grounding.h"
#include "eval/pages/palette.h"

/// The image, enlarged `scale` times (>= 1), with every phrase's mask tinted and outlined and its
/// point marked and numbered. The grounding's masks and points are in pixels of `image`. The caller
/// frees the result.
Image overlay_draw(const Image *image, const Grounding *grounding, int scale);

/// The answer as HTML with every phrase in its colour (class "phrase" of html_report). A phrase
/// that overlaps an earlier one stays uncoloured. The caller frees it.
char *overlay_caption_html(const char *text, const Grounding *grounding);

/// The whole-number enlargement that brings the image's longer side nearest to `target` pixels from
/// below; at least 1.
int overlay_scale(const Image *image, int target);
