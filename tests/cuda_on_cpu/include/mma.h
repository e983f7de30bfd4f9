/// nvcuda::wmma for kernels that are executed on the host: bfloat16 matrices of 16 x 16, sums in float32.
///
/// Which lane holds which element is not what any GPU does, so that code which relies on a layout gives wrong numbers here.
#pragma once
#include "cuda_bf16.h"

namespace nvcuda {
namespace wmma {

struct matrix_a {};
struct matrix_b {};
struct accumulator {};
struct row_major {};
struct col_major {};
enum layout_t { mem_row_major, mem_col_major };

/// A lane's share of a matrix.
template <typename Use, int M, int N, int K, typename T, typename Layout = void> struct fragment;

template <typename T> struct CudaOnCpuFragment {
    enum { num_elements = 8 };
    T x[8];
    static const bool is_fragment = true;
};
template <>
struct fragment<matrix_a, 16, 16, 16, __nv_bfloat16, row_major> : CudaOnCpuFragment<__nv_bfloat16> {
};
template <>
struct fragment<matrix_a, 16, 16, 16, __nv_bfloat16, col_major> : CudaOnCpuFragment<__nv_bfloat16> {
};
template <>
struct fragment<matrix_b, 16, 16, 16, __nv_bfloat16, row_major> : CudaOnCpuFragment<__nv_bfloat16> {
};
template <>
struct fragment<matrix_b, 16, 16, 16, __nv_bfloat16, col_major> : CudaOnCpuFragment<__nv_bfloat16> {
};
template <> struct fragment<accumulator, 16, 16, 16, float, void> : CudaOnCpuFragment<float> {};

/// Where each element lies: element i of a lane is element [row][column] of the matrix.
struct CudaOnCpuLayout {
    unsigned char element[32][8]; ///< row * 16 + column
};
extern const CudaOnCpuLayout cuda_on_cpu_operand_layout, cuda_on_cpu_accumulator_layout;

/// Checks, as far as a GPU would need it, the address and the distance of rows (or columns), and that both are the same in all lanes.
void cuda_on_cpu_meet_at_matrix(const char *operation, const void *pointer, unsigned leading,
                                size_t element_bytes);
void cuda_on_cpu_mma(__nv_bfloat16 *a, __nv_bfloat16 *b, float *c, float *d);

template <typename T>
static inline const T *cuda_on_cpu_at(const T *pointer, int element, unsigned leading, bool rows) {
    size_t row = (size_t)element / 16, column = (size_t)element % 16;
    return pointer + (rows ? row * leading + column : column * leading + row);
}

template <typename Fragment, typename Value>
static inline void fill_fragment(Fragment &f, const Value &value) {
    static_assert(Fragment::is_fragment);
    for (auto &x : f.x) x = value;
}

/// Every lane reads its share when it gets here, before it waits for the others: what another lane has yet to write is
/// missing, as it can be on a GPU.
template <typename Use, typename Layout>
static inline void load_matrix_sync(fragment<Use, 16, 16, 16, __nv_bfloat16, Layout> &f,
                                    const __nv_bfloat16 *pointer, unsigned leading) {
    const unsigned char *elements = cuda_on_cpu_operand_layout.element[cuda_on_cpu_lane()];
    for (int i = 0; i < 8; i++)
        f.x[i] = *cuda_on_cpu_at(pointer, elements[i], leading, std::is_same_v<Layout, row_major>);
    cuda_on_cpu_meet_at_matrix("load_matrix_sync", pointer, leading, sizeof(__nv_bfloat16));
}

static inline void load_matrix_sync(fragment<accumulator, 16, 16, 16, float> &f,
                                    const float *pointer, unsigned leading, layout_t layout) {
    const unsigned char *elements = cuda_on_cpu_accumulator_layout.element[cuda_on_cpu_lane()];
    for (int i = 0; i < 8; i++)
        f.x[i] = *cuda_on_cpu_at(pointer, elements[i], leading, layout == mem_row_major);
    cuda_on_cpu_meet_at_matrix("load_matrix_sync", pointer, leading, sizeof(float));
}

/// Every lane writes its share after all have come: without __syncwarp the others do not see it yet.
static inline void store_matrix_sync(float *pointer,
                                     const fragment<accumulator, 16, 16, 16, float> &f,
                                     unsigned leading, layout_t layout) {
    cuda_on_cpu_meet_at_matrix("store_matrix_sync", pointer, leading, sizeof(float));
    const unsigned char *elements = cuda_on_cpu_accumulator_layout.element[cuda_on_cpu_lane()];
    for (int i = 0; i < 8; i++)
        *const_cast<float *>(
            cuda_on_cpu_at<float>(pointer, elements[i], leading, layout == mem_row_major)) = f.x[i];
}

/// d = a b + c
template <typename LayoutA, typename LayoutB>
static inline void mma_sync(fragment<accumulator, 16, 16, 16, float> &d,
                            const fragment<matrix_a, 16, 16, 16, __nv_bfloat16, LayoutA> &a,
                            const fragment<matrix_b, 16, 16, 16, __nv_bfloat16, LayoutB> &b,
                            const fragment<accumulator, 16, 16, 16, float> &c) {
    cuda_on_cpu_mma(const_cast<__nv_bfloat16 *>(a.x), const_cast<__nv_bfloat16 *>(b.x),
                    const_cast<float *>(c.x), d.x);
}

} // namespace wmma
} // namespace nvcuda
