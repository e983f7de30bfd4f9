/// One file of what groundLMM's scripts leave behind (Shengcao-Cao/groundLMM, aas/infer_attn.py,
/// infer_attn_res.py, infer_attn_png.py and aas/more_models), read as an answer.
///
/// torch.save() wrote a dict:
///
///   answer        str: the text, with blanks stripped
///   sequences     [ids] integers: the tokens, possibly with others in front
///   attentions    [tokens, rows, columns] float: where each looks, averaged over layers and heads
///   image_id      int; of referring expressions and narratives
///   sent          str: the expression
///   token_groups  of narratives, which are read: the tokens of each utterance
///
/// Other keys (image_file, gt_mask) are not looked at. Every step of generation gives one map and,
/// at the end of the sequence, one token: so the maps belong to the last tokens, and what is in
/// front of them (the beginning-of-sequence token that transformers repeats there) has none.
#pragma once
#include "data/tokenizers/tokenizer.h"
#include "eval/attention/answer.h"

/// What a file is expected to be about, compared with what it says of itself; NULL: anything.
typedef struct DumpSubject {
    const char *image_id, *expression;
} DumpSubject;

/// Reads a file; the caller frees the answer with answer_free(). Its picture and frame are zeros:
/// the file does not know them. Tokens get their bytes in the text from `tokenizer`, which has to
/// be the one of the model that answered: the file's text is compared with what it gives, blanks
/// apart. most_ahead: tokens in front of the answer, without maps, that are accepted.
bool official_dump_read(const char *path, const Tokenizer *tokenizer, int most_ahead,
                        const DumpSubject *subject, Answer *answer, Error *error);
