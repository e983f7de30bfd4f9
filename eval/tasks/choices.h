/// What a user chooses of a task, beside files.
#pragma once

/// Of a referring reference's sentences.
typedef enum SentenceChoice { SENTENCES_ALL, SENTENCES_FIRST } SentenceChoice;

/// Which tokens' attention answers a referring expression (spec: v2, v2 as published, v1).
typedef enum ReferringTokens {
    /// of the token behind the first of the words is, are, be
    BEHIND_VERB,
    /// the same, by pieces of tokens: the "is" of "skis" counts
    BEHIND_VERB_PIECE,
    /// the maximum over the first eight tokens
    FIRST_EIGHT
} ReferringTokens;
