/// Lower case as Java has it, in which the references of the caption metrics are written.
#pragma once
#include "autograd/text/byte_buffer.h"

/// Puts text[0, length), UTF-8, in lower case as Java's String.toLowerCase(Locale.ENGLISH) does: of
/// each character the simple mapping, but a dotted I keeps its dot, and a sigma that ends a word
/// with another cased letter in it is a final one.
void lower_case_put(ByteBuffer *to, const char *text, size_t length);
