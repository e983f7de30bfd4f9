/// What becomes of the text that a rule of the tokenizer matched. Internal to the tokenizer.
#pragma once
#include "autograd/text/byte_buffer.h"
#include "eval/metrics/text/ptb_rules.h"

/// Puts the token that text[0, length), UTF-8, becomes by the rule. Where a part of it comes again
/// (PTB_SPLIT_TWO ...), `text` is what is kept.
void ptb_treatment_put(ByteBuffer *to, const PtbRule *rule, const char *text, size_t length);
