// The emulated cuBLASLt multiplies, and refuses what the real one would refuse or would get wrong
// without a word.
#include "cublasLt.h"
#include "emulator.h"

#include <csetjmp>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <vector>

extern "C" {
#include <cmocka.h>
}

#define assert_success(call) assert_int_equal((call), CUBLAS_STATUS_SUCCESS)

/// One product D [M,N] = op(A) [M,K] op(B) [K,N] in FLOAT32, with everything that a test may spoil.
struct Product {
    static constexpr int M = 5, N = 7, K = 96; // long enough to be split, so with a workspace
    static constexpr size_t WORKSPACE = 1 << 16;
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a_layout, b_layout, d_layout;
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t found;
    cudaStream_t stream;
    float *a, *b, *d, *bias;
    char *workspace;
    size_t workspace_bytes = WORKSPACE;
    std::vector<float> host_a, host_b;

    Product() : host_a(M * K), host_b(K * N) {
        for (size_t i = 0; i < host_a.size(); i++) host_a[i] = (float)(i * 7 % 11) - 5;
        for (size_t i = 0; i < host_b.size(); i++) host_b[i] = (float)(i * 5 % 13) - 6;
        assert_int_equal(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
        a = on_device(host_a);
        b = on_device(host_b);
        d = on_device(std::vector<float>(M * N + 1));
        bias = on_device(std::vector<float>(M, 0.5f));
        workspace = reinterpret_cast<char *>(on_device(std::vector<float>(WORKSPACE / 4 + 1)));
        assert_success(cublasLtCreate(&handle));
        assert_success(cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
        assert_success(cublasLtMatrixLayoutCreate(&a_layout, CUDA_R_32F, M, K, M));
        assert_success(cublasLtMatrixLayoutCreate(&b_layout, CUDA_R_32F, K, N, K));
        assert_success(cublasLtMatrixLayoutCreate(&d_layout, CUDA_R_32F, M, N, M));
        assert_success(cublasLtMatmulPreferenceCreate(&preference));
        prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, (uint64_t)WORKSPACE);
        prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
               (uint32_t)CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
    }

    template <typename T> T *on_device(const std::vector<T> &values) {
        T *pointer;
        size_t bytes = values.size() * sizeof(T);
        assert_int_equal(cudaMalloc(&pointer, bytes), cudaSuccess);
        assert_int_equal(
            cudaMemcpyAsync(pointer, values.data(), bytes, cudaMemcpyHostToDevice, stream),
            cudaSuccess);
        return pointer;
    }

    template <typename T> void prefer(cublasLtMatmulPreferenceAttributes_t name, T value) {
        assert_success(
            cublasLtMatmulPreferenceSetAttribute(preference, name, &value, sizeof value));
    }

    template <typename T> void set(cublasLtMatmulDescAttributes_t name, T value) {
        assert_success(cublasLtMatmulDescSetAttribute(operation, name, &value, sizeof value));
    }

    cublasStatus_t choose() {
        int count;
        return cublasLtMatmulAlgoGetHeuristic(handle, operation, a_layout, b_layout, d_layout,
                                              d_layout, preference, 1, &found, &count);
    }

    cublasStatus_t run(float beta = 0) {
        const float alpha = 1;
        return cublasLtMatmul(handle, operation, &alpha, a, a_layout, b, b_layout, &beta, d,
                              d_layout, d, d_layout, &found.algo, workspace, workspace_bytes,
                              stream);
    }

    std::vector<float> result() {
        std::vector<float> values(M * N);
        assert_int_equal(cudaMemcpyAsync(values.data(), d, values.size() * sizeof(float),
                                         cudaMemcpyDeviceToHost, stream),
                         cudaSuccess);
        assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
        return values;
    }

    /// Sums of small whole numbers: exact.
    float expected(int i, int j) const {
        float sum = 0;
        for (int l = 0; l < K; l++) sum += host_a[i + l * M] * host_b[l + j * K];
        return sum;
    }
};

static void products_add_their_bias_and_what_was_there(void **) {
    Product p;
    p.set(CUBLASLT_MATMUL_DESC_EPILOGUE, (uint32_t)CUBLASLT_EPILOGUE_BIAS);
    p.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, (const void *)p.bias);
    assert_success(p.choose());
    assert_true(p.found.workspaceSize > 0);
    assert_success(p.run());
    assert_success(p.run(2));
    std::vector<float> values = p.result();
    for (int i = 0; i < p.M; i++)
        for (int j = 0; j < p.N; j++)
            assert_true(values[(size_t)(i + j * p.M)] == 3 * (p.expected(i, j) + 0.5f));
}

static void a_sum_is_split_only_as_the_preference_allows(void **) {
    Product p;
    p.prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, (uint64_t)16);
    assert_success(p.choose());
    assert_int_equal(p.found.workspaceSize, 0);
    p.prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, (uint64_t)p.WORKSPACE);
    p.prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, (uint32_t)CUBLASLT_REDUCTION_SCHEME_NONE);
    assert_success(p.choose());
    assert_int_equal(p.found.workspaceSize, 0);
    assert_success(p.run());
    assert_true(p.result()[0] == p.expected(0, 0));
}

static void sizes_that_do_not_belong_together_are_refused(void **) {
    Product p;
    p.set(CUBLASLT_MATMUL_DESC_TRANSA, (int32_t)CUBLAS_OP_T);
    assert_int_equal(p.choose(), CUBLAS_STATUS_INVALID_VALUE);
    cublasLtMatrixLayout_t layout;
    assert_int_equal(cublasLtMatrixLayoutCreate(&layout, CUDA_R_32F, 5, 3, 4),
                     CUBLAS_STATUS_INVALID_VALUE);
    p.set(CUBLASLT_MATMUL_DESC_TRANSA, (int32_t)CUBLAS_OP_N);
    assert_success(p.choose());
    assert_success(cublasLtMatrixLayoutCreate(&p.d_layout, CUDA_R_32F, p.M, p.N + 1, p.M));
    assert_int_equal(p.run(), CUBLAS_STATUS_INVALID_VALUE);
}

static void a_leading_dimension_that_leaves_the_memory_is_refused(void **) {
    Product p;
    assert_success(cublasLtMatrixLayoutCreate(&p.d_layout, CUDA_R_32F, p.M, p.N, p.M + 1));
    assert_success(p.choose());
    assert_int_equal(p.run(), CUBLAS_STATUS_INVALID_VALUE);
}

static void types_that_do_not_go_together_are_refused(void **) {
    Product p;
    assert_success(cublasLtMatrixLayoutCreate(&p.d_layout, CUDA_R_16BF, p.M, p.N, p.M));
    assert_int_equal(p.choose(), CUBLAS_STATUS_NOT_SUPPORTED);
    assert_success(cublasLtMatrixLayoutCreate(&p.a_layout, CUDA_R_16BF, p.M, p.K, p.M));
    assert_int_equal(p.choose(), CUBLAS_STATUS_NOT_SUPPORTED);
    cublasLtMatmulDesc_t operation;
    assert_int_equal(cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_16BF),
                     CUBLAS_STATUS_NOT_SUPPORTED);
}

static void an_attribute_of_the_wrong_size_is_refused(void **) {
    Product p;
    uint64_t wide = CUBLAS_OP_T;
    assert_int_equal(cublasLtMatmulDescSetAttribute(p.operation, CUBLASLT_MATMUL_DESC_TRANSA, &wide,
                                                    sizeof wide),
                     CUBLAS_STATUS_INVALID_VALUE);
    assert_int_equal(
        cublasLtMatmulPreferenceSetAttribute(
            p.preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &wide, sizeof wide),
        CUBLAS_STATUS_INVALID_VALUE);
}

static void alignment_that_was_told_must_be_kept(void **) {
    Product p;
    assert_success(p.choose());
    p.d += 1;
    assert_int_equal(p.run(), CUBLAS_STATUS_INVALID_VALUE);
    p.prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, (uint32_t)4);
    p.prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, (uint32_t)4);
    assert_success(p.choose());
    assert_success(p.run());
    assert_true(p.result()[1] == p.expected(1, 0));
}

static void a_workspace_must_be_as_large_and_aligned_as_asked_for(void **) {
    Product p;
    assert_success(p.choose());
    p.workspace_bytes = p.found.workspaceSize - 1;
    assert_int_equal(p.run(), CUBLAS_STATUS_INVALID_VALUE);
    p.workspace_bytes = p.WORKSPACE;
    p.workspace += 64;
    assert_int_equal(p.run(), CUBLAS_STATUS_INVALID_VALUE);
    p.workspace = nullptr;
    assert_int_equal(p.run(), CUBLAS_STATUS_INVALID_VALUE);
}

static void host_memory_and_overlaps_are_refused(void **) {
    Product p;
    assert_success(p.choose());
    float *a = p.a;
    p.a = p.host_a.data();
    assert_int_equal(p.run(), CUBLAS_STATUS_INVALID_VALUE);
    p.a = a;
    p.d = p.b;
    assert_int_equal(p.run(), CUBLAS_STATUS_INVALID_VALUE);
}

static void a_bias_needs_its_epilogue_and_an_epilogue_its_bias(void **) {
    Product p;
    p.set(CUBLASLT_MATMUL_DESC_EPILOGUE, (uint32_t)CUBLASLT_EPILOGUE_BIAS);
    assert_int_equal(p.choose(), CUBLAS_STATUS_INVALID_VALUE);
    p.set(CUBLASLT_MATMUL_DESC_EPILOGUE, (uint32_t)CUBLASLT_EPILOGUE_DEFAULT);
    p.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, (const void *)p.bias);
    assert_int_equal(p.choose(), CUBLAS_STATUS_INVALID_VALUE);
}

static void gelu_comes_after_the_bias(void **) {
    Product p;
    for (bool biased : {false, true}) {
        uint32_t epilogue = biased ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
        p.set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
        if (biased) assert_int_equal(p.choose(), CUBLAS_STATUS_INVALID_VALUE);
        if (biased) p.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, (const void *)p.bias);
        assert_success(p.choose());
        assert_success(p.run());
        std::vector<float> values = p.result();
        for (int i = 0; i < p.M; i++)
            for (int j = 0; j < p.N; j++) {
                double x = (double)p.expected(i, j) + (biased ? 0.5 : 0);
                double u = 0.7978845608028654 * (x + 0.044715 * x * x * x);
                double want = 0.5 * x * (1 + tanh(u));
                assert_true(fabs(values[(size_t)(i + j * p.M)] - want) <= 1e-6 * fabs(x));
            }
    }
    p.set(CUBLASLT_MATMUL_DESC_EPILOGUE, (uint32_t)2); // ReLU, which is not emulated
    assert_int_equal(p.choose(), CUBLAS_STATUS_NOT_SUPPORTED);
}

/// One element of a product in BFLOAT16, (1, 1) times (2^-8, 2^-17): 2^-8 when rounded, which 1
/// loses, while of the exact sum it keeps 1 + 2^-7.
struct ShortProduct : Product {
    static constexpr uint16_t ONE = 0x3f80, NEXT = 0x3f81, SMALL = 0x3b80, SMALLER = 0x3700;
    uint16_t *short_a, *short_b, *short_d, *short_bias;

    explicit ShortProduct(cudaDataType type) {
        short_a = on_device(std::vector<uint16_t>{ONE, ONE});
        short_b = on_device(std::vector<uint16_t>{SMALL, SMALLER});
        short_d = on_device(std::vector<uint16_t>{ONE, 0});
        short_bias = on_device(std::vector<uint16_t>{ONE});
        assert_success(cublasLtMatrixLayoutCreate(&a_layout, CUDA_R_16BF, 1, 2, 1));
        assert_success(cublasLtMatrixLayoutCreate(&b_layout, CUDA_R_16BF, 2, 1, 2));
        assert_success(cublasLtMatrixLayoutCreate(&d_layout, type, 1, 1, 1));
        a = reinterpret_cast<float *>(short_a);
        b = reinterpret_cast<float *>(short_b);
        if (type == CUDA_R_16BF) d = reinterpret_cast<float *>(short_d);
    }

    void add_bias(const void *values, cublasLtEpilogue_t epilogue) {
        set(CUBLASLT_MATMUL_DESC_EPILOGUE, (uint32_t)epilogue);
        set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, values);
    }

    template <typename T> T run_for(float beta) {
        T value;
        assert_success(choose());
        assert_success(run(beta));
        assert_int_equal(cudaMemcpyAsync(&value, d, sizeof value, cudaMemcpyDeviceToHost, stream),
                         cudaSuccess);
        assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
        return value;
    }
};

static void a_product_into_bfloat16_is_rounded_before_anything_is_added(void **) {
    ShortProduct p(CUDA_R_16BF);
    assert_int_equal(p.run_for<uint16_t>(1), p.ONE);
    assert_int_equal(p.run_for<uint16_t>(0), p.SMALL);
    p.add_bias(p.short_bias, CUBLASLT_EPILOGUE_BIAS);
    assert_int_equal(p.run_for<uint16_t>(0), p.ONE);
    p.add_bias(p.short_bias, CUBLASLT_EPILOGUE_GELU_BIAS);
    assert_int_equal(p.run_for<uint16_t>(0),
                     0x3f57); // GELU of 1, 0.8412; that of 1 + 2^-7 is 0.8496
}

static void a_product_into_float32_is_not(void **) {
    ShortProduct p(CUDA_R_32F);
    std::vector<float> one(1, 1.0f);
    p.add_bias(p.on_device(one), CUBLASLT_EPILOGUE_BIAS);
    assert_true(p.run_for<float>(0) == 1 + 0x1p-8f + 0x1p-17f);
    assert_true(p.run_for<float>(1) == 2 + 0x1p-7f + 0x1p-16f);
}

static void a_bias_has_the_outputs_type(void **) {
    Product p;
    p.set(CUBLASLT_MATMUL_DESC_EPILOGUE, (uint32_t)CUBLASLT_EPILOGUE_BIAS);
    p.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, (const void *)p.bias);
    p.set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, (int32_t)CUDA_R_32F);
    assert_success(p.choose());
    assert_success(p.run());
    p.set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, (int32_t)CUDA_R_16BF);
    assert_int_equal(p.choose(), CUBLAS_STATUS_NOT_SUPPORTED);
    assert_int_equal(p.run(), CUBLAS_STATUS_NOT_SUPPORTED);
    p.set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, (int32_t)-1);
    assert_success(p.choose());
}

static void a_bias_lies_on_the_device_as_long_and_aligned_as_was_told(void **) {
    Product p;
    p.set(CUBLASLT_MATMUL_DESC_EPILOGUE, (uint32_t)CUBLASLT_EPILOGUE_BIAS);
    p.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, (const void *)p.bias);
    assert_success(p.choose());
    p.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER,
          (const void *)(p.a + 1)); // room for it, but not aligned
    assert_int_equal(p.run(), CUBLAS_STATUS_INVALID_VALUE);
    p.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, (const void *)p.host_a.data());
    assert_success(p.choose());
    assert_int_equal(p.run(), CUBLAS_STATUS_INVALID_VALUE);
    p.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, (const void *)(p.bias + 1)); // one element too few
    assert_success(p.choose());
    assert_int_equal(p.run(), CUBLAS_STATUS_INVALID_VALUE);
}

/// D [16,2] of E4M3 [16,32] and [32,2]: ones, and twos times the scales i + 1 and 10 (j + 1).
struct ByteProduct : Product {
    static constexpr uint8_t ONE = 0x38, TWO = 0x40;
    static constexpr int ROWS = 16, LENGTH = 32, COLUMNS = 2;

    ByteProduct() {
        a = reinterpret_cast<float *>(on_device(std::vector<uint8_t>(LENGTH * ROWS, ONE)));
        b = reinterpret_cast<float *>(on_device(std::vector<uint8_t>(LENGTH * COLUMNS, TWO)));
        assert_success(cublasLtMatrixLayoutCreate(&a_layout, CUDA_R_8F_E4M3, LENGTH, ROWS, LENGTH));
        assert_success(
            cublasLtMatrixLayoutCreate(&b_layout, CUDA_R_8F_E4M3, LENGTH, COLUMNS, LENGTH));
        assert_success(cublasLtMatrixLayoutCreate(&d_layout, CUDA_R_32F, ROWS, COLUMNS, ROWS));
        set(CUBLASLT_MATMUL_DESC_TRANSA, (int32_t)CUBLAS_OP_T);
        std::vector<float> of_a(ROWS), of_b(COLUMNS);
        for (int i = 0; i < ROWS; i++) of_a[(size_t)i] = (float)(i + 1);
        for (int j = 0; j < COLUMNS; j++) of_b[(size_t)j] = 10 * (float)(j + 1);
        set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, (const void *)on_device(of_a));
        set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, (const void *)on_device(of_b));
        scale_by((int32_t)CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F);
    }

    void scale_by(int32_t mode) {
        set(CUBLASLT_MATMUL_DESC_A_SCALE_MODE, mode);
        set(CUBLASLT_MATMUL_DESC_B_SCALE_MODE, mode);
    }
};

static void bytes_are_multiplied_with_the_scales_of_their_rows(void **) {
    ByteProduct p;
    assert_success(p.choose());
    assert_success(p.run());
    std::vector<float> values = p.result();
    for (int i = 0; i < p.ROWS; i++)
        for (int j = 0; j < p.COLUMNS; j++)
            assert_true(values[(size_t)(i + j * p.ROWS)] ==
                        2.0f * p.LENGTH * (float)(i + 1) * 10 * (float)(j + 1));
}

static void bytes_are_refused_as_hopper_refuses_them(void **) {
    ByteProduct p;
    p.scale_by((int32_t)CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F);
    assert_int_equal(p.choose(), CUBLAS_STATUS_NOT_SUPPORTED);
    p.scale_by((int32_t)CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F);
    assert_success(p.choose());
    p.set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, (const void *)p.host_a.data());
    assert_int_equal(p.run(), CUBLAS_STATUS_INVALID_VALUE);
    assert_success(
        cublasLtMatrixLayoutCreate(&p.a_layout, CUDA_R_8F_E4M3, p.LENGTH, p.ROWS - 1, p.LENGTH));
    assert_success(
        cublasLtMatrixLayoutCreate(&p.d_layout, CUDA_R_32F, p.ROWS - 1, p.COLUMNS, p.ROWS));
    assert_int_equal(p.choose(), CUBLAS_STATUS_NOT_SUPPORTED);
    Product floats;
    floats.set(CUBLASLT_MATMUL_DESC_A_SCALE_MODE,
               (int32_t)CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F);
    assert_int_equal(floats.choose(), CUBLAS_STATUS_NOT_SUPPORTED);
}

static void what_was_destroyed_is_gone(void **) {
    Product p;
    assert_success(p.choose());
    assert_success(cublasLtMatrixLayoutDestroy(p.b_layout));
    assert_int_equal(p.run(), CUBLAS_STATUS_INVALID_VALUE);
    assert_int_equal(cublasLtMatrixLayoutDestroy(p.b_layout), CUBLAS_STATUS_INVALID_VALUE);
    assert_success(cublasLtDestroy(p.handle));
    assert_int_equal(p.run(), CUBLAS_STATUS_NOT_INITIALIZED);
    assert_string_equal(cublasLtGetStatusName(CUBLAS_STATUS_NOT_INITIALIZED),
                        "CUBLAS_STATUS_NOT_INITIALIZED");
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(products_add_their_bias_and_what_was_there),
        cmocka_unit_test(a_sum_is_split_only_as_the_preference_allows),
        cmocka_unit_test(sizes_that_do_not_belong_together_are_refused),
        cmocka_unit_test(a_leading_dimension_that_leaves_the_memory_is_refused),
        cmocka_unit_test(types_that_do_not_go_together_are_refused),
        cmocka_unit_test(an_attribute_of_the_wrong_size_is_refused),
        cmocka_unit_test(alignment_that_was_told_must_be_kept),
        cmocka_unit_test(a_workspace_must_be_as_large_and_aligned_as_asked_for),
        cmocka_unit_test(host_memory_and_overlaps_are_refused),
        cmocka_unit_test(a_bias_needs_its_epilogue_and_an_epilogue_its_bias),
        cmocka_unit_test(gelu_comes_after_the_bias),
        cmocka_unit_test(a_product_into_bfloat16_is_rounded_before_anything_is_added),
        cmocka_unit_test(a_product_into_float32_is_not),
        cmocka_unit_test(a_bias_has_the_outputs_type),
        cmocka_unit_test(a_bias_lies_on_the_device_as_long_and_aligned_as_was_told),
        cmocka_unit_test(bytes_are_multiplied_with_the_scales_of_their_rows),
        cmocka_unit_test(bytes_are_refused_as_hopper_refuses_them),
        cmocka_unit_test(what_was_destroyed_is_gone),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
