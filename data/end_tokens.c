#include "data/end_tokens.h"

#include "data/conversation_template.h"

#include <string.h>

/// Of Llama 2 and Mistral, ChatML (Qwen2, SmolLM2), Llama 3 and Llama 3.1's tools, Gemma, Phi-3,
/// GPT-2 and its heirs, OpenChat and Command R.
static const char *const PUBLISHED[] = {
    "</s>",          "<|im_end|>", "<|eot_id|>",    "<|end_of_text|>", "<|eom_id|>",
    "<end_of_turn>", "<|end|>",    "<|endoftext|>", "<|end_of_turn|>", "<|END_OF_TURN_TOKEN|>"};
enum { NUM_PUBLISHED = sizeof PUBLISHED / sizeof *PUBLISHED };

_Static_assert(NUM_PUBLISHED + 2 <= MOST_END_TOKENS, "there is room for all");

static void add(int32_t id, int32_t *ids, int *count) {
    if (id < 0) return;
    for (int i = 0; i < *count; i++)
        if (ids[i] == id) return;
    ids[(*count)++] = id;
}

/// The token that stands at the end of an answer, -1 for a template without one (plain).
static int32_t end_of_template(const Tokenizer *tokenizer, ConversationTemplate kind) {
    if (kind == TEMPLATE_PLAIN) return -1;
    const char *end = chat_template(kind)->answer_end;
    while (*end == ' ') end++;
    return strcmp(end, "{eos}") ? tokenizer_piece_id(tokenizer, end) : tokenizer_eos(tokenizer);
}

int end_tokens_find(const Tokenizer *tokenizer, ConversationTemplate kind,
                    int32_t ids[MOST_END_TOKENS]) {
    int count = 0;
    add(tokenizer_eos(tokenizer), ids, &count);
    add(end_of_template(tokenizer, kind), ids, &count);
    for (int i = 0; i < NUM_PUBLISHED; i++) {
        int32_t id = tokenizer_piece_id(tokenizer, PUBLISHED[i]);
        if (id >= 0 && tokenizer_is_special(tokenizer, id)) add(id, ids, &count);
    }
    return count;
}
