#include "eval/metrics/text/caption_tokens.h"
#include "eval/metrics/text/ptb_tokenizer.h"

#include <stdlib.h>
#include <string.h>

static char *tokens_of(PtbTokenizer *tokenizer, const char *text, const char *following) {
    ByteBuffer tokens = {0};
    ptb_tokenize(tokenizer, text, strlen(text), following, PTB_DROP_PUNCTUATION, &tokens);
    return byte_buffer_take(&tokens);
}

/// The first reference of the image behind; NULL behind the last.
static const char *next_reference(const ImageCaptions *images, int count, int image) {
    return image + 1 < count ? images[image + 1].references[0] : NULL;
}

CaptionTokens *caption_tokens_new(const ImageCaptions *images, int count, Error *error) {
    size_t references = 0;
    for (int i = 0; i < count; i++) {
        if (images[i].reference_count < 1) {
            error_set(error, "image %d has no reference caption; expected one or more", i);
            return NULL;
        }
        references += (size_t)images[i].reference_count;
    }
    PtbTokenizer *tokenizer = ptb_tokenizer_new();
    CaptionTokens *tokens = checked_calloc(1, sizeof *tokens);
    tokens->count = count;
    tokens->candidates = checked_calloc((size_t)count + 1, sizeof *tokens->candidates);
    tokens->references = checked_calloc(references + 1, sizeof *tokens->references);
    tokens->first_reference = checked_calloc((size_t)count + 1, sizeof *tokens->first_reference);
    for (int i = 0, next = 0; i < count; i++) {
        const ImageCaptions *image = &images[i];
        tokens->candidates[i] =
            tokens_of(tokenizer, image->candidate, i + 1 < count ? images[i + 1].candidate : NULL);
        for (int r = 0; r < image->reference_count; r++) {
            const bool is_last = r + 1 == image->reference_count;
            tokens->references[next++] =
                tokens_of(tokenizer, image->references[r],
                          is_last ? next_reference(images, count, i) : image->references[r + 1]);
        }
        tokens->first_reference[i + 1] = next;
    }
    ptb_tokenizer_free(tokenizer);
    return tokens;
}

void caption_tokens_free(CaptionTokens *tokens) {
    if (!tokens) return;
    for (int i = 0; i < tokens->first_reference[tokens->count]; i++) free(tokens->references[i]);
    for (int i = 0; i < tokens->count; i++) free(tokens->candidates[i]);
    free(tokens->candidates);
    free(tokens->references);
    free(tokens->first_reference);
    free(tokens);
}
