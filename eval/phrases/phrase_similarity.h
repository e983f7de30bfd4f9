/// How alike two phrases are, for the mask recall of grounded conversations
/// (eval/metrics/grounded_masks.h).
#pragma once
#include "autograd/device.h"
#include "autograd/error.h"

/// By BERT, as published: the cosine of the means of the last hidden states over all tokens, [CLS]
/// and [SEP] among them, texts cut at 512 tokens [mbzuai-oryx/groundingLMM, eval/gcg].
typedef struct BertSimilarity BertSimilarity;

/// path: a published folder of BERT with vocab.txt (bert-base-uncased). NULL on failure.
BertSimilarity *bert_similarity_open(const char *path, Device *device, Error *error);
/// NULL is allowed.
void bert_similarity_close(BertSimilarity *similarity);
/// A PhraseSimilarity; context: BertSimilarity, which remembers what it has read.
double bert_similarity(const void *context, const char *truth, const char *prediction);

/// Without BERT: the words that both have, of all words of both, counted twice (Dice), in lower
/// case and without a, an, the. A PhraseSimilarity; context: not looked at.
double word_similarity(const void *context, const char *truth, const char *prediction);
