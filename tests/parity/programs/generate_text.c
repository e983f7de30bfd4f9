// Continues the questions that come on stdin greedily and in FLOAT32, all in one batch, for
// tests/parity/check_smollm2.py.
//
//   generate_text MODEL VERSION NEW_TOKENS <questions >answers      VERSION: a conversation
//   template, as data.version takes it
//
// A question is its length as an unsigned 32-bit number and its bytes; at most 64. An answer is the
// prompt's ids, the new ids without the one that ended them (each list: how many, then 32 bits
// each), whether it ended before NEW_TOKENS, and the length and bytes of the new ids' text.
#include "data/conversation.h"
#include "models/language/llama_generate.h"
#include "ops/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_QUESTIONS = 64, MOST_NEW_TOKENS = 4096, LONGEST_PROMPT = 1 << 20 };

typedef struct Prompts {
    TokenSequence sequences[MOST_QUESTIONS];
    GenerationPrompt lengths[MOST_QUESTIONS];
    int count, tokens;
} Prompts;

static bool add_prompt(Prompts *prompts, const Tokenizer *tokenizer, ConversationTemplate kind,
                       const char *question, Error *error) {
    if (prompts->count == MOST_QUESTIONS)
        return error_set(error, "more than %d questions", MOST_QUESTIONS);
    const ConversationFormat format = {.kind = kind, .model_max_length = LONGEST_PROMPT};
    const Turn turn = {ROLE_HUMAN, question};
    TokenSequence *sequence = &prompts->sequences[prompts->count];
    if (!conversation_prompt(tokenizer, &format, &turn, 1, false, sequence, error)) return false;
    prompts->lengths[prompts->count++] = (GenerationPrompt){.length = sequence->count};
    prompts->tokens += sequence->count;
    return true;
}

static bool read_prompts(Prompts *prompts, const Tokenizer *tokenizer, ConversationTemplate kind,
                         Error *error) {
    uint32_t length;
    while (fread(&length, sizeof length, 1, stdin) == 1) {
        char *question = checked_calloc((size_t)length + 1, 1);
        const bool whole = fread(question, 1, length, stdin) == length;
        const bool done = whole ? add_prompt(prompts, tokenizer, kind, question, error)
                                : error_set(error, "a question is cut short");
        free(question);
        if (!done) return false;
    }
    return prompts->count > 0 || error_set(error, "no questions");
}

static void write_ids(const int32_t *ids, int count) {
    const uint32_t stored = (uint32_t)count;
    fwrite(&stored, sizeof stored, 1, stdout);
    if (count > 0) fwrite(ids, sizeof *ids, stored, stdout);
}

static void write_answer(const Tokenizer *tokenizer, const TokenSequence *prompt,
                         const Generation *answer) {
    DecodedText decoded = tokenizer_decode(tokenizer, answer->tokens, answer->count);
    const uint32_t ended = answer->ended, bytes = (uint32_t)strlen(decoded.text);
    write_ids(prompt->ids, prompt->count);
    write_ids(answer->tokens, answer->count);
    fwrite(&ended, sizeof ended, 1, stdout);
    fwrite(&bytes, sizeof bytes, 1, stdout);
    fwrite(decoded.text, 1, bytes, stdout);
    decoded_text_free(&decoded);
}

static void answer_prompts(const Llama *llama, const Tokenizer *tokenizer, const Prompts *prompts,
                           int new_tokens) {
    int32_t *ids = checked_malloc((size_t)prompts->tokens * sizeof *ids);
    for (int i = 0, used = 0; i < prompts->count; used += prompts->sequences[i++].count)
        memcpy(ids + used, prompts->sequences[i].ids,
               (size_t)prompts->sequences[i].count * sizeof *ids);
    const GenerationOptions options = {.max_new_tokens = new_tokens};
    Generation answers[MOST_QUESTIONS];
    scope_begin();
    llama_generate(llama, NULL, llama_embed(llama, ids, prompts->tokens), prompts->count,
                   prompts->lengths, &options, answers);
    scope_end();
    for (int i = 0; i < prompts->count; i++) {
        write_answer(tokenizer, &prompts->sequences[i], &answers[i]);
        generation_free(&answers[i]);
    }
    free(ids);
}

static bool run(const char *model, ConversationTemplate kind, int new_tokens, Error *error) {
    Prompts prompts = {0};
    Llama *llama = NULL;
    Tokenizer *tokenizer = tokenizer_open(model, error);
    bool done = tokenizer && read_prompts(&prompts, tokenizer, kind, error);
    if (done) llama = llama_load(model, ops_cpu_open(0), FLOAT32, error);
    if (llama) answer_prompts(llama, tokenizer, &prompts, new_tokens);
    for (int i = 0; i < prompts.count; i++) token_sequence_free(&prompts.sequences[i]);
    if (llama) llama_free(llama);
    tokenizer_close(tokenizer);
    return llama != NULL;
}

int main(int count, char **arguments) {
    ConversationTemplate kind;
    const int new_tokens = count == 4 ? atoi(arguments[3]) : 0;
    if (new_tokens < 1 || new_tokens > MOST_NEW_TOKENS ||
        !conversation_template_named(arguments[2], &kind)) {
        fprintf(stderr, "usage: generate_text MODEL VERSION NEW_TOKENS (1 to %d)\n",
                MOST_NEW_TOKENS);
        return 2;
    }
    Error error = {0};
    if (run(arguments[1], kind, new_tokens, &error)) return 0;
    fprintf(stderr, "%s\n", error.message);
    return 1;
}
