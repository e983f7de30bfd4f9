#include "data/conversation_text.h"

#include "data/conversation_template.h"
#include "data/text.h"

#include <stdlib.h>
#include <string.h>

const char IMAGE_MARK[] = "<image>";

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

void prompt_free(Prompt *prompt) {
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

void conversation_write(Prompt *prompt, const Tokenizer *tokenizer,
                        const ConversationFormat *format, const Turn *turns, int count,
                        bool has_image, bool opens_answer) {
    const Writer writer = writer_of(prompt, tokenizer, format, has_image);
    write_part(&writer, writer.template->begin);
    if (!writer.template->system_in_turn) write_system_message(&writer);
    for (int i = 0; i < count; i++) {
        if (turns[i].role == ROLE_HUMAN)
            write_human(&writer, turns[i].text, i == 0);
        else
            write_answer(&writer, turns[i].text);
    }
    if (opens_answer) write_part(&writer, writer.template->answer_begin);
}

bool conversation_check_template(const Tokenizer *tokenizer, ConversationTemplate kind,
                                 Error *error) {
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

void conversation_write_plain(Prompt *prompt, const char *answer, bool has_image) {
    if (has_image) append_image(prompt);
    if (!answer) return;
    size_t begin = prompt->text.size;
    append(prompt, answer);
    append(prompt, "\n");
    supervise_from(prompt, begin);
}
