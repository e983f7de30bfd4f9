#include "train/trainer/answer_setup.h"

#include "train/evaluation/evaluation_setup.h"
#include "train/trainer/training_check.h"

bool answer_setup(const Config *config, const ModelSetup *setup, AnswerSetup *out, Error *error) {
    static const AttentionMean MEANS[] = {[KEEP_MEAN] = ATTENTION_MEAN,
                                          [KEEP_LAYERS] = ATTENTION_MEAN_OF_HEADS,
                                          [KEEP_HEADS] = ATTENTION_APART};
    const EvalSection *eval = &config->eval;
    const LlamaConfig *llama = &setup->model->llama->config;
    if (!training_check_image_fits(config, setup->model->num_visual_tokens, error)) return false;
    out->selection = (AttentionSelection){eval->layers.values, eval->layers.count,
                                          eval->heads.values, eval->heads.count, MEANS[eval->keep]};
    Error reason;
    if (!attention_selection_check(&out->selection, llama->num_hidden_layers,
                                   llama->num_attention_heads, &reason))
        return config_refuse(config, eval->layers.count ? "eval.layers" : "eval.heads", error, "%s",
                             reason.message);
    // what is kept apart can be chosen later
    if (eval->keep != KEEP_MEAN) out->selection.layers = NULL;
    if (eval->keep == KEEP_HEADS) out->selection.heads = NULL;
    int num_ends = end_tokens_find(setup->tokenizer, setup->format.kind, out->end_tokens);
    out->options = (AnswerOptions){
        .model = setup->model,
        .tokenizer = setup->tokenizer,
        .format = setup->format,
        .image_aspect = config->data.image_aspect_ratio,
        .image_normalization = config->data.image_normalization,
        .generation = {.max_new_tokens = evaluation_max_new_tokens(config),
                       .sampling = {eval->temperature, eval->top_p, (uint64_t)eval->seed},
                       .end_tokens = out->end_tokens,
                       .num_end_tokens = num_ends,
                       .attention = &out->selection},
        .row = evaluation_row(config)};
    return true;
}
