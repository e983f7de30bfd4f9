/// METEOR 1.5's normalisation of English text (`-norm`), by which it takes a line apart into the
/// words that it aligns. It is the Moses tokenizer's, and with quotes, dashes, contractions and
/// abbreviations made alike: "U.S.-based" is "us based", "don't" is "don 't".
#pragma once
#include "autograd/text/byte_buffer.h"
#include "eval/metrics/meteor/resources.h"

/// Puts the words of a line, UTF-8, in lower case, with one space between two. The line must be
/// well-formed UTF-8 [is_utf8()].
void meteor_normalize(const MeteorResources *resources, const char *line, size_t length,
                      ByteBuffer *words);
