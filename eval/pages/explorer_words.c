#include "eval/pages/explorer_words.h"

#include "autograd/text/byte_buffer.h"
#include "autograd/text/utf8.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

json_t *explorer_text(const char *text, size_t length) {
    ByteBuffer clean = {0};
    for (size_t left = length, taken; left > 0; left -= taken, text += taken) {
        taken = *text ? utf8_character_length(text, left) : 0;
        if (taken) {
            byte_buffer_put(&clean, text, taken);
        } else {
            taken = *text ? utf8_broken_length(text, left) : 1;
            byte_buffer_put_text(&clean, UTF8_REPLACEMENT);
        }
    }
    json_t *string = json_stringn(clean.data ? clean.data : "", clean.size);
    byte_buffer_free(&clean);
    return string;
}

static bool is_blank(char c) { return isspace((unsigned char)c) != 0; }

static bool is_of_word(char c) {
    return isalnum((unsigned char)c) || (c & 0x80) || c == '\'' || c == '-';
}

/// Whether a phrase begins or ends at that byte.
static bool is_edge(const ExplorerAnswer *answer, int at) {
    for (int i = 0; i < answer->num_phrases; i++)
        if (answer->phrases[i].begin == at || answer->phrases[i].end == at) return true;
    return false;
}

/// Where the word that begins at `at`, behind blanks, ends.
static int end_of_word(const ExplorerAnswer *answer, int at, int length) {
    const char *text = answer->answer->text;
    int end = at + 1;
    if (!is_of_word(text[at])) return end;
    while (end < length && is_of_word(text[end]) && !is_edge(answer, end)) end++;
    return end;
}

/// A given text has its blanks within utterances alone.
static bool begins_utterance(const Answer *answer, int at) {
    for (int u = 1; u < answer->num_utterances; u++) {
        int first = answer->utterances[u].begin;
        if (first < answer->num_tokens && answer->token_begin[first] == at) return true;
    }
    return false;
}

/// The word in bytes [begin, end), with the blanks from `at` on.
static json_t *text_of_word(const Answer *answer, int at, int begin, int end) {
    bool needs_blank = at == begin && begin < end && is_of_word(answer->text[begin]) &&
                       begins_utterance(answer, begin);
    if (!needs_blank) return explorer_text(answer->text + at, (size_t)(end - at));
    char *text = format_string(" %.*s", end - at, answer->text + at);
    json_t *word = explorer_text(text, strlen(text));
    free(text);
    return word;
}

/// Word numbers of a phrase's bytes.
static void count_in(const ExplorerAnswer *answer, int begin, int end, int word, int *first,
                     int *count) {
    for (int i = 0; i < answer->num_phrases; i++) {
        const ExplorerPhrase *phrase = &answer->phrases[i];
        if (end <= phrase->begin || begin >= phrase->end) continue;
        if (!count[i]++) first[i] = word;
    }
}

void explorer_add_words(const ExplorerAnswer *answer, json_t *phrases, json_t *into) {
    const Answer *of = answer->answer;
    int length = (int)strlen(of->text);
    size_t num_phrases = (size_t)answer->num_phrases;
    int *tokens = checked_malloc(((size_t)of->num_tokens + 1) * sizeof *tokens),
        *first = checked_calloc(num_phrases + 1, sizeof *first),
        *count = checked_calloc(num_phrases + 1, sizeof *count);
    json_t *words = json_array(), *pieces = json_array();
    for (int at = 0; at < length;) {
        int begin = at;
        while (begin < length && is_blank(of->text[begin])) begin++;
        int end = begin < length ? end_of_word(answer, begin, length) : length;
        int of_word = end > begin ? tokens_overlapping(of, begin, end, tokens) : 0;
        count_in(answer, begin, end, (int)json_array_size(words), first, count);
        json_array_append_new(words, json_pack("[o, i, i]", text_of_word(of, at, begin, end),
                                               of_word ? tokens[0] : 0, of_word));
        at = end;
    }
    for (int t = 0; t < of->num_tokens; t++)
        json_array_append_new(pieces,
                              explorer_text(of->text + of->token_begin[t],
                                            (size_t)(of->token_end[t] - of->token_begin[t])));
    for (size_t i = 0; i < num_phrases; i++)
        json_object_set_new(json_array_get(phrases, i), "words",
                            json_pack("[i, i]", first[i], count[i]));
    json_object_set_new(into, "words", words);
    json_object_set_new(into, "pieces", pieces);
    free(tokens);
    free(first);
    free(count);
}
