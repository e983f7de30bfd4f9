/// From the turns of a conversation to token ids and the positions that are learned from.
///
/// Templates. `plain`: the image, then the answer and a newline (the question is dropped).
/// `vicuna_v1`: a system message, then "USER: question ASSISTANT: answer</s>" without a break.
/// `llava_v1`: the same, but the system message speaks of "a curious human" and not of "a curious
/// user"; the published evaluation asks with it what was trained with vicuna_v1.
/// `llama_2`, `llama_3`, `mistral`, `qwen_2`, `smollm2`: what the chat template published with
/// those models gives, with its own system message if it has one; the answers are supervised with
/// the token that ends them. The prompt is tokenized chunk by chunk around `<image>`, as LLaVA
/// does, with one <s> at the very start if the tokenizer puts one there; which tokens are
/// supervised follows from the byte spans of the very same tokenization, so the mask cannot
/// disagree with the ids.
#pragma once
#include "data/tokenizers/tokenizer.h"

/// Stands in TokenSequence.ids for the place where the visual tokens go.
enum { IMAGE_TOKEN = -200 };

/// In the order of the names that data.version takes.
typedef enum ConversationTemplate {
    TEMPLATE_PLAIN,
    TEMPLATE_VICUNA_V1,
    TEMPLATE_LLAVA_V1,
    TEMPLATE_LLAMA_2,
    TEMPLATE_LLAMA_3,
    TEMPLATE_MISTRAL,
    TEMPLATE_QWEN_2,
    TEMPLATE_SMOLLM2,
} ConversationTemplate;

/// From "plain", "vicuna_v1" (also "v1"), "llava_v1", "llama_2", "llama_3", "mistral", "qwen_2" or
/// "smollm2"; false for another name.
bool conversation_template_named(const char *name, ConversationTemplate *result);

typedef enum Role { ROLE_HUMAN, ROLE_GPT } Role;

typedef struct Turn {
    Role role;
    /// UTF-8
    const char *text;
} Turn;

typedef struct ConversationFormat {
    ConversationTemplate kind;
    /// NULL: the template's own; "" for none
    const char *system_message;
    /// how many tokens one image becomes
    int visual_tokens;
    /// longest sequence with the visual tokens in it
    int model_max_length;
    /// `<image>` stays where a turn has it, and nothing is put behind it
    bool image_in_place;
} ConversationFormat;

typedef struct TokenSequence {
    int count;
    /// [count], IMAGE_TOKEN at most once
    int32_t *ids;
    /// [count], 1 where predicting this token (from those before it) counts for the loss
    uint8_t *supervised;
    int supervised_count;
    /// index of IMAGE_TOKEN, -1 without one
    int image_position;
    /// count with the visual tokens in place of IMAGE_TOKEN
    int length;
    /// cut to model_max_length
    bool truncated;
    /// No token is supervised because of that.
    bool answer_is_cut_off;
} TokenSequence;

void token_sequence_free(TokenSequence *sequence);

/// Checks what conversation_tokenize() needs: at least one turn of each role, taking turns, human
/// first (a leading turn of the model is passed over, as LLaVA does), and `<image>` in exactly one
/// human turn if there is an image.
bool conversation_check(const Turn *turns, int count, bool has_image, Error *error);

/// A training sample. `<image>` is moved to the front of its turn, followed by a newline; several
/// in one turn count as one (with image_in_place there is one, and it stays). Without an image,
/// "<image>" is ordinary text. Longer sequences are cut at the end; an image that does not fit is
/// cut as well (image_position is -1 then). The caller frees the sequence.
bool conversation_tokenize(const Tokenizer *tokenizer, const ConversationFormat *format,
                           const Turn *turns, int count, bool has_image, TokenSequence *sequence,
                           Error *error);

/// The same of tokens that are there already, before they were cut: ids [count], of which one at
/// most is IMAGE_TOKEN, and supervised [count], as conversation_tokenize() makes them without a
/// limit.
bool conversation_cut(const int32_t *ids, const uint8_t *supervised, int count,
                      const ConversationFormat *format, TokenSequence *sequence, Error *error);

/// Everything that the uncut tokens of a conversation depend on, beside its turns: the same text
/// means the same tokens. The caller frees it.
char *conversation_identity(const Tokenizer *tokenizer, const ConversationFormat *format);

/// A prompt for generation: the turns, the last of them human, up to where the answer begins,
/// "ASSISTANT:" (plain: the image alone). Nothing is supervised. With an image and no `<image>` in
/// the turns, it goes in front of the first. What does not fit is an error of the configuration:
/// nothing can be answered to half a question.
bool conversation_prompt(const Tokenizer *tokenizer, const ConversationFormat *format,
                         const Turn *turns, int count, bool has_image, TokenSequence *sequence,
                         Error *error);
