#include "eval/metrics/meteor/sentence.h"
#include "autograd/text/utf8.h"
#include "eval/metrics/meteor/normalization.h"

#include <libstemmer.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

struct MeteorDictionary {
    const MeteorResources *resources;
    const Paraphrases *paraphrases;
    struct sb_stemmer *stemmer;
    StringTable *words;
    /// per word
    MeteorWord *known;
    int capacity;
    ByteBuffer valid, normalized;
};

MeteorDictionary *meteor_dictionary_new(const MeteorResources *resources,
                                        const Paraphrases *paraphrases) {
    MeteorDictionary *dictionary = checked_calloc(1, sizeof *dictionary);
    dictionary->resources = resources;
    dictionary->paraphrases = paraphrases;
    dictionary->stemmer = sb_stemmer_new("english", "UTF_8");
    CHECK(dictionary->stemmer, "libstemmer has no stemmer for English");
    dictionary->words = string_table_new();
    return dictionary;
}

void meteor_dictionary_free(MeteorDictionary *dictionary) {
    if (!dictionary) return;
    for (int i = 0; i < string_table_size(dictionary->words); i++)
        free((void *)dictionary->known[i].synsets);
    sb_stemmer_delete(dictionary->stemmer);
    string_table_free(dictionary->words);
    free(dictionary->known);
    byte_buffer_free(&dictionary->valid);
    byte_buffer_free(&dictionary->normalized);
    free(dictionary);
}

/// String.hashCode() of Java: over UTF-16, as which a character beyond U+FFFF is two units.
static uint32_t java_hash(const char *text, size_t length) {
    uint32_t hash = 0;
    for (size_t i = 0; i < length;) {
        int32_t code = 0xfffd;
        const utf8proc_ssize_t size = utf8proc_iterate((const utf8proc_uint8_t *)text + i,
                                                       (utf8proc_ssize_t)(length - i), &code);
        i += size > 0 ? (size_t)size : 1;
        if (code >= 0x10000) hash = 31 * hash + 0xd7c0 + ((uint32_t)code >> 10);
        hash = 31 * hash + (code >= 0x10000 ? 0xdc00 + ((uint32_t)code & 0x3ff) : (uint32_t)code);
    }
    return hash;
}

static MeteorWord look_up(MeteorDictionary *dictionary, const char *word, size_t length) {
    const MeteorResources *resources = dictionary->resources;
    int32_t *synsets;
    const int synset_count = meteor_synsets(resources, word, length, &synsets);
    const sb_symbol *stem =
        sb_stemmer_stem(dictionary->stemmer, (const sb_symbol *)word, (int)length);
    if (!stem) stop_program("out of memory");
    return (MeteorWord){
        .hash = java_hash(word, length),
        .stem_hash = java_hash((const char *)stem, (size_t)sb_stemmer_length(dictionary->stemmer)),
        .phrase_word =
            dictionary->paraphrases ? paraphrases_word(dictionary->paraphrases, word, length) : -1,
        .is_function = string_table_find(resources->function_words, word, length) >= 0,
        .synsets = synsets,
        .synset_count = synset_count,
    };
}

static const MeteorWord *known_word(MeteorDictionary *dictionary, const char *word, size_t length) {
    const int known = string_table_size(dictionary->words);
    const int32_t number = string_table_add(dictionary->words, word, length);
    if (number < known) return &dictionary->known[number];
    if (number >= dictionary->capacity) {
        dictionary->capacity = 2 * number + 1024;
        dictionary->known = checked_realloc(dictionary->known, (size_t)dictionary->capacity *
                                                                   sizeof *dictionary->known);
    }
    dictionary->known[number] = look_up(dictionary, word, length);
    return &dictionary->known[number];
}

static void put_valid(ByteBuffer *to, const char *text) {
    for (size_t i = 0, length = strlen(text); i < length;) {
        const size_t size = utf8_character_length(text + i, length - i);
        if (size > 0)
            byte_buffer_put(to, text + i, size);
        else
            byte_buffer_put_text(to, UTF8_REPLACEMENT);
        i += size > 0 ? size : utf8_broken_length(text + i, length - i);
    }
}

void meteor_sentence_read(MeteorDictionary *dictionary, const char *line,
                          MeteorSentence *sentence) {
    byte_buffer_clear(&dictionary->valid);
    byte_buffer_clear(&dictionary->normalized);
    put_valid(&dictionary->valid, line);
    meteor_normalize(dictionary->resources, dictionary->valid.data, dictionary->valid.size,
                     &dictionary->normalized);
    const char *text = dictionary->normalized.data;
    sentence->count = 0;
    for (size_t i = 0, end; i < dictionary->normalized.size; i = end + 1) {
        for (end = i; end < dictionary->normalized.size && text[end] != ' ';) end++;
        if (sentence->count == sentence->capacity) {
            sentence->capacity = 2 * sentence->count + 32;
            const size_t capacity = (size_t)sentence->capacity;
            sentence->words = checked_realloc(sentence->words, capacity * sizeof(MeteorWord));
            sentence->phrase_words =
                checked_realloc(sentence->phrase_words, capacity * sizeof(int32_t));
        }
        const MeteorWord *word = known_word(dictionary, text + i, end - i);
        sentence->phrase_words[sentence->count] = word->phrase_word;
        sentence->words[sentence->count++] = *word;
    }
}

void meteor_sentence_free(MeteorSentence *sentence) {
    free(sentence->words);
    free(sentence->phrase_words);
    *sentence = (MeteorSentence){0};
}
