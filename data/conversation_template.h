/// How a conversation is written out as text, for each version but `plain`. For data/conversation.c
/// only.
#pragma once
#include "data/conversation.h"

/// The text of a template. "{bos}" and "{eos}" stand for the tokenizer's own tokens; NULL is no
/// text.
typedef struct ChatTemplate {
    /// of the conversation
    const char *begin;
    const char *system_message;
    /// around a system message that is not empty
    const char *system_begin;
    const char *system_end;
    const char *human_begin;
    const char *human_end;
    /// where generation sets in
    const char *answer_begin;
    /// learned from, as are the answer and answer_end
    const char *answer_lead;
    const char *answer_end;
    const char *answer_close;
    /// pieces without which the tokenizer is another model's
    const char *needs[4];
    /// one is put in front if the tokenizer does so; others write it themselves
    bool begins_with_bos;
    /// the system message is part of the first human turn, after human_begin
    bool system_in_turn;
    /// messages lose the white space around them
    bool strips;
} ChatTemplate;

/// Not for TEMPLATE_PLAIN.
const ChatTemplate *chat_template(ConversationTemplate kind);
