// A conversation is first written out as one text, remembering which bytes are supervised and where
// the image is; then the text is tokenized, and a token is supervised if it stands for supervised
// bytes.
#include "autograd/text/byte_buffer.h"
#include "data/conversation_template.h"
#include "data/text.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const char IMAGE_MARK[] = "<image>";
typedef struct Span {
    int32_t begin;
    int32_t end;
} Span;

typedef struct Prompt {
    ByteBuffer text;
    /// byte at which the image goes (between two bytes of text); -1 without one
    int64_t image;
    /// supervised bytes, in order
    Span *spans;
    int span_count;
} Prompt;

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

static void append_bytes(Prompt *prompt, const char *bytes, size_t count) {
    byte_buffer_put(&prompt->text, bytes, count);
}

static void append(Prompt *prompt, const char *text) { byte_buffer_put_text(&prompt->text, text); }

static void append_image(Prompt *prompt) { prompt->image = (int64_t)prompt->text.size; }

/// The bytes from `begin` to the end so far are supervised.
static void supervise_from(Prompt *prompt, size_t begin) {
    prompt->spans =
        checked_realloc(prompt->spans, (size_t)(prompt->span_count + 1) * sizeof *prompt->spans);
    prompt->spans[prompt->span_count++] = (Span){(int32_t)begin, (int32_t)prompt->text.size};
}

static void prompt_free(Prompt *prompt) {
    byte_buffer_free(&prompt->text);
    free(prompt->spans);
}

/// The turn's text without its marks and without white space around it, after the image and a
/// newline.
static void append_with_image(Prompt *prompt, const char *text) {
    char *without = checked_malloc(strlen(text) + 1);
    size_t length = 0;
    for (const char *mark; (mark = strstr(text, IMAGE_MARK)); text = mark + strlen(IMAGE_MARK)) {
        memcpy(without + length, text, (size_t)(mark - text));
        length += (size_t)(mark - text);
    }
    memcpy(without + length, text, strlen(text) + 1);
    const char *stripped = without;
    length = strip_space(&stripped, length + strlen(text));
    append_image(prompt);
    if (length > 0) append(prompt, "\n");
    append_bytes(prompt, stripped, length);
    free(without);
}

/// The turn's text with the image where its mark is.
static void append_around_image(Prompt *prompt, const char *text, bool strips) {
    size_t length = strlen(text);
    if (strips) length = strip_space(&text, length);
    const char *mark = strstr(text, IMAGE_MARK);
    append_bytes(prompt, text, (size_t)(mark - text));
    append_image(prompt);
    mark += strlen(IMAGE_MARK);
    append_bytes(prompt, mark, length - (size_t)(mark - text));
}

/// Writes a conversation with a template: its text, the tokenizer's own tokens, and the system
/// message.
typedef struct Writer {
    Prompt *prompt;
    const ChatTemplate *template;
    const Tokenizer *tokenizer;
    const char *system_message;
    bool has_image, image_in_place;
} Writer;

/// A part of the template, with the tokens it asks for.
static void write_part(const Writer *writer, const char *part) {
    static const char bos[] = "{bos}", eos[] = "{eos}";
    for (const char *brace; part && *part; part = brace) {
        const bool is_bos = strncmp(part, bos, strlen(bos)) == 0;
        if (is_bos || strncmp(part, eos, strlen(eos)) == 0) {
            append(writer->prompt,
                   tokenizer_piece(writer->tokenizer, is_bos ? tokenizer_bos(writer->tokenizer)
                                                             : tokenizer_eos(writer->tokenizer)));
            brace = part + strlen(bos);
        } else {
            brace = part + strcspn(part + 1, "{") + 1;
            append_bytes(writer->prompt, part, (size_t)(brace - part));
        }
    }
}

static void write_message(const Writer *writer, const char *text, bool strips) {
    size_t length = strlen(text);
    if (strips) length = strip_space(&text, length);
    append_bytes(writer->prompt, text, length);
}

static void write_system_message(const Writer *writer) {
    if (!*writer->system_message) return;
    write_part(writer, writer->template->system_begin);
    write_message(writer, writer->system_message,
                  writer->template->strips && !writer->template->system_in_turn);
    write_part(writer, writer->template->system_end);
}

static void write_human(const Writer *writer, const char *text, bool is_first) {
    const bool with_system =
        is_first && writer->template->system_in_turn && *writer->system_message;
    write_part(writer, writer->template->human_begin);
    if (with_system) write_system_message(writer);
    if (writer->has_image && strstr(text, IMAGE_MARK)) {
        if (writer->image_in_place)
            append_around_image(writer->prompt, text, writer->template->strips);
        else
            append_with_image(writer->prompt, text);
    } else {
        // A message behind the system message is stripped together with it, so that its own
        // beginning stays.
        const char *message = text;
        size_t length = strlen(text);
        if (writer->template->strips) length = strip_space(&message, length);
        if (with_system && length > 0) {
            length += (size_t)(message - text);
            message = text;
        }
        append_bytes(writer->prompt, message, length);
    }
    write_part(writer, writer->template->human_end);
}

static void write_answer(const Writer *writer, const char *text) {
    write_part(writer, writer->template->answer_begin);
    const size_t begin = writer->prompt->text.size;
    write_part(writer, writer->template->answer_lead);
    write_message(writer, text, writer->template->strips);
    write_part(writer, writer->template->answer_end);
    supervise_from(writer->prompt, begin);
    write_part(writer, writer->template->answer_close);
}

static Writer writer_of(Prompt *prompt, const Tokenizer *tokenizer,
                        const ConversationFormat *format, bool has_image) {
    const ChatTemplate *template = chat_template(format->kind);
    const char *system_message =
        format->system_message ? format->system_message : template->system_message;
    return (Writer){prompt,    template,
                    tokenizer, system_message ? system_message : "",
                    has_image, format->image_in_place};
}

static void write_conversation(const Writer *writer, const Turn *turns, int count) {
    write_part(writer, writer->template->begin);
    if (!writer->template->system_in_turn) write_system_message(writer);
    for (int i = 0; i < count; i++) {
        if (turns[i].role == ROLE_HUMAN)
            write_human(writer, turns[i].text, i == 0);
        else
            write_answer(writer, turns[i].text);
    }
}

/// The tokenizer has the tokens that the template writes.
static bool check_template(const Tokenizer *tokenizer, ConversationTemplate kind, Error *error) {
    if (kind == TEMPLATE_PLAIN) return true;
    const ChatTemplate *template = chat_template(kind);
    for (int i = 0; i < 4 && template->needs[i]; i++) {
        if (tokenizer_piece_id(tokenizer, template->needs[i]) < 0)
            return error_set(error,
                             "the conversation template needs a token %s, which the tokenizer "
                             "lacks; data.version is another model's",
                             template->needs[i]);
    }
    const bool writes_bos = (template->begin && strstr(template->begin, "{bos}")) ||
                            strstr(template->human_begin, "{bos}");
    return !writes_bos || tokenizer_bos(tokenizer) >= 0 ||
           error_set(error,
                     "the conversation template begins with a bos_token, which the tokenizer "
                     "lacks; data.version is another model's");
}

static void write_plain(Prompt *prompt, const char *answer, bool has_image) {
    if (has_image) append_image(prompt);
    size_t begin = prompt->text.size;
    append(prompt, answer);
    append(prompt, "\n");
    supervise_from(prompt, begin);
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
    bool done = check_template(tokenizer, format->kind, error);
    if (format->kind != TEMPLATE_PLAIN) {
        const Writer writer = writer_of(&prompt, tokenizer, format, has_image);
        write_conversation(&writer, turns, count);
    } else if (count == 2) {
        write_plain(&prompt, turns[1].text, has_image);
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
    if (!check_template(tokenizer, format->kind, error)) return false;
    Prompt prompt = {.image = -1};
    if (format->kind == TEMPLATE_PLAIN) {
        if (has_image) append_image(&prompt);
    } else {
        Turn *placed = checked_malloc((size_t)count * sizeof *placed);
        memcpy(placed, turns, (size_t)count * sizeof *placed);
        bool marked = false;
        for (int i = 0; i < count; i++) marked = marked || strstr(turns[i].text, IMAGE_MARK);
        char *first = format_string("%s%s", has_image && !marked ? IMAGE_MARK : "", turns[0].text);
        placed[0].text = first;
        const Writer writer = writer_of(&prompt, tokenizer, format, has_image);
        write_conversation(&writer, placed, count);
        write_part(&writer, writer.template->answer_begin);
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
