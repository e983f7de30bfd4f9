/// Captions of images beside their reference captions, as tokens: what caption metrics are computed
/// from.
#pragma once
#include "autograd/error.h"

#include <stddef.h>

/// One image's captions as they were written, UTF-8.
typedef struct ImageCaptions {
    const char *candidate;
    const char *const *references;
    int reference_count;
} ImageCaptions;

typedef struct CaptionTokens {
    /// images
    int count;
    /// [count]: tokens with one space between two
    char **candidates;
    /// of all images, one after the other
    char **references;
    /// [count + 1]: where an image's references begin
    int *first_reference;
} CaptionTokens;

/// Takes captions apart as pycocoevalcap does: Stanford's tokenizer over all candidates as the
/// lines of one file, and over all references as those of another, without punctuation. So an
/// image's tokens may depend on what comes next: see ptb_tokenize(). NULL if an image has no
/// reference; the message gives its index, from 0.
CaptionTokens *caption_tokens_new(const ImageCaptions *images, int count, Error *error);
void caption_tokens_free(CaptionTokens *tokens);
