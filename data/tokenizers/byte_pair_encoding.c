// Neighbouring symbols are a doubly linked list in an array; candidate merges wait in a binary
// heap, earliest-learned first, leftmost first among equals. A candidate whose symbols have changed
// meanwhile is recognised when it comes up.
#include "data/tokenizers/byte_pair_encoding.h"
#include "autograd/text/utf8.h"
#include "data/tokenizers/vocabulary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Merge {
    /// -1: an empty slot
    int32_t left;
    int32_t right;
    int32_t rank;
    int32_t whole;
} Merge;

struct BytePairEncoding {
    BytePairOptions options;
    Vocabulary *vocabulary;
    /// [id limit]
    bool *in_words;
    /// by their pair's hash; a power of two
    Merge *merges;
    size_t merge_mask;
    int32_t merge_count;
    int32_t unknown;
    /// token of each byte, or -1
    int32_t bytes[256];
};

typedef struct Symbol {
    /// -1: merged into the one before
    int32_t id;
    int32_t previous;
    int32_t next;
    int32_t begin;
    int32_t end;
} Symbol;

typedef struct Candidate {
    int32_t rank;
    /// index of its first symbol
    int32_t left;
    int32_t whole;
} Candidate;

/// A power of two that leaves at least half of the slots empty.
static size_t table_size(size_t count) {
    size_t size = 16;
    while (size < 2 * count) size *= 2;
    return size;
}

static uint64_t mix(uint64_t x) { // the finalizer of MurmurHash3
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdull;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53ull;
    return x ^ (x >> 33);
}

static uint64_t pair_hash(int32_t left, int32_t right) {
    return mix((uint64_t)(uint32_t)left << 32 | (uint32_t)right);
}

static void make_merges(BytePairEncoding *encoding, size_t count) {
    const size_t size = table_size(count);
    free(encoding->merges);
    encoding->merges = checked_malloc(size * sizeof *encoding->merges);
    for (size_t i = 0; i < size; i++) encoding->merges[i].left = -1;
    encoding->merge_mask = size - 1;
}

BytePairEncoding *byte_pair_encoding_new(BytePairOptions options, size_t capacity,
                                         int32_t id_limit) {
    BytePairEncoding *encoding = checked_calloc(1, sizeof *encoding);
    encoding->options = options;
    encoding->vocabulary = vocabulary_new(capacity, id_limit);
    encoding->in_words = checked_calloc((size_t)id_limit + 1, sizeof *encoding->in_words);
    make_merges(encoding, 0);
    byte_pair_encoding_finish(encoding, -1);
    return encoding;
}

void byte_pair_encoding_free(BytePairEncoding *encoding) {
    if (!encoding) return;
    vocabulary_free(encoding->vocabulary);
    free(encoding->in_words);
    free(encoding->merges);
    free(encoding);
}

bool byte_pair_encoding_add(BytePairEncoding *encoding, const char *text, int32_t id,
                            bool in_words) {
    if (!vocabulary_add(encoding->vocabulary, text, id)) return false;
    encoding->in_words[id] = in_words;
    return true;
}

int32_t byte_pair_encoding_id(const BytePairEncoding *encoding, const char *text, size_t length) {
    return vocabulary_id(encoding->vocabulary, text, length);
}

const char *byte_pair_encoding_text(const BytePairEncoding *encoding, int32_t id) {
    return vocabulary_text(encoding->vocabulary, id);
}

void byte_pair_encoding_reserve_merges(BytePairEncoding *encoding, size_t count) {
    make_merges(encoding, count);
}

static Merge *find_merge(const BytePairEncoding *encoding, int32_t left, int32_t right) {
    size_t slot = pair_hash(left, right) & encoding->merge_mask;
    for (;; slot = (slot + 1) & encoding->merge_mask) {
        Merge *merge = &encoding->merges[slot];
        if (merge->left < 0 || (merge->left == left && merge->right == right)) return merge;
    }
}

bool byte_pair_encoding_merge(BytePairEncoding *encoding, const char *left, size_t left_length,
                              const char *right, size_t right_length, Error *error) {
    const int32_t left_id = byte_pair_encoding_id(encoding, left, left_length);
    const int32_t right_id = byte_pair_encoding_id(encoding, right, right_length);
    char *joined = format_string("%.*s%.*s", (int)left_length, left, (int)right_length, right);
    const int32_t whole = byte_pair_encoding_id(encoding, joined, strlen(joined));
    free(joined);
    if (left_id < 0 || right_id < 0 || whole < 0)
        return error_set(error, "merges \"%.*s\" and \"%.*s\", but the vocabulary lacks %s",
                         (int)left_length, left, (int)right_length, right,
                         whole < 0 ? "the two together" : "one of them");
    Merge *merge = find_merge(encoding, left_id, right_id);
    // The last of equal pairs counts, as in the library that reads such files elsewhere.
    *merge = (Merge){left_id, right_id, encoding->merge_count++, whole};
    return true;
}

size_t byte_letter(uint8_t byte, char text[2]) {
    // Printable characters of Latin-1 stand for themselves, the other 68 bytes for U+0100 and on,
    // in order.
    const bool printable =
        (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    int code = byte;
    if (!printable)
        code = 0x100 + (byte <= ' '    ? byte
                        : byte <= 0xa0 ? byte - 0x7f + 33
                                       : 67); // the last is 0xad
    if (code < 0x80) {
        text[0] = (char)code;
        return 1;
    }
    text[0] = (char)(0xc0 | code >> 6);
    text[1] = (char)(0x80 | (code & 0x3f));
    return 2;
}

int byte_of_letter(const char *text, size_t length, size_t *count) {
    *count = utf8_character_length(text, length);
    const unsigned char *c = (const unsigned char *)text;
    int code = *count == 1 ? c[0] : *count == 2 ? (c[0] & 0x1f) << 6 | (c[1] & 0x3f) : -1;
    if (code >= 0x100 && code < 0x144) {
        const int index = code - 0x100;
        return index <= ' ' ? index : index < 67 ? index - 33 + 0x7f : 0xad;
    }
    char letter[2];
    return code >= 0 && code < 0x100 && byte_letter((uint8_t)code, letter) == *count &&
                   memcmp(letter, text, *count) == 0
               ? code
               : -1;
}

void byte_pair_encoding_finish(BytePairEncoding *encoding, int32_t unknown) {
    encoding->unknown = unknown;
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        const size_t length = encoding->options.over_bytes
                                  ? byte_letter((uint8_t)byte, text)
                                  : (size_t)snprintf(text, sizeof text, "<0x%02X>", byte);
        encoding->bytes[byte] = byte_pair_encoding_id(encoding, text, length);
    }
}

void byte_pair_workspace_free(BytePairWorkspace *workspace) {
    free(workspace->symbols);
    free(workspace->queue);
    free(workspace->letters);
    *workspace = (BytePairWorkspace){0};
}

/// As byte_pair_encoding_id(), of the tokens that words may have.
static int32_t id_in_words(const BytePairEncoding *encoding, const char *text, size_t length) {
    const int32_t id = byte_pair_encoding_id(encoding, text, length);
    return id >= 0 && encoding->in_words[id] ? id : -1;
}

static void *grown(void *memory, size_t *capacity, size_t count, size_t size) {
    if (count <= *capacity) return memory;
    *capacity = 2 * count;
    return checked_realloc(memory, *capacity * size);
}

/// The vocabulary's token for the whole word, or -1.
static int32_t whole_word(const BytePairEncoding *encoding, const char *word, size_t length,
                          BytePairWorkspace *workspace) {
    if (!encoding->options.over_bytes) return id_in_words(encoding, word, length);
    workspace->letters = grown(workspace->letters, &workspace->letter_capacity, 2 * length, 1);
    size_t count = 0;
    for (size_t i = 0; i < length; i++)
        count += byte_letter((uint8_t)word[i], workspace->letters + count);
    return id_in_words(encoding, workspace->letters, count);
}

typedef struct Word {
    Symbol *symbols;
    int32_t count;
} Word;

static void add_symbol(Word *word, int32_t id, size_t begin, size_t end) {
    word->symbols[word->count] =
        (Symbol){id, word->count - 1, word->count + 1, (int32_t)begin, (int32_t)end};
    word->count++;
}

/// The tokens of the character text[begin, end).
static void add_character(const BytePairEncoding *encoding, const char *text, size_t begin,
                          size_t end, Word *word) {
    int32_t id = id_in_words(encoding, text + begin, end - begin);
    if (id < 0 && encoding->options.byte_fallback) {
        bool has_all = true;
        for (size_t i = begin; i < end; i++)
            has_all = has_all && encoding->bytes[(uint8_t)text[i]] >= 0;
        for (size_t i = begin; has_all && i < end; i++)
            add_symbol(word, encoding->bytes[(uint8_t)text[i]], i, i + 1);
        if (has_all) return;
    }
    if (id < 0) id = encoding->unknown;
    if (id < 0) return;
    Symbol *last = word->count > 0 ? &word->symbols[word->count - 1] : NULL;
    if (id == encoding->unknown && encoding->options.fuse_unknown && last && last->id == id &&
        last->end == (int32_t)begin)
        last->end = (int32_t)end;
    else
        add_symbol(word, id, begin, end);
}

static Word first_symbols(const BytePairEncoding *encoding, const char *text, size_t length,
                          BytePairWorkspace *workspace) {
    workspace->symbols =
        grown(workspace->symbols, &workspace->symbol_capacity, length + 1, sizeof(Symbol));
    Word word = {workspace->symbols, 0};
    for (size_t i = 0; i < length;) {
        size_t count =
            encoding->options.over_bytes ? 1 : utf8_character_length(text + i, length - i);
        if (count == 0) count = 1;
        if (!encoding->options.over_bytes)
            add_character(encoding, text, i, i + count, &word);
        else if (encoding->bytes[(uint8_t)text[i]] >= 0)
            add_symbol(&word, encoding->bytes[(uint8_t)text[i]], i, i + 1);
        else if (encoding->unknown >= 0)
            add_symbol(&word, encoding->unknown, i, i + 1);
        i += count;
    }
    if (word.count > 0) word.symbols[word.count - 1].next = -1;
    return word;
}

// ---- the queue of candidates: a binary heap

typedef struct Queue {
    Candidate *entries;
    size_t count;
    size_t capacity;
} Queue;

static bool comes_before(const Candidate *a, const Candidate *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->left < b->left;
}

static void push(Queue *queue, Candidate candidate) {
    queue->entries =
        grown(queue->entries, &queue->capacity, queue->count + 1, sizeof *queue->entries);
    size_t at = queue->count++;
    for (; at > 0 && comes_before(&candidate, &queue->entries[(at - 1) / 2]); at = (at - 1) / 2)
        queue->entries[at] = queue->entries[(at - 1) / 2];
    queue->entries[at] = candidate;
}

static Candidate pop(Queue *queue) {
    const Candidate first = queue->entries[0], moved = queue->entries[--queue->count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < queue->count; at = child) {
        if (child + 1 < queue->count &&
            comes_before(&queue->entries[child + 1], &queue->entries[child]))
            child++;
        if (!comes_before(&queue->entries[child], &moved)) break;
        queue->entries[at] = queue->entries[child];
    }
    queue->entries[at] = moved;
    return first;
}

/// Puts the merge of symbol `left` with the one after it into the queue, if there is such a merge.
static void consider(const BytePairEncoding *encoding, const Word *word, int32_t left,
                     Queue *queue) {
    if (left < 0 || word->symbols[left].next < 0) return;
    const Merge *merge =
        find_merge(encoding, word->symbols[left].id, word->symbols[word->symbols[left].next].id);
    if (merge->left >= 0) push(queue, (Candidate){merge->rank, left, merge->whole});
}

/// Carries out the candidate, unless its symbols have changed since.
static void apply(const BytePairEncoding *encoding, Word *word, const Candidate *candidate,
                  Queue *queue) {
    Symbol *left = &word->symbols[candidate->left];
    if (left->id < 0 || left->next < 0) return;
    Symbol *right = &word->symbols[left->next];
    const Merge *merge = find_merge(encoding, left->id, right->id);
    if (merge->left < 0 || merge->whole != candidate->whole) return;
    left->id = candidate->whole;
    left->end = right->end;
    right->id = -1;
    left->next = right->next;
    if (left->next >= 0) word->symbols[left->next].previous = candidate->left;
    consider(encoding, word, left->previous, queue);
    consider(encoding, word, candidate->left, queue);
}

void byte_pair_encoding_encode(const BytePairEncoding *encoding, const char *text, size_t length,
                               BytePairWorkspace *workspace, BytePairVisitor *visit,
                               void *context) {
    if (encoding->options.ignore_merges) {
        const int32_t id = whole_word(encoding, text, length, workspace);
        if (id >= 0) {
            visit(id, 0, length, context);
            return;
        }
    }
    Word word = first_symbols(encoding, text, length, workspace);
    Queue queue = {workspace->queue, 0, workspace->queue_capacity};
    for (int32_t i = 0; i + 1 < word.count; i++) consider(encoding, &word, i, &queue);
    while (queue.count > 0) {
        const Candidate candidate = pop(&queue);
        apply(encoding, &word, &candidate, &queue);
    }
    workspace->queue = queue.entries;
    workspace->queue_capacity = queue.capacity;
    for (int32_t i = 0; i >= 0 && i < word.count; i = word.symbols[i].next)
        visit(word.symbols[i].id, word.symbols[i].begin, word.symbols[i].end, context);
}
