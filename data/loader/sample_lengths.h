/// How many tokens samples have, counted before they are trained on.
#pragma once
#include "data/llava_dataset.h"

/// Of the samples [begin, end) of the data set, TokenSequence.length: text and visual tokens, cut
/// to format->model_max_length. out: [end - begin]. What a pack knows is looked up; other samples
/// are read and tokenized, in `threads` threads. The numbers are the same either way. False with
/// the error of the first sample that cannot be read, or if stopping was requested.
bool sample_lengths(const Dataset *dataset, const Tokenizer *tokenizer,
                    const ConversationFormat *format, int64_t begin, int64_t end, int threads,
                    int32_t *out, Error *error);
