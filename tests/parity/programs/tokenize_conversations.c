// Tokenizes the samples of a file, for tests/parity/check_conversations.py.
//
//   tokenize_conversations TOKENIZER TEMPLATE FILE >results
//
// A result is the number of tokens (32 bits), their ids (32 bits each; -200 is the image) and for
// each a byte that says whether it is learned; of a sample that is refused -1, the length of the
// message (32 bits) and its bytes.
#include "data/instruction_sample.h"
#include "data/sample_file.h"

#include <stdio.h>
#include <string.h>

typedef struct Program {
    Tokenizer *tokenizer;
    ConversationFormat format;
} Program;

static void write_number(int32_t number) { fwrite(&number, sizeof number, 1, stdout); }

static bool answer(void *context, const SamplePlace *place, int64_t number, struct json_t *json,
                   Error *error) {
    (void)place;
    (void)number;
    (void)error;
    const Program *program = context;
    TokenSequence sequence = {0};
    Sample sample;
    Error refused = {0};
    if (sample_read(json, ".", &sample, &refused) &&
        sample_tokenize(&sample, program->tokenizer, &program->format, &sequence, &refused)) {
        write_number(sequence.count);
        fwrite(sequence.ids, sizeof *sequence.ids, (size_t)sequence.count, stdout);
        fwrite(sequence.supervised, 1, (size_t)sequence.count, stdout);
    } else {
        write_number(-1);
        write_number((int32_t)strlen(refused.message));
        fwrite(refused.message, 1, strlen(refused.message), stdout);
    }
    token_sequence_free(&sequence);
    sample_free(&sample);
    return true;
}

static bool run(const char *tokenizer, const char *template, const char *path, Error *error) {
    Program program = {.format = {.visual_tokens = 1, .model_max_length = 1 << 28}};
    if (!conversation_template_named(template, &program.format.kind))
        return error_set(error, "there is no template '%s'", template);
    program.tokenizer = tokenizer_open(tokenizer, error);
    SampleFile *file = program.tokenizer ? sample_file_open(path, error) : NULL;
    const bool done = file && sample_file_scan(file, answer, &program, error);
    sample_file_close(file);
    tokenizer_close(program.tokenizer);
    return done && (fflush(stdout) == 0 || error_set(error, "the results cannot be written"));
}

int main(int count, char **arguments) {
    Error error = {0};
    if (count == 4 && run(arguments[1], arguments[2], arguments[3], &error)) return 0;
    fprintf(stderr, "%s\n",
            count == 4 ? error.message : "usage: tokenize_conversations TOKENIZER TEMPLATE FILE");
    return 1;
}
