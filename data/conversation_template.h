/// How a conversation is written out as text, for each version but `plain`. For data/conversation.c only.
#pragma once
#include "data/conversation.h"

/// The text of a template. "{bos}" and "{eos}" stand for the tokenizer's own tokens; NULL is no text.
typedef struct ChatTemplate {
    const char *begin; ///< of the conversation
    const char *system_message;
    const char *system_begin; ///< around a system message that is not empty
    const char *system_end;
    const char *human_begin;
    const char *human_end;
    const char *answer_begin; ///< where generation sets in
    const char *answer_lead;  ///< learned from, as are the answer and answer_end
    const char *answer_end;
    const char *answer_close;
    const char *needs[4]; ///< pieces without which the tokenizer is another model's
    bool
        begins_with_bos; ///< one is put in front if the tokenizer does so; others write it themselves
    bool system_in_turn; ///< the system message is part of the first human turn, after human_begin
    bool strips;         ///< messages lose the white space around them
} ChatTemplate;

/// Not for TEMPLATE_PLAIN.
const ChatTemplate *chat_template(ConversationTemplate kind);
