/// Inside the CUDA kernels only: the softmax of attention's tiles on tensor cores, whose rows'
/// scores lie in the registers of four lanes (attention_tiles.h).
#pragma once
#include "ops/cuda/attention_tiles.h"

/// What a lane knows of its two rows.
template <bool RELATIVE> struct LaneRows {
    ScoreRow<RELATIVE> score[2];
    /// keys
    int visible[2];
    /// totals are of the lane's own columns
    RunningSoftmax softmax[2];

    __device__ __forceinline__ LaneRows(const AttentionShape &shape, const AttentionPart &part,
                                        int query)
        : score{{shape, part, query}, {shape, part, query + 8}} {
        for (int h = 0; h < 2; h++)
            visible[h] = query + 8 * h < part.q_length ? part.visible(query + 8 * h) : 0;
    }
    /// Keys first .. first + count.
    __device__ __forceinline__ bool see_all(int first, int count, int window) const {
        int fewest = min(visible[0], visible[1]), most = max(visible[0], visible[1]);
        return first + count <= fewest && first >= most - window;
    }
};

/// Over the four lanes of a row.
static __device__ __forceinline__ float quad_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}
static __device__ __forceinline__ float quad_sum(float x) {
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

/// Products of the lane's rows to weights; `shrink` is what the rows' sums shrink by. With MASKED
/// keys may be hidden.
template <bool MASKED, bool RELATIVE, int N>
static __device__ __forceinline__ void softmax_tile(int key, int window, LaneRows<RELATIVE> &rows,
                                                    Tile<N> &scores, float (&shrink)[2]) {
    float maximum[2] = {-INFINITY, -INFINITY};
    UNROLL
    for (int i = 0; i < 4 * N; i++) {
        int h = i / 2 % 2, column = key + i / 4 * 8 + lane_column() + i % 2;
        float &score = scores[i / 4][i % 4];
        score = MASKED && !in_window(column, rows.visible[h], window)
                    ? -INFINITY
                    : rows.score[h].score(score, column);
        maximum[h] = fmaxf(maximum[h], score);
    }
    UNROLL
    for (int h = 0; h < 2; h++) shrink[h] = rows.softmax[h].raise(quad_max(maximum[h]));
    UNROLL
    for (int i = 0; i < 4 * N; i++) {
        float &score = scores[i / 4][i % 4];
        score = rows.softmax[i / 2 % 2].weight(score);
        rows.softmax[i / 2 % 2].total += score;
    }
}

/// The inverse of the rows' totals; writes their log.
template <bool RELATIVE>
static __device__ __forceinline__ void finish_rows(const Forward<bfloat16> &f,
                                                   const AttentionPart &part, int query,
                                                   LaneRows<RELATIVE> &rows, float (&inverse)[2]) {
    UNROLL
    for (int h = 0; h < 2; h++) {
        rows.softmax[h].total = quad_sum(rows.softmax[h].total);
        inverse[h] = rows.softmax[h].inverse();
        if (lane_of_thread() % 4 == 0) f.write_log_sum(part, query + 8 * h, rows.softmax[h]);
    }
}
