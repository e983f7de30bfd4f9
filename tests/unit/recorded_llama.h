/// The small Llamas that tests/parity/record_language.py recorded, opened with what was recorded of
/// them.
///
/// A test that includes this file includes nothing else of cmocka's.
#pragma once
#include "models/language/llama.h"
#include "ops/kernels.h"
#include "tests/unit/recorded_language.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"

/// set to the device under test before the tests run
static Device *device;

/// A recorded Llama and what was recorded of it.
typedef struct Recorded {
    Llama *llama;
    SafetensorsFile *file;
    int lengths[3];
    double tolerance;
} Recorded;

static const char *const cases[] = {"gqa", "odd", "sharded"};
enum { NUM_CASES = 3, NUM_SEQUENCES = 3 };

static Recorded recorded_begin(const char *name) {
    Recorded recorded = {0};
    Error error;
    char path[512];
    snprintf(path, sizeof path, RECORDED_FOLDER "llama/%s", name);
    recorded.llama = llama_load(path, device, FLOAT32, &error);
    if (!recorded.llama) fail_msg("%s", error.message);
    snprintf(path, sizeof path, RECORDED_FOLDER "llama/%s.safetensors", name);
    recorded.file = recorded_open(path);
    int *lengths = recorded_ints(recorded_find(recorded.file, "lengths"));
    memcpy(recorded.lengths, lengths, sizeof recorded.lengths);
    free(lengths);
    // Ten operations a layer (two norms, seven products, attention), and the same again in
    // backward.
    const LlamaConfig *config = &recorded.llama->config;
    recorded.tolerance =
        float32_tolerance(config->intermediate_size, 20.0 * config->num_hidden_layers + 2);
    case_begin();
    return recorded;
}

static void recorded_end(Recorded *recorded) {
    case_end();
    llama_free(recorded->llama);
    safetensors_close(recorded->file);
}

static Tensor *recorded_embeddings(const Recorded *recorded) {
    Tensor *embeddings = recorded_tensor(recorded_find(recorded->file, "embeddings"), device);
    require_grad(embeddings);
    return embeddings;
}

static Tensor *forward(const Recorded *recorded, Tensor *embeddings, const LlamaOptions *options) {
    Tensor *rotations = llama_rotations(recorded->llama, NUM_SEQUENCES, NULL, recorded->lengths,
                                        tensor_rows(embeddings));
    return llama_forward(recorded->llama, embeddings, rotations,
                         llama_attention(recorded->llama, NUM_SEQUENCES, recorded->lengths),
                         options);
}

#pragma GCC diagnostic pop
