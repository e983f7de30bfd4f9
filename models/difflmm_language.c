// From visual tokens and text to loss, continuation and attention.
#include "models/difflmm.h"

#include <stdlib.h>

static LlamaOptions forward_options(const DiffLMM *model) {
    return (LlamaOptions){
        .lora = model->lora, .seed = model->options.seed, .recompute = model->options.recompute};
}

/// Final hidden states [T,C] of packed samples.
static Tensor *run_packed(const DiffLMM *model, const PackedTokens *packed, Tensor *visual,
                          const LlamaOptions *options) {
    const Llama *llama = model->llama;
    Tensor *rotations =
        llama_rotations(llama, packed->num_sequences, NULL, packed->lengths, packed->total);
    return llama_forward(llama, packed_embeddings(packed, llama, visual), rotations,
                         llama_attention(llama, packed->num_sequences, packed->lengths), options);
}

static Tensor *dropout_rows(const DiffLMM *model, const DiffLMMBatch *batch, int rows,
                            int32_t (*values)[2]) {
    if (!model->lora || !batch->train) return NULL;
    return tensor_from_host(model->device, INT32, SHAPE(rows, 2), values);
}

/// Of hidden states of which `rows` [num_supervised] predict what is supervised.
static Tensor *cross_entropy_sum(const DiffLMM *model, const PackedTokens *packed, Tensor *hidden,
                                 const int32_t *rows) {
    int64_t n = packed->num_supervised;
    Tensor *predicting = tensor_from_host(model->device, INT32, SHAPE(n), rows);
    Tensor *targets = tensor_from_host(model->device, INT32, SHAPE(n), packed->targets);
    return linear_cross_entropy(hidden, model->llama->lm_head, predicting, targets);
}

/// The loss alone: the last layer is computed for the ends of the sequences only.
static Tensor *loss_sum(const DiffLMM *model, const DiffLMMBatch *batch, const PackedTokens *packed,
                        Tensor *visual, LlamaOptions *options) {
    PackedTail ends = packed_tail_new(packed);
    LlamaTail tail = {
        tensor_from_host(model->device, INT32, SHAPE(ends.total), ends.rows),
        llama_tail_attention(model->llama, packed->num_sequences, packed->lengths, ends.lengths),
        dropout_rows(model, batch, ends.total, ends.dropout_rows)};
    options->tail = &tail;
    Tensor *hidden = run_packed(model, packed, visual, options);
    Tensor *sum = cross_entropy_sum(model, packed, hidden, ends.supervised);
    packed_tail_free(&ends);
    return sum;
}

DiffLMMLoss difflmm_loss(const DiffLMM *model, const DiffLMMBatch *batch,
                         Intermediates *intermediates) {
    PackedTokens packed =
        packed_tokens_new(batch->samples, batch->num_samples, model->num_visual_tokens,
                          model->options.model_max_length);
    DiffLMMLoss loss = {NULL, packed.num_supervised, packed.total};
    if (batch->train && model->llama->config.hidden_size < PACKING_FILLED_BELOW)
        packed_tokens_fill(&packed);
    if (packed.num_supervised > 0 || intermediates) {
        LlamaOptions options = forward_options(model);
        options.train = batch->train;
        options.pass = batch->pass;
        options.dropout_rows = dropout_rows(model, batch, packed.total, packed.dropout_rows);
        Tensor *visual = NULL;
        if (batch->features)
            visual = difflmm_visual_tokens(model, batch->features, batch->noise, intermediates);
        if (intermediates) {
            Tensor *hidden = run_packed(model, &packed, visual, &options);
            if (packed.num_supervised > 0)
                loss.sum = cross_entropy_sum(model, &packed, hidden, packed.rows);
            intermediates->logits = llama_logits(model->llama, hidden, NULL);
        } else {
            loss.sum = loss_sum(model, batch, &packed, visual, &options);
        }
    }
    packed_tokens_free(&packed);
    return loss;
}

void difflmm_writing_add(const DiffLMM *model, LlamaWriting *writing, const TokenSample *prompt,
                         uint64_t index, Tensor *visual, Generation *generation) {
    PackedTokens packed =
        packed_tokens_new(prompt, 1, model->num_visual_tokens, model->options.model_max_length);
    GenerationPrompt start = {.length = packed.lengths[0],
                              .index = index,
                              .first_key = packed.first_visual[0],
                              .num_keys = packed.num_visual[0]};
    tape_pause();
    scope_begin();
    llama_writing_add(writing, packed_embeddings(&packed, model->llama, visual), &start,
                      generation);
    scope_end();
    tape_resume();
    packed_tokens_free(&packed);
}

/// Where a token of the sample stands in the packed sequence.
static int packed_position(const TokenSample *sample, int token, int tokens_per_image) {
    int position = token;
    for (int i = 0; i < token; i++)
        if (sample->ids[i] == PACKING_IMAGE_TOKEN) position += tokens_per_image - 1;
    return position;
}

AttentionMaps difflmm_attention(const DiffLMM *model, const TokenSample *sample, Tensor *visual,
                                const int *tokens, int count, AttentionRow row,
                                const AttentionSelection *selection) {
    const LlamaConfig *config = &model->llama->config;
    PackedTokens packed =
        packed_tokens_new(sample, 1, model->num_visual_tokens, model->options.model_max_length);
    AttentionMaps maps = attention_maps_new(selection, config->num_hidden_layers,
                                            config->num_attention_heads, model->num_visual_tokens);
    CaptureRow *rows = checked_malloc((size_t)count * sizeof *rows + 1);
    LlamaCapture capture = {selection, 0, rows};
    for (int i = 0; i < count; i++) {
        int at = packed_position(sample, tokens[i], model->num_visual_tokens) -
                 (row == ATTENTION_PRODUCING_ROW);
        CaptureRow wanted = {at, packed.first_visual[0], &maps, attention_maps_add_row(&maps)};
        CHECK(at >= 0, "the first token of a sequence is produced by no row");
        if (at < packed.total && packed.num_visual[0] > 0) rows[capture.num_rows++] = wanted;
    }
    LlamaOptions options = forward_options(model);
    options.capture = &capture;
    tape_pause();
    scope_begin();
    run_packed(model, &packed, visual, &options);
    scope_end();
    tape_resume();
    free(rows);
    packed_tokens_free(&packed);
    return maps;
}
