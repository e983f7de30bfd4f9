/// One sample of instruction data: a conversation, most often about a picture, as the usual forms
/// write it.
///
///   LLaVA           {"id", "image", "conversations": [{"from": "human" | "gpt", "value"}, ...]}
///   ShareGPT        {"images", "system", "conversations": [{"from", "value"}, ...]}
///   messages        {"images", "messages": [{"role": "user" | "assistant", "content"}, ...]}
///
/// The latter two are LLaMA-Factory's (its data/README.md). All are one form with two ways to name
/// things: the turns may stand under either key, with either pair of keys and roles. "image" and
/// "images" are a name, a list of one name, or nothing (null, []). What they mean for `<image>`:
/// "image" is LLaVA's, whose code moves the mark to the front of its turn and puts a newline
/// behind it; "images" is LLaMA-Factory's, which leaves the mark where it is written.
///
/// A first turn from "system", or else the key "system", takes the place of the template's system
/// message in that sample, as in LLaMA-Factory; "" leaves the template's. `plain` writes none
/// (dataset_first_beyond_plain()).
///
/// Refused, because it would be lost: several images (visual tokens, features and the attention
/// that is evaluated are of one image per sample; the data that DiffLMM is trained on has no
/// more), pictures in base64 or in the web, videos and sounds, tools and what they say (roles
/// "function_call", "observation", "tool"; "tool_calls"), pairs of answers to choose from, contents
/// in parts, empty answers (which teach that there is nothing to say).
#pragma once
#include "data/conversation.h"
#include "data/pack/pack.h"

struct json_t;

typedef struct Sample {
    /// as written; "" if there is none
    char *id;
    /// of the file; NULL for text only
    char *image_path;
    /// as the sample names it; the sample's
    const char *image_name;
    /// of a pack that has pictures; bytes NULL: the file is to be read
    PackImage packed_image;
    Turn *turns;
    int turn_count;
    /// in place of the template's; NULL: none of its own
    const char *system_message;
    /// `<image>` stays where it is written
    bool image_in_place;
    /// of a pack (data/pack/pack.h), with what its tokens depend on; NULL: tokens are not there yet
    const int32_t *tokens;
    int num_tokens;
    const PackSpan *spans;
    int num_spans;
    const char *tokens_of;
    /// owns the texts
    struct json_t *json;
} Sample;

/// Fills the sample from its JSON object, of which it takes the reference whatever happens. A
/// relative image name is one in `image_folder`. On failure the id is there, and the caller frees
/// the sample as well.
bool sample_read(struct json_t *json, const char *image_folder, Sample *sample, Error *error);
void sample_free(Sample *sample);

/// Words of all turns, and one; negative for text only: LLaVA's estimate of the length.
int32_t sample_words(const Sample *sample);
/// Whether the template `plain` has no place for it: more, or fewer, turns than a question and an
/// answer (a leading turn of the model is passed over), or a system message.
bool sample_is_beyond_plain(const Sample *sample);

/// conversation_tokenize() as the sample's form wants it; the tokens of a pack are taken where they
/// are of this tokenizer and format, and made anew otherwise.
bool sample_tokenize(const Sample *sample, const Tokenizer *tokenizer,
                     const ConversationFormat *format, TokenSequence *sequence, Error *error);
