/// A decoder of Llama's kind [Touvron et al. 2023, arXiv 2302.13971], of any size, frozen:
/// transformers' LlamaForCausalLM (Vicuna too), MistralForCausalLM and Qwen2ForCausalLM. LoRA
/// beside its linear layers is what may be trained (models/language/lora.h).
///
/// Sequences are packed one behind the other, never padded: T counts the tokens of all of them.
#pragma once
#include "models/affine.h"
#include "models/language/attention_capture.h"
#include "models/language/llama_config.h"
#include "ops/ops.h"

/// The linear layers of a decoder layer, in the order in which PEFT lists them.
typedef enum LlamaModule {
    Q_PROJ,
    K_PROJ,
    V_PROJ,
    O_PROJ,
    GATE_PROJ,
    UP_PROJ,
    DOWN_PROJ,
    LLAMA_MODULE_COUNT
} LlamaModule;

typedef struct LlamaLayer {
    /// [C]
    Tensor *input_layernorm, *post_attention_layernorm;
    /// bias NULL where there is none
    Affine linears[LLAMA_MODULE_COUNT];
} LlamaLayer;

typedef struct Llama {
    LlamaConfig config;
    Device *device;
    DType dtype;
    /// [V,C]
    Tensor *embed_tokens;
    /// [C]
    Tensor *norm;
    /// [V,C]; embed_tokens itself where the two are tied
    Tensor *lm_head;
    LlamaLayer *layers;
    RotationTable *rotation_table;
} Llama;

typedef struct LlamaLora LlamaLora;   // models/language/lora.h
typedef struct LlamaCache LlamaCache; // models/language/llama_cache.h

/// The ends of packed sequences, where only their hidden states are wanted: of the other rows the
/// last layer then computes keys and values alone. The results are those of the whole pass.
typedef struct LlamaTail {
    /// INT32 [n], which rows of the pass these are: each sequence's last ones
    Tensor *rows;
    /// their queries against the keys of all rows
    Attention shape;
    /// LlamaOptions.dropout_rows of these rows
    Tensor *dropout_rows;
} LlamaTail;

/// How a forward pass is made; zero is a plain one.
typedef struct LlamaOptions {
    /// NULL: the frozen model alone
    const LlamaLora *lora;
    /// LoRA's dropout happens, keyed by seed and pass
    bool train;
    uint64_t seed;
    /// the optimizer step, say: keys dropout together with dropout_rows
    uint64_t pass;
    /// as in LoRA (ops/ops.h); may be NULL
    Tensor *dropout_rows;
    /// 0: keep what backward needs; n: recompute every n-th layer
    int recompute;
    /// keys and values of earlier tokens; NULL: there are none
    LlamaCache *cache;
    /// Every row is of another sequence, and nothing of it depends on the others, not its last bit
    /// (linear_few_rows()). No gradients then.
    bool few_rows;
    /// attention to be delivered, or NULL
    const LlamaCapture *capture;
    /// NULL: the hidden states of all rows are wanted
    const LlamaTail *tail;
} LlamaOptions;

/// Reads a published directory. NULL on failure: a missing or unsupported key, a tensor missing or
/// of another shape.
Llama *llama_load(const char *path, Device *device, DType dtype, Error *error);
/// The same, the layers' matrices in FLOAT8; embeddings and lm_head keep their type.
Llama *llama_load_float8(const char *path, Device *device, DType dtype, Error *error);
void llama_free(Llama *llama);

/// Width of module's output and input.
int llama_module_out(const LlamaConfig *config, LlamaModule module);
int llama_module_in(const LlamaConfig *config, LlamaModule module);
/// "self_attn.q_proj", ..., "mlp.down_proj".
const char *llama_module_name(LlamaModule module);

/// Embeddings of token ids in [0, V), a host array: [count,C].
Tensor *llama_embed(const Llama *llama, const int32_t *ids, int64_t count);

/// What the rotary embedding does to packed rows, as rope() takes it: FLOAT32 [rows,head_dim].
/// Sequence s brings lengths[s] rows, from its position first[s] on (NULL: from 0), and ends there.
/// Rows beyond belong to no sequence.
Tensor *llama_rotations(const Llama *llama, int num_sequences, const int *first, const int *lengths,
                        int64_t rows);

/// The hidden states after the final norm, [T,C] (or of options->tail's rows), of embeddings [T,C]
/// with their rotations; `shape` says who attends to whom (llama_attention(), or
/// llama_cache_extend() with a cache). Differentiable in the embeddings and LoRA. `llama` and
/// `options->lora` must outlive the backward pass.
Tensor *llama_forward(const Llama *llama, Tensor *embeddings, Tensor *rotations, Attention shape,
                      const LlamaOptions *options);

/// Attention of packed sequences with this model's heads.
Attention llama_attention(const Llama *llama, int num_sequences, const int *lengths);

/// The same where only the last query_lengths[s] rows of sequence s ask.
Attention llama_tail_attention(const Llama *llama, int num_sequences, const int *lengths,
                               const int *query_lengths);

/// Logits of some rows (INT32 [n], NULL: all) of the final hidden states: [n,V].
Tensor *llama_logits(const Llama *llama, Tensor *hidden, Tensor *rows);
/// The same where a row depends on that hidden state alone, to the last bit (linear_few_rows()):
/// for the next tokens. No gradients.
Tensor *llama_next_logits(const Llama *llama, Tensor *hidden, Tensor *rows);
