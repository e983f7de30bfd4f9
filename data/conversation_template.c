// Each is what the chat_template of the published tokenizer_config.json gives: Llama-2-7b-chat-hf,
// Meta-Llama-3-8B-Instruct, Mistral-7B-Instruct-v0.2, Qwen2-7B-Instruct, SmolLM2-135M-Instruct;
// vicuna_v1 and llava_v1 are LLaVA's.
#include "data/conversation_template.h"

#include <string.h>

static const struct {
    const char *name;
    ConversationTemplate kind;
} NAMES[] = {
    {"plain", TEMPLATE_PLAIN},     {"vicuna_v1", TEMPLATE_VICUNA_V1},
    {"v1", TEMPLATE_VICUNA_V1},    {"llava_v1", TEMPLATE_LLAVA_V1},
    {"llama_2", TEMPLATE_LLAMA_2}, {"llama_3", TEMPLATE_LLAMA_3},
    {"mistral", TEMPLATE_MISTRAL}, {"qwen_2", TEMPLATE_QWEN_2},
    {"smollm2", TEMPLATE_SMOLLM2},
};

// The two differ in one word of the system message.
#define VICUNA(asker)                                                                        \
    .system_message = "A chat between a curious " asker                                      \
                      " and an artificial intelligence assistant. The assistant gives "      \
                      "helpful, detailed, and polite answers to the " asker "'s questions.", \
    .system_end = " ", .human_begin = "USER: ", .human_end = " ",                            \
    .answer_begin = "ASSISTANT:", .answer_lead = " ", .answer_end = "{eos}",                 \
    .begins_with_bos = true

static const ChatTemplate VICUNA_V1 = {VICUNA("user")};

static const ChatTemplate LLAVA_V1 = {VICUNA("human")};

static const ChatTemplate LLAMA_2 = {
    .system_begin = "<<SYS>>\n",
    .system_end = "\n<</SYS>>\n\n",
    .human_begin = "{bos}[INST] ",
    .human_end = " [/INST]",
    .answer_lead = " ",
    .answer_end = " {eos}",
    .system_in_turn = true,
    .strips = true,
};

static const ChatTemplate LLAMA_3 = {
    .begin = "{bos}",
    .system_begin = "<|start_header_id|>system<|end_header_id|>\n\n",
    .system_end = "<|eot_id|>",
    .human_begin = "<|start_header_id|>user<|end_header_id|>\n\n",
    .human_end = "<|eot_id|>",
    .answer_begin = "<|start_header_id|>assistant<|end_header_id|>\n\n",
    .answer_end = "<|eot_id|>",
    .needs = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
    .strips = true,
};

static const ChatTemplate MISTRAL = {
    .begin = "{bos}",
    .system_end = "\n\n",
    .human_begin = " [INST] ",
    .human_end = " [/INST]",
    .answer_lead = " ",
    .answer_end = "{eos}",
    .system_in_turn = true,
};

#define CHATML                                                                                   \
    .system_begin = "<|im_start|>system\n", .system_end = "<|im_end|>\n",                        \
    .human_begin = "<|im_start|>user\n", .human_end = "<|im_end|>\n",                            \
    .answer_begin = "<|im_start|>assistant\n", .answer_end = "<|im_end|>", .answer_close = "\n", \
    .needs = {"<|im_start|>", "<|im_end|>"}

static const ChatTemplate QWEN_2 = {.system_message = "You are a helpful assistant.", CHATML};

static const ChatTemplate SMOLLM2 = {
    .system_message = "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
    CHATML,
};

bool conversation_template_named(const char *name, ConversationTemplate *result) {
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        if (strcmp(name, NAMES[i].name) != 0) continue;
        *result = NAMES[i].kind;
        return true;
    }
    return false;
}

const ChatTemplate *chat_template(ConversationTemplate kind) {
    switch (kind) {
    case TEMPLATE_LLAVA_V1:
        return &LLAVA_V1;
    case TEMPLATE_LLAMA_2:
        return &LLAMA_2;
    case TEMPLATE_LLAMA_3:
        return &LLAMA_3;
    case TEMPLATE_MISTRAL:
        return &MISTRAL;
    case TEMPLATE_QWEN_2:
        return &QWEN_2;
    case TEMPLATE_SMOLLM2:
        return &SMOLLM2;
    default:
        CHECK(kind == TEMPLATE_VICUNA_V1, "template %d has no text", (int)kind);
    }
    return &VICUNA_V1;
}
