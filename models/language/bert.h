/// BERT's encoder [Devlin et al. 2019, arXiv 1810.04805] as transformers' BertModel, frozen: the
/// evaluation of grounded conversations compares phrases by it.
///
/// Sequences are packed one behind the other, never padded: T counts the tokens of all of them,
/// [CLS] and [SEP] included.
#pragma once
#include "models/affine.h"

typedef struct BertLayer {
    Affine query, key, value, attention_output, attention_norm;
    Affine intermediate, output, output_norm;
} BertLayer;

typedef struct Bert {
    Device *device;
    DType dtype;
    int hidden_size, intermediate_size, num_hidden_layers, num_attention_heads;
    int vocab_size, type_vocab_size, max_position_embeddings;
    float layer_norm_eps;
    Activation hidden_act;
    /// [V,C]
    Tensor *word_embeddings;
    /// [max_position_embeddings,C]
    Tensor *position_embeddings;
    /// [type_vocab_size,C]
    Tensor *token_type_embeddings;
    Affine embeddings_norm;
    BertLayer *layers;
} Bert;

/// Reads a published directory: of BertModel or of a model that has one under "bert."
/// (BertForMaskedLM and others), norms also under their old names gamma and beta. A pooler is not
/// read. NULL on failure: a missing or unsupported key, a tensor missing or of another shape.
Bert *bert_load(const char *path, Device *device, DType dtype, Error *error);
void bert_free(Bert *bert);

/// Word, position and type embeddings, normalised: [T,C]. ids in [0, V): host array of
/// num_sequences packed sequences of lengths[s] <= max_position_embeddings tokens, all of type 0.
/// No gradient.
Tensor *bert_embed(const Bert *bert, const int32_t *ids, int num_sequences, const int *lengths);
/// The last layer's hidden states [T,C] of embeddings [T,C]. Differentiable in them.
Tensor *bert_encode(const Bert *bert, Tensor *embeddings, int num_sequences, const int *lengths);
/// Both.
Tensor *bert_forward(const Bert *bert, const int32_t *ids, int num_sequences, const int *lengths);
/// The mean of each sequence's last hidden states over all its tokens, into the host array means
/// [num_sequences][C].
void bert_means(const Bert *bert, const int32_t *ids, int num_sequences, const int *lengths,
                float *means);
