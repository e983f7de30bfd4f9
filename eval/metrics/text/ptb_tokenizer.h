/// Stanford's PTBTokenizer 3.4.1 as caption evaluation calls it (pycocoevalcap: `-preserveLines
/// -lowerCase`): English text as the tokens of the Penn Treebank, in lower case.
///
/// Characters that the tokenizer does not know (whatever came after Unicode 6.2 or lies beyond
/// U+FFFF, so emoji too) are left out but within addresses and tags, as are bytes that are no
/// UTF-8. Line breaks in a text are white space. Captions take time in proportion to their length,
/// made-up texts up to its square, as with the original.
#pragma once
#include "autograd/text/byte_buffer.h"

typedef struct PtbTokenizer PtbTokenizer;

typedef enum PtbPunctuation {
    PTB_KEEP_PUNCTUATION,
    /// without the tokens '' ' `` ` . ? ! , : - -- ... ; as caption evaluation counts them.
    /// Brackets are on its list as well, but in upper case, and tokens are in lower case here:
    /// "-lrb-" is a word of a caption.
    PTB_DROP_PUNCTUATION,
} PtbPunctuation;

/// It learns with every text how such texts are taken apart: one tokenizer per thread.
PtbTokenizer *ptb_tokenizer_new(void);
void ptb_tokenizer_free(PtbTokenizer *tokenizer);

/// Puts the tokens of text[0, length), with one space between two. A token may contain U+00A0:
/// "5 7/8" is one.
///
/// The original is given all captions as the lines of one file, and looks beyond the end of one:
/// "no." there is an abbreviation if the next caption begins with a digit, the period of "a letter
/// U." is a token of its own if the next one begins with "The". `following` is that next caption,
/// or NULL for the last of all. Where captions are taken one by one it is "".
void ptb_tokenize(PtbTokenizer *tokenizer, const char *text, size_t length, const char *following,
                  PtbPunctuation punctuation, ByteBuffer *tokens);
