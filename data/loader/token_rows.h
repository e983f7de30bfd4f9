/// Samples packed into rows of a token budget, each row a micro-batch.
#pragma once
#include <stdbool.h>
#include <stdint.h>

/// Slot i is for a sample of at most the i-th of the lengths that were packed.
typedef struct TokenRows {
    int64_t count;
    /// [count + 1]: where each row begins, among the slots of all rows one after the other
    int64_t *begins;
    /// of each slot: its place in that sequence
    int64_t *places;
} TokenRows;

/// Puts `count` lengths into rows of at most `budget`, taken in the order of `sequence` (a
/// permutation of 0 to count - 1), which is also their order within a row. Each goes into the first
/// row that has room for it: in a random sequence rows are full but for about one in a hundred
/// tokens, and mixed in their lengths. `in_order`: into the row of the one before it, or a new one.
/// A length above the budget has a row to itself. The caller frees it.
TokenRows token_rows_pack(const int32_t *lengths, const int64_t *sequence, int64_t count,
                          int64_t budget, bool in_order);
void token_rows_free(TokenRows *rows);

/// Deals samples of these lengths (each no longer than the one before) out to `rows` rows, each to
/// the one that has the fewest tokens so far, the first of several: two rows are no further apart
/// than the longest sample. row_of: [count], the row of each. False if a row would have more than
/// the budget (a single sample may).
bool token_rows_spread(const int32_t *lengths, int64_t count, int64_t rows, int64_t budget,
                       int64_t *row_of);
