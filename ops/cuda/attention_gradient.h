/// Inside the CUDA kernels only: what attention's backward kernels share.
#pragma once
#include "ops/cuda/attention_tiles.h"

enum Output { OF_QUERIES, OF_KEYS, OF_VALUES };

template <typename T> struct Backward {
    AttentionShape shape;
    const T *q, *k, *v, *y, *grad_y;
    const float *log_sum_exp;
    /// [rows,heads]
    float *delta;
    int64_t rows;
    /// as Output; NULL where not wanted
    T *grad[3];
};

/// Of one query.
struct alignas(16) QueryNumbers {
    /// in units of log 2
    float log_sum_exp;
    /// keys that it sees; 0 past the segment's end
    int visible;
    float delta;

    /// P of the query and a key, from its score in units of log 2.
    __device__ __forceinline__ float weight(int key, int window, float score) const {
        return in_window(key, visible, window) ? power_of_two(score - log_sum_exp) : 0.0f;
    }
};

template <typename T>
static __device__ __forceinline__ QueryNumbers query_numbers(const Backward<T> &g,
                                                             const AttentionPart &part, int query) {
    if (query >= part.q_length) return {0.0f, 0, 0.0f};
    int64_t at = (part.q_row + query) * g.shape.heads + part.head;
    return {g.log_sum_exp[at] * LOG2_E, part.visible(query), g.delta[at]};
}

/// Of `count` queries from `first` on. No barrier.
template <typename T>
static __device__ __forceinline__ void load_numbers(const Backward<T> &g, const AttentionPart &part,
                                                    int first, int count, QueryNumbers *numbers) {
    if ((int)threadIdx.x < count)
        numbers[threadIdx.x] = query_numbers(g, part, first + (int)threadIdx.x);
}

/// Field by field: a choice of whole structures goes by way of local memory.
template <typename T>
static __device__ __forceinline__ HeadRows<T> choose_rows(bool first, const HeadRows<T> &a,
                                                          const HeadRows<T> &b) {
    return {first ? a.data : b.data, first ? a.stride : b.stride, first ? a.length : b.length};
}

/// The two sides of a block: own rows of the output, other rows that it goes over. Each has rows
/// for the scores and for grad_y v^T.
template <typename T> struct Sides {
    HeadRows<const T> own, own_grad, other, other_grad;
    /// of the other rows
    int begin, end;

    /// For rows first .. first + count.
    __device__ __forceinline__ Sides(const Backward<T> &g, const AttentionPart &part, bool keys,
                                     int first, int count) {
        HeadRows<const T> q = query_rows(g.q, g.shape, part),
                          grad = query_rows(g.grad_y, g.shape, part),
                          k = key_rows(g.k, g.shape, part), v = key_rows(g.v, g.shape, part);
        own = choose_rows(keys, k, q);
        own_grad = choose_rows(keys, v, grad);
        other = choose_rows(keys, q, k);
        other_grad = choose_rows(keys, grad, v);
        int before = part.causal ? first - (part.k_length - part.q_length) : 0;
        // Of keys: from the first query that sees the first of them to the last that sees the last.
        begin = !keys ? part.hidden(first) : before > 0 ? before : 0;
        end = keys ? part.q_length : part.visible(min(first + count, part.q_length) - 1);
        if (keys && part.window < part.k_length)
            end = min(end, before + min(count, part.k_length - first) - 1 + part.window);
    }
};

/// A part that was chosen by a head of keys: the first query head of its group.
static __device__ __forceinline__ void begin_with_group(const AttentionShape &shape,
                                                        AttentionPart &part) {
    part.kv_head = part.head;
    part.head *= shape.heads / shape.kv_heads;
}

// ---- attention_gradient_warpgroups.cu

/// Makes the gradients if there is a faster way on this GPU; otherwise does nothing and returns
/// false.
bool attention_gradient_by_warpgroups(const Backward<bfloat16> &g, const Attention *shape,
                                      const Tensor *like);
