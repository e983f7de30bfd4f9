#include "eval/phrases/phrase_similarity.h"

#include "autograd/fnv.h"
#include "data/tokenizers/word_piece.h"
#include "models/language/bert.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

// ---- BERT

/// What a phrase was read as; a slot without a text is free.
typedef struct Embedding {
    char *text;
    float *values;
} Embedding;

struct BertSimilarity {
    Bert *bert;
    WordPiece *tokenizer;
    Embedding *slots;
    /// a power of two; at most half of them are taken
    size_t num_slots, taken;
};

BertSimilarity *bert_similarity_open(const char *path, Device *device, Error *error) {
    BertSimilarity *similarity = checked_calloc(1, sizeof *similarity);
    similarity->num_slots = 1024;
    similarity->slots = checked_calloc(similarity->num_slots, sizeof *similarity->slots);
    similarity->tokenizer = word_piece_open(path, true, error);
    if (similarity->tokenizer) similarity->bert = bert_load(path, device, FLOAT32, error);
    if (similarity->bert &&
        word_piece_vocabulary_size(similarity->tokenizer) > similarity->bert->vocab_size) {
        error_set(error, "%s: the vocabulary has %d tokens, the model %d", path,
                  word_piece_vocabulary_size(similarity->tokenizer), similarity->bert->vocab_size);
        bert_free(similarity->bert);
        similarity->bert = NULL;
    }
    if (similarity->bert) return similarity;
    bert_similarity_close(similarity);
    return NULL;
}

void bert_similarity_close(BertSimilarity *similarity) {
    if (!similarity) return;
    for (size_t i = 0; i < similarity->num_slots; i++) {
        free(similarity->slots[i].text);
        free(similarity->slots[i].values);
    }
    free(similarity->slots);
    if (similarity->bert) bert_free(similarity->bert);
    if (similarity->tokenizer) word_piece_close(similarity->tokenizer);
    free(similarity);
}

/// Where a text is, or would be.
static Embedding *slot_of(const BertSimilarity *similarity, const char *text) {
    size_t at = fnv1a(text, strlen(text)) & (similarity->num_slots - 1);
    while (similarity->slots[at].text && strcmp(similarity->slots[at].text, text) != 0)
        at = (at + 1) & (similarity->num_slots - 1);
    return &similarity->slots[at];
}

static void grow(BertSimilarity *similarity) {
    Embedding *old = similarity->slots;
    size_t count = similarity->num_slots;
    similarity->num_slots *= 2;
    similarity->slots = checked_calloc(similarity->num_slots, sizeof *similarity->slots);
    for (size_t i = 0; i < count; i++)
        if (old[i].text) *slot_of(similarity, old[i].text) = old[i];
    free(old);
}

static float *read_phrase(const BertSimilarity *similarity, const char *text) {
    TokenList tokens = {0};
    Error error;
    const Bert *bert = similarity->bert;
    float *values = checked_calloc((size_t)bert->hidden_size, sizeof *values);
    token_list_append(&tokens, word_piece_cls(similarity->tokenizer), 0, 0);
    if (!word_piece_encode(similarity->tokenizer, text, strlen(text), &tokens, &error))
        tokens.count = 1; // a phrase that cannot be read is an empty one
    if (tokens.count > bert->max_position_embeddings - 1)
        tokens.count = bert->max_position_embeddings - 1;
    token_list_append(&tokens, word_piece_sep(similarity->tokenizer), 0, 0);
    bert_means(bert, tokens.ids, 1, &tokens.count, values);
    token_list_free(&tokens);
    return values;
}

static const float *embedding_of(BertSimilarity *similarity, const char *text) {
    Embedding *slot = slot_of(similarity, text);
    if (slot->text) return slot->values;
    *slot = (Embedding){format_string("%s", text), read_phrase(similarity, text)};
    const float *values = slot->values;
    if (++similarity->taken * 2 > similarity->num_slots) grow(similarity);
    return values;
}

double bert_similarity(const void *context, const char *truth, const char *prediction) {
    BertSimilarity *similarity = (BertSimilarity *)context; // its memory grows
    const float *a = embedding_of(similarity, truth), *b = embedding_of(similarity, prediction);
    double dot = 0, of_a = 0, of_b = 0;
    for (int c = 0; c < similarity->bert->hidden_size; c++) {
        dot += (double)a[c] * b[c];
        of_a += (double)a[c] * a[c];
        of_b += (double)b[c] * b[c];
    }
    return dot / fmax(sqrt(of_a) * sqrt(of_b), 1e-8);
}

// ---- words

/// A word of a phrase, in place; *at moves behind it. Length 0 at the end.
static size_t next_word(const char **at, const char **word) {
    static const char *const ARTICLES[] = {"a", "an", "the"};
    for (;;) {
        while (**at && !isalnum((unsigned char)**at) && !(**at & 0x80)) (*at)++;
        *word = *at;
        while (isalnum((unsigned char)**at) || (**at & 0x80)) (*at)++;
        size_t length = (size_t)(*at - *word);
        bool is_article = false;
        for (int i = 0; i < 3; i++)
            is_article |= length == strlen(ARTICLES[i]) && !strncasecmp(*word, ARTICLES[i], length);
        if (!is_article || !length) return length;
    }
}

static int count_words(const char *text) {
    const char *word;
    int count = 0;
    while (next_word(&text, &word)) count++;
    return count;
}

/// Words of `text` that are the given one.
static int occurrences(const char *text, const char *wanted, size_t length) {
    const char *word;
    int count = 0;
    for (size_t n; (n = next_word(&text, &word));)
        count += n == length && !strncasecmp(word, wanted, n);
    return count;
}

double word_similarity(const void *context, const char *truth, const char *prediction) {
    const char *at = truth, *word;
    double common = 0;
    (void)context;
    for (size_t n; (n = next_word(&at, &word));) {
        double here = occurrences(truth, word, n), there = occurrences(prediction, word, n);
        common += fmin(here, there) / here; // every occurrence its share
    }
    int words = count_words(truth) + count_words(prediction);
    return words ? 2 * common / words : 0;
}
