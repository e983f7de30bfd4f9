/// A normalised line as METEOR's matchers see its words.
#pragma once
#include "eval/metrics/meteor/paraphrases.h"
#include "eval/metrics/meteor/resources.h"

typedef struct MeteorWord {
    /// Java's hashes of the word and of its stem, by which METEOR compares them
    uint32_t hash, stem_hash;
    /// in the vocabulary of paraphrases, or -1
    int32_t phrase_word;
    bool is_function;
    /// its synonym sets, sorted
    const int32_t *synsets;
    int synset_count;
} MeteorWord;

typedef struct MeteorSentence {
    MeteorWord *words;
    int32_t *phrase_words;
    int count, capacity;
} MeteorSentence;

/// Looks words up, and remembers those that it has met. One per thread.
typedef struct MeteorDictionary MeteorDictionary;

/// `paraphrases` may be NULL. Both are kept.
MeteorDictionary *meteor_dictionary_new(const MeteorResources *resources,
                                        const Paraphrases *paraphrases);
void meteor_dictionary_free(MeteorDictionary *dictionary);

/// Normalises a line, whatever its bytes, and looks its words up. What was in `sentence` is
/// replaced; zeros at first, meteor_sentence_free() at the end. Its words' synonyms belong to the
/// dictionary.
void meteor_sentence_read(MeteorDictionary *dictionary, const char *line, MeteorSentence *sentence);
void meteor_sentence_free(MeteorSentence *sentence);
