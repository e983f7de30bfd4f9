/// Tokens by text and by id.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Vocabulary Vocabulary;

/// Room for `capacity` tokens, whose ids are less than `id_limit`.
Vocabulary *vocabulary_new(size_t capacity, int32_t id_limit);
void vocabulary_free(Vocabulary *vocabulary);
/// Adds a token (copied). False if the text or the id is there already, or the id is out of range.
bool vocabulary_add(Vocabulary *vocabulary, const char *text, int32_t id);
/// -1 if there is no such token.
int32_t vocabulary_id(const Vocabulary *vocabulary, const char *text, size_t length);
/// NULL for an id without a token.
const char *vocabulary_text(const Vocabulary *vocabulary, int32_t id);
int32_t vocabulary_id_limit(const Vocabulary *vocabulary);
