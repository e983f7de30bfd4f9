// Decoders, and BERT.
//
//   llama   embeddings [T,C], lengths [1,num] of T's packed sequences, [direction [T,V]]
//           logits, hidden, blocks; with a direction the gradient of <logits, direction>:
//           embeddings_grad
//   bert    ids [1,T], lengths, [direction [T,C]]
//           embeddings, hidden, blocks; with a direction the gradient of <hidden, direction> with
//           respect to the embeddings
#include "models/language/bert.h"
#include "models/language/llama.h"
#include "tests/parity/programs/network_outputs.h"

static void *load_llama(Run *run, const char *folder, Device *device, DType dtype, Error *error) {
    (void)run;
    return llama_load(folder, device, dtype, error);
}

static void run_llama(Run *run, void *network) {
    const Llama *llama = network;
    Device *device = llama->device;
    int64_t batch, count;
    const int32_t *lengths = run_input_ids(run, "lengths", &batch, &count);
    Tensor *embeddings = run_input(run, device, "embeddings");
    Tensor *rotations = llama_rotations(llama, (int)count, NULL, lengths, tensor_rows(embeddings));
    bool backwards = run_has_input(run, "direction");
    if (backwards) require_grad(embeddings);
    tape_begin();
    Tensor *hidden = llama_forward(llama, convert(embeddings, llama->dtype), rotations,
                                   llama_attention(llama, (int)count, lengths), &(LlamaOptions){0});
    Tensor *logits = llama_logits(llama, hidden, NULL);
    run_phase(run, device, RUN_FORWARD);
    if (backwards) {
        backward(logits, convert(run_input(run, device, "direction"), llama->dtype), NULL);
        run_phase(run, device, RUN_BACKWARD);
        run_output(run, "embeddings_grad", grad(embeddings));
    }
    tape_end();
    run_output(run, "hidden", hidden);
    run_output(run, "logits", logits);
}

static void release_llama(void *network) { llama_free(network); }

static void *load_bert(Run *run, const char *folder, Device *device, DType dtype, Error *error) {
    (void)run;
    return bert_load(folder, device, dtype, error);
}

static void run_bert(Run *run, void *network) {
    const Bert *bert = network;
    Device *device = bert->device;
    int64_t batch, count, tokens;
    const int32_t *lengths = run_input_ids(run, "lengths", &batch, &count);
    const int32_t *ids = run_input_ids(run, "ids", &batch, &tokens);
    bool backwards = run_has_input(run, "direction");
    Tensor *embeddings = bert_embed(bert, ids, (int)count, lengths);
    Tensor *leaf = convert(embeddings, FLOAT32); // itself in float32
    if (backwards) require_grad(leaf);
    tape_begin();
    Tensor *hidden = bert_encode(bert, convert(leaf, bert->dtype), (int)count, lengths);
    run_phase(run, device, RUN_FORWARD);
    if (backwards) {
        backward(hidden, convert(run_input(run, device, "direction"), bert->dtype), NULL);
        run_phase(run, device, RUN_BACKWARD);
        run_output(run, "embeddings_grad", grad(leaf));
    }
    tape_end();
    run_output(run, "embeddings", embeddings);
    run_output(run, "hidden", hidden);
}

static void release_bert(void *network) { bert_free(network); }

const NetworkKind language_networks[] = {
    {"bert", load_bert, run_bert, release_bert},
    {"llama", load_llama, run_llama, release_llama},
    {NULL, NULL, NULL, NULL},
};
