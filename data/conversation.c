// A conversation is first written out as one text, remembering which bytes are supervised and where
// the image is; then the text is tokenized, and a token is supervised if it stands for supervised
// bytes.
#include "data/conversation_template.h"
#include "data/conversation_text.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

void token_sequence_free(TokenSequence *sequence) {
    free(sequence->ids);
    free(sequence->supervised);
    *sequence = (TokenSequence){0};
}

static const char *role_name(Role role) { return role == ROLE_HUMAN ? "human" : "gpt"; }

/// Turns from the first human one on.
static const Turn *from_first_human(const Turn *turns, int *count) {
    if (*count > 0 && turns[0].role == ROLE_GPT) {
        --*count;
        return turns + 1;
    }
    return turns;
}

static bool check_alternation(const Turn *turns, int count, Error *error) {
    for (int i = 0; i < count; i++) {
        Role expected = i % 2 == 0 ? ROLE_HUMAN : ROLE_GPT;
        if (turns[i].role != expected)
            return error_set(error,
                             "turn %d is from '%s'; expected '%s' (human and gpt take turns)",
                             i + 1, role_name(turns[i].role), role_name(expected));
    }
    return true;
}

static bool check_image_mark(const Turn *turns, int count, bool must_be_there, Error *error) {
    int found = 0;
    for (int i = 0; i < count; i++) {
        if (!strstr(turns[i].text, IMAGE_MARK)) continue;
        if (turns[i].role != ROLE_HUMAN)
            return error_set(
                error, "turn %d is from 'gpt' and has <image>; expected it in a human turn", i + 1);
        found++;
    }
    if (found > 1)
        return error_set(error, "%d turns have <image>; expected one image per sample", found);
    if (found == 0 && must_be_there)
        return error_set(error,
                         "there is an image, but no turn has <image>; expected it in a human turn");
    return true;
}

bool conversation_check(const Turn *turns, int count, bool has_image, Error *error) {
    turns = from_first_human(turns, &count);
    if (count < 2)
        return error_set(error, "expected at least one turn from 'human' and one from 'gpt'");
    if (!check_alternation(turns, count, error)) return false;
    return !has_image || check_image_mark(turns, count, true, error);
}

static bool is_supervised(const Prompt *prompt, int32_t begin, int32_t end) {
    for (int i = 0; i < prompt->span_count; i++) {
        const Span span = prompt->spans[i];
        // An empty span is a token for a space that the tokenizer added, or for a part of a
        // character.
        if (begin < span.end && (end > span.begin || begin >= span.begin)) return true;
    }
    return false;
}

static bool tokenize_chunk(const Tokenizer *tokenizer, const Prompt *prompt, size_t begin,
                           size_t end, TokenList *list, Error *error) {
    int first = list->count;
    if (!tokenizer_encode(tokenizer, prompt->text.data + begin, end - begin, list, error))
        return false;
    for (int i = first; i < list->count; i++) {
        list->begin[i] += (int32_t)begin;
        list->end[i] += (int32_t)begin;
    }
    return true;
}

/// How many tokens stay so that the sequence with the image's tokens has at most `limit`.
static int count_within(int count, int image_position, int visual_tokens, int limit) {
    const bool image_fits = image_position >= 0 && image_position + visual_tokens <= limit;
    const int most = image_fits ? limit + 1 - visual_tokens : limit;
    if (count > most) count = most;
    return image_position >= 0 && !image_fits && count > image_position ? image_position : count;
}

bool conversation_cut(const int32_t *ids, const uint8_t *supervised, int whole,
                      const ConversationFormat *format, TokenSequence *sequence, Error *error) {
    int image = -1;
    for (int i = 0; i < whole && image < 0; i++)
        if (ids[i] == IMAGE_TOKEN) image = i;
    *sequence = (TokenSequence){.image_position = -1};
    if (image >= 0 && format->model_max_length <= format->visual_tokens + 1)
        return error_set(error, "model_max_length is %d, but an image alone takes %d tokens",
                         format->model_max_length, format->visual_tokens);
    const int count = count_within(whole, image, format->visual_tokens, format->model_max_length);
    sequence->count = count;
    sequence->truncated = count < whole;
    sequence->ids = checked_malloc((size_t)count * sizeof *sequence->ids);
    sequence->supervised = checked_malloc((size_t)count);
    for (int i = 0; i < count; i++) {
        sequence->ids[i] = ids[i];
        sequence->supervised[i] = supervised[i];
        sequence->supervised_count += supervised[i];
    }
    for (int i = count; i < whole && sequence->supervised_count == 0; i++)
        sequence->answer_is_cut_off = sequence->answer_is_cut_off || supervised[i];
    if (image < count) sequence->image_position = image;
    sequence->length = count + (sequence->image_position >= 0 ? format->visual_tokens - 1 : 0);
    return true;
}

static bool cut(const Prompt *prompt, const ConversationFormat *format, const TokenList *list,
                int image_position, TokenSequence *sequence, Error *error) {
    uint8_t *supervised = checked_malloc((size_t)list->count + 1);
    for (int i = 0; i < list->count; i++) {
        const bool is_text = i > 0 && i != image_position; // nothing predicts the first
        supervised[i] = is_text && is_supervised(prompt, list->begin[i], list->end[i]);
    }
    bool ok = conversation_cut(list->ids, supervised, list->count, format, sequence, error);
    free(supervised);
    return ok;
}

static bool tokenize_prompt(const Tokenizer *tokenizer, const ConversationFormat *format,
                            const Prompt *prompt, TokenSequence *sequence, Error *error) {
    if (prompt->text.size > INT_MAX / 4)
        return error_set(error, "the conversation has %zu bytes, which is too long",
                         prompt->text.size);
    TokenList list = {0};
    int image_position = -1;
    const bool adds_bos =
        format->kind == TEMPLATE_PLAIN || chat_template(format->kind)->begins_with_bos;
    if (adds_bos && tokenizer_adds_bos(tokenizer))
        token_list_append(&list, tokenizer_bos(tokenizer), 0, 0);
    bool tokenized;
    if (prompt->image < 0) {
        tokenized = tokenize_chunk(tokenizer, prompt, 0, prompt->text.size, &list, error);
    } else {
        const size_t image = (size_t)prompt->image;
        tokenized = tokenize_chunk(tokenizer, prompt, 0, image, &list, error);
        image_position = list.count;
        token_list_append(&list, IMAGE_TOKEN, (int32_t)image, (int32_t)image);
        tokenized =
            tokenized && tokenize_chunk(tokenizer, prompt, image, prompt->text.size, &list, error);
    }
    tokenized = tokenized && cut(prompt, format, &list, image_position, sequence, error);
    token_list_free(&list);
    return tokenized;
}

char *conversation_identity(const Tokenizer *tokenizer, const ConversationFormat *format) {
    const char *system_message = format->system_message ? format->system_message
                                 : format->kind == TEMPLATE_PLAIN
                                     ? NULL
                                     : chat_template(format->kind)->system_message;
    return format_string("tokenizer %016llx, template %d, version 1, system message: %s",
                         (unsigned long long)tokenizer_checksum(tokenizer), (int)format->kind,
                         system_message ? system_message : "");
}

bool conversation_tokenize(const Tokenizer *tokenizer, const ConversationFormat *format,
                           const Turn *turns, int count, bool has_image, TokenSequence *sequence,
                           Error *error) {
    *sequence = (TokenSequence){.image_position = -1};
    if (!conversation_check(turns, count, has_image, error)) return false;
    turns = from_first_human(turns, &count);
    Prompt prompt = {.image = -1};
    bool done = conversation_check_template(tokenizer, format->kind, error);
    if (format->kind != TEMPLATE_PLAIN) {
        conversation_write(&prompt, tokenizer, format, turns, count, has_image, false);
    } else if (count == 2) {
        conversation_write_plain(&prompt, turns[1].text, has_image);
    } else {
        done = error_set(error, "%d turns; the template 'plain' is for one question and one answer",
                         count);
    }
    done = done && tokenize_prompt(tokenizer, format, &prompt, sequence, error);
    prompt_free(&prompt);
    return done;
}

bool conversation_prompt(const Tokenizer *tokenizer, const ConversationFormat *format,
                         const Turn *turns, int count, bool has_image, TokenSequence *sequence,
                         Error *error) {
    *sequence = (TokenSequence){.image_position = -1};
    if (!check_alternation(turns, count, error)) return false;
    if (count % 2 == 0) return error_set(error, "the last turn must be the human's");
    if (has_image && !check_image_mark(turns, count, false, error)) return false;
    if (!conversation_check_template(tokenizer, format->kind, error)) return false;
    Prompt prompt = {.image = -1};
    if (format->kind == TEMPLATE_PLAIN) {
        conversation_write_plain(&prompt, NULL, has_image);
    } else {
        Turn *placed = checked_malloc((size_t)count * sizeof *placed);
        memcpy(placed, turns, (size_t)count * sizeof *placed);
        bool marked = false;
        for (int i = 0; i < count; i++) marked = marked || strstr(turns[i].text, IMAGE_MARK);
        char *first = format_string("%s%s", has_image && !marked ? IMAGE_MARK : "", turns[0].text);
        placed[0].text = first;
        conversation_write(&prompt, tokenizer, format, placed, count, has_image, true);
        free(first);
        free(placed);
    }
    prompt.span_count = 0;
    const bool done = tokenize_prompt(tokenizer, format, &prompt, sequence, error);
    prompt_free(&prompt);
    if (!done || !sequence->truncated) return done;
    token_sequence_free(sequence);
    error_set(error,
              "the question does not fit: data.model_max_length allows %d tokens, an image's %d "
              "included",
              format->model_max_length, format->visual_tokens);
    if (error) error->is_configuration = true;
    return false;
}
