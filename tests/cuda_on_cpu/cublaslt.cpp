// Emulated cuBLASLt: checks first, then a product (matrix_product.h), queued as a kernel is.
//
// The heuristic proposes to split long sums of small matrices, as the real one does, so that the
// workspace is used and checked; partial sums are kept as the preference's reduction schemes allow,
// at worst rounded to the output's type.
//
// Roundings are the most that the real library makes (measured on an H200 with CUDA 13.0): every
// algorithm rounds a product into BFLOAT16 before C is added, those with a split sum before the
// bias, and here all do so before whatever follows.
#include "cublasLt.h"
#include "emulator.h"
#include "matrix_product.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <initializer_list>
#include <set>
#include <vector>

struct cublasLtContext {};

struct cublasLtOnCpuLayout {
    cudaDataType type;
    uint64_t rows, columns;
    int64_t leading_dimension;
};

struct cublasLtOnCpuOperation {
    int32_t a_operation = CUBLAS_OP_N, b_operation = CUBLAS_OP_N;
    uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    const void *bias = nullptr;
    int32_t bias_type = -1; // D's
    int32_t a_scale_mode = CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F, b_scale_mode = a_scale_mode;
    const void *a_scales = nullptr, *b_scales = nullptr;
};

struct cublasLtOnCpuPreference {
    uint64_t most_workspace = 0;
    uint32_t reduction_schemes = CUBLASLT_REDUCTION_SCHEME_MASK;
    uint32_t alignments[4] = {256, 256, 256, 256}; // of A, B, C, D
};

namespace {

/// Says why a call is refused, which a status cannot.
cublasStatus_t refuse(cublasStatus_t status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
cublasStatus_t refuse(cublasStatus_t status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "cuBLASLt on CPU: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    return status;
}

// ---- objects: what was created and not destroyed

std::set<const void *> &alive() {
    static std::set<const void *> *objects = new std::set<const void *>;
    return *objects;
}

template <typename T> cublasStatus_t create(T **out, T value) {
    if (!out) return CUBLAS_STATUS_INVALID_VALUE;
    *out = new T(value);
    alive().insert(*out);
    return CUBLAS_STATUS_SUCCESS;
}

template <typename T> cublasStatus_t destroy(T *object) {
    if (!alive().erase(object))
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "destroying what does not exist");
    delete object;
    return CUBLAS_STATUS_SUCCESS;
}

template <typename T> bool take(T *field, const void *value, size_t bytes) {
    if (bytes != sizeof *field || !value) return false;
    memcpy(field, value, bytes);
    return true;
}

bool all_alive(std::initializer_list<const void *> objects) {
    for (const void *object : objects)
        if (!alive().count(object)) return false;
    return true;
}

// ---- what a product is

/// D [m,n] = op(A) [m,k] op(B) [k,n], column-major.
struct Shape {
    int64_t m, n, k;
};

int64_t op_rows(const cublasLtOnCpuLayout *layout, int32_t operation) {
    return (int64_t)(operation == CUBLAS_OP_N ? layout->rows : layout->columns);
}
int64_t op_columns(const cublasLtOnCpuLayout *layout, int32_t operation) {
    return (int64_t)(operation == CUBLAS_OP_N ? layout->columns : layout->rows);
}

DType dtype_of(cudaDataType type) {
    return type == CUDA_R_8F_E4M3 ? FLOAT8 : type == CUDA_R_16BF ? BFLOAT16 : FLOAT32;
}

size_t type_bytes(cudaDataType type) { return dtype_size(dtype_of(type)); }

bool types_supported(cudaDataType a, cudaDataType b, cudaDataType c, cudaDataType d) {
    if (a != b || c != d) return false;
    if (a == CUDA_R_8F_E4M3) return c == CUDA_R_16BF || c == CUDA_R_32F;
    return a == c || (a == CUDA_R_16BF && c == CUDA_R_32F);
}

/// Of products in E4M3, as on Hopper: A is transposed and B is not, rows of memory are of whole 16
/// bytes, and here every row has its scale and nothing comes behind.
cublasStatus_t check_float8(const cublasLtOnCpuOperation &operation, const Shape &shape,
                            cudaDataType a) {
    bool scaled = operation.a_scale_mode || operation.b_scale_mode;
    if (a != CUDA_R_8F_E4M3)
        return scaled ? refuse(CUBLAS_STATUS_NOT_SUPPORTED, "scales of type %d", a)
                      : CUBLAS_STATUS_SUCCESS;
    if (operation.a_operation != CUBLAS_OP_T || operation.b_operation != CUBLAS_OP_N)
        return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "E4M3 that is not transposed as it must be");
    if (shape.m % 16 || shape.k % 16)
        return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "E4M3 of %lld times %lld", (long long)shape.m,
                      (long long)shape.k);
    for (int32_t mode : {operation.a_scale_mode, operation.b_scale_mode})
        if (mode != CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F)
            return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "E4M3 with scales of mode %d", mode);
    return operation.epilogue == CUBLASLT_EPILOGUE_DEFAULT
               ? CUBLAS_STATUS_SUCCESS
               : refuse(CUBLAS_STATUS_NOT_SUPPORTED, "E4M3 with an epilogue");
}

bool is_epilogue(uint32_t epilogue) {
    return epilogue == CUBLASLT_EPILOGUE_DEFAULT || epilogue == CUBLASLT_EPILOGUE_BIAS ||
           epilogue == CUBLASLT_EPILOGUE_GELU || epilogue == CUBLASLT_EPILOGUE_GELU_BIAS;
}

cublasStatus_t check_layouts(const cublasLtOnCpuOperation &operation, const cublasLtOnCpuLayout *a,
                             const cublasLtOnCpuLayout *b, const cublasLtOnCpuLayout *c,
                             const cublasLtOnCpuLayout *d, Shape *shape) {
    *shape = {(int64_t)d->rows, (int64_t)d->columns, op_columns(a, operation.a_operation)};
    if (op_rows(a, operation.a_operation) != shape->m ||
        op_rows(b, operation.b_operation) != shape->k ||
        op_columns(b, operation.b_operation) != shape->n || c->rows != d->rows ||
        c->columns != d->columns || c->leading_dimension != d->leading_dimension)
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "the matrices' sizes do not belong together");
    for (int64_t size : {shape->m, shape->n, shape->k})
        if (size <= 0 || size > INT32_MAX)
            return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "a size of %lld", (long long)size);
    if (!types_supported(a->type, b->type, c->type, d->type))
        return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "types %d and %d into %d and %d", a->type,
                      b->type, c->type, d->type);
    if (!is_epilogue(operation.epilogue))
        return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "epilogue %u", operation.epilogue);
    if (((operation.epilogue & CUBLASLT_EPILOGUE_BIAS) != 0) != (operation.bias != nullptr))
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "a bias without its epilogue, or without data");
    if (operation.bias && operation.bias_type != -1 && operation.bias_type != d->type)
        return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "a bias of type %d into %d", operation.bias_type,
                      d->type);
    return check_float8(operation, *shape, a->type);
}

/// What cublasLtMatmulAlgo_t holds.
struct Algorithm {
    uint32_t magic;
    int32_t m, n, k;
    uint16_t alignments[5]; // promised, of A, B, C, D, bias
    uint16_t scheme;
    uint64_t workspace;
    int32_t splits;
};
constexpr uint32_t MAGIC = 0x5ca1ab1e;
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t), "an algorithm is 64 bytes");

uint32_t alignment_of(const void *pointer) {
    uintptr_t address = reinterpret_cast<uintptr_t>(pointer) | 256;
    return (uint32_t)(address & -address);
}

Algorithm propose(const Shape &shape, const cublasLtOnCpuPreference &preference, const void *bias) {
    Algorithm algorithm = {MAGIC,
                           (int32_t)shape.m,
                           (int32_t)shape.n,
                           (int32_t)shape.k,
                           {},
                           CUBLASLT_REDUCTION_SCHEME_NONE,
                           0,
                           1};
    for (int i = 0; i < 4; i++) algorithm.alignments[i] = (uint16_t)preference.alignments[i];
    algorithm.alignments[4] = (uint16_t)alignment_of(bias);
    constexpr int SPLITS = 3;
    uint64_t bytes = (uint64_t)(shape.m * shape.n) * SPLITS * sizeof(float);
    bool useful = shape.k >= 64 && shape.k >= 2 * shape.m && shape.k >= 2 * shape.n;
    if (!useful || !preference.reduction_schemes || bytes > preference.most_workspace)
        return algorithm;
    algorithm.splits = SPLITS;
    algorithm.workspace = bytes;
    // the least exact that is allowed
    bool exact = preference.reduction_schemes == CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    algorithm.scheme =
        exact ? CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE : CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE;
    return algorithm;
}

// ---- the product

Matrix view(const void *data, const cublasLtOnCpuLayout &layout, int32_t operation) {
    bool stored = operation == CUBLAS_OP_N;
    return {data, dtype_of(layout.type), stored ? 1 : layout.leading_dimension,
            stored ? layout.leading_dimension : 1};
}

/// All that a queued product needs: descriptors may be changed or destroyed before it runs.
struct Work {
    Shape shape;
    Algorithm algorithm;
    Matrix a, b, c;
    float alpha, beta;
    const float *a_scales, *b_scales; // of E4M3
    const float *bias;                // with a FLOAT32 output; of the output's type otherwise
    const uint16_t *short_bias;
    bool gelu;
    void *d;
    float *workspace;
};

float bias_at(const Work &work, int64_t row) {
    return work.bias ? work.bias[row] : bfloat16_to_float(work.short_bias[row]);
}

float gelu(float x) {
    return 0.5f * x * (1.0f + tanhf(0.797884561f * (x + 0.044715f * x * x * x)));
}

float rounded_to_bfloat16(float x) { return bfloat16_to_float(float_to_bfloat16(x)); }

/// What becomes of element (i, j) of op(A) op(B), before it is stored.
float finished(const Work &work, float product, int64_t i, int64_t j) {
    bool narrow = work.c.type == BFLOAT16;
    auto kept = [narrow](float x) { return narrow ? rounded_to_bfloat16(x) : x; };
    float value = work.alpha * product;
    if (work.a_scales) value *= work.a_scales[i] * work.b_scales[j];
    if (work.beta != 0) // C is not read at 0: may be NaN
        value = kept(value) + work.beta * work.c.at(i, j);
    if (work.bias || work.short_bias) value = kept(value) + bias_at(work, i);
    return work.gelu ? gelu(kept(value)) : value;
}

void run(const Work &work) {
    const Shape &s = work.shape;
    int64_t size = s.m * s.n, splits = work.algorithm.splits;
    std::vector<float> own(splits == 1 ? (size_t)size : 0);
    float *sums = splits == 1 ? own.data() : work.workspace;
    for (int64_t part = 0; part < splits; part++)
        matrix_product(s.m, s.n, work.a, work.b, s.k * part / splits, s.k * (part + 1) / splits,
                       sums + part * size);
    bool narrow = work.c.type == BFLOAT16;
    bool rounded = narrow && work.algorithm.scheme == CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE;
    for (int64_t j = 0; j < s.n; j++)
        for (int64_t i = 0; i < s.m; i++) {
            float sum = 0;
            for (int64_t part = 0; part < splits; part++) {
                float value = sums[part * size + j * s.m + i];
                sum += rounded ? rounded_to_bfloat16(value) : value;
            }
            float value = finished(work, sum, i, j);
            int64_t at = i * work.c.row_step + j * work.c.column_step;
            if (narrow)
                static_cast<uint16_t *>(work.d)[at] = float_to_bfloat16(value);
            else
                static_cast<float *>(work.d)[at] = value;
        }
}

// ---- checks of a call

size_t extent(const cublasLtOnCpuLayout *layout) {
    int64_t last = ((int64_t)layout->columns - 1) * layout->leading_dimension;
    return (size_t)(last + (int64_t)layout->rows) * type_bytes(layout->type);
}

/// One pointer of a call.
struct Argument {
    const char *name;
    const void *pointer;
    size_t bytes;
    /// what the heuristic was told
    uint32_t alignment;
};

cublasStatus_t check_argument(const Argument &argument) {
    if (!cuda_on_cpu_is_device_memory(argument.pointer, argument.bytes))
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "%zu bytes of %s at %p are no device memory",
                      argument.bytes, argument.name, argument.pointer);
    if (reinterpret_cast<uintptr_t>(argument.pointer) % argument.alignment)
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "%s at %p, but %u bytes of alignment were told",
                      argument.name, argument.pointer, argument.alignment);
    return CUBLAS_STATUS_SUCCESS;
}

bool overlap(const Argument &a, const Argument &b) {
    uintptr_t x = reinterpret_cast<uintptr_t>(a.pointer);
    uintptr_t y = reinterpret_cast<uintptr_t>(b.pointer);
    return x < y + b.bytes && y < x + a.bytes;
}

/// Every pointer, and that what is written overlaps with nothing that is read (C may be D).
cublasStatus_t check_arguments(const Argument &a, const Argument &b, const Argument &c,
                               const Argument &d, const Argument &bias, const Argument &workspace,
                               const Argument &a_scales, const Argument &b_scales) {
    for (const Argument *argument : {&a, &b, &c, &d, &bias, &workspace, &a_scales, &b_scales}) {
        if (!argument->bytes) continue;
        cublasStatus_t status = check_argument(*argument);
        if (status != CUBLAS_STATUS_SUCCESS) return status;
        bool written = argument == &d || argument == &workspace;
        if (!written && (overlap(*argument, workspace) ||
                         (overlap(*argument, d) && !(argument == &c && c.pointer == d.pointer))))
            return refuse(CUBLAS_STATUS_INVALID_VALUE, "%s overlaps with what is written",
                          argument->name);
    }
    return CUBLAS_STATUS_SUCCESS;
}

} // namespace

// ---- the calls

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) { return create(handle, {}); }
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) { return destroy(handle); }

const char *cublasLtGetStatusName(cublasStatus_t status) {
    switch (status) {
    case CUBLAS_STATUS_SUCCESS:
        return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
        return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED:
        return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
        return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_NOT_SUPPORTED:
        return "CUBLAS_STATUS_NOT_SUPPORTED";
    }
    return "an unknown status";
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *operation,
                                        cublasComputeType_t compute_type,
                                        cudaDataType_t scale_type) {
    if (compute_type != CUBLAS_COMPUTE_32F || scale_type != CUDA_R_32F)
        return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "compute type %d with scale type %d",
                      compute_type, scale_type);
    return create(operation, {});
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) {
    return destroy(operation);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation,
                                              cublasLtMatmulDescAttributes_t name,
                                              const void *value, size_t bytes) {
    if (!all_alive({operation})) return CUBLAS_STATUS_INVALID_VALUE;
    bool taken = false;
    switch (name) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
        taken = take(&operation->a_operation, value, bytes);
        break;
    case CUBLASLT_MATMUL_DESC_TRANSB:
        taken = take(&operation->b_operation, value, bytes);
        break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        taken = take(&operation->epilogue, value, bytes);
        break;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        taken = take(&operation->bias, value, bytes);
        break;
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
        taken = take(&operation->bias_type, value, bytes);
        break;
    case CUBLASLT_MATMUL_DESC_A_SCALE_POINTER:
        taken = take(&operation->a_scales, value, bytes);
        break;
    case CUBLASLT_MATMUL_DESC_B_SCALE_POINTER:
        taken = take(&operation->b_scales, value, bytes);
        break;
    case CUBLASLT_MATMUL_DESC_A_SCALE_MODE:
        taken = take(&operation->a_scale_mode, value, bytes);
        break;
    case CUBLASLT_MATMUL_DESC_B_SCALE_MODE:
        taken = take(&operation->b_scale_mode, value, bytes);
        break;
    }
    return taken ? CUBLAS_STATUS_SUCCESS
                 : refuse(CUBLAS_STATUS_INVALID_VALUE, "operation: attribute %d", name);
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type,
                                          uint64_t rows, uint64_t columns,
                                          int64_t leading_dimension) {
    if (leading_dimension < (int64_t)rows)
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "a leading dimension of %lld for %llu rows",
                      (long long)leading_dimension, (unsigned long long)rows);
    return create(layout, {type, rows, columns, leading_dimension});
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
    return destroy(layout);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference) {
    return create(preference, {});
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
    return destroy(preference);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t name,
                                                    const void *value, size_t bytes) {
    if (!all_alive({preference})) return CUBLAS_STATUS_INVALID_VALUE;
    bool taken = false;
    uint32_t *alignment = &preference->alignments[0];
    switch (name) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
        taken = take(&preference->most_workspace, value, bytes);
        break;
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
        taken = take(&preference->reduction_schemes, value, bytes);
        break;
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
        alignment += name - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES;
        taken = take(alignment, value, bytes) && *alignment && !(*alignment & (*alignment - 1)) &&
                *alignment <= 256;
        break;
    }
    return taken ? CUBLAS_STATUS_SUCCESS
                 : refuse(CUBLAS_STATUS_INVALID_VALUE, "preference: attribute %d", name);
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle,
                                              cublasLtMatmulDesc_t operation,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int requested,
                                              cublasLtMatmulHeuristicResult_t results[],
                                              int *returned) {
    if (!alive().count(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (!all_alive({operation, a, b, c, d, preference}) || requested < 1 || !results || !returned)
        return CUBLAS_STATUS_INVALID_VALUE;
    *returned = 0;
    Shape shape;
    cublasStatus_t status = check_layouts(*operation, a, b, c, d, &shape);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    Algorithm algorithm = propose(shape, *preference, operation->bias);
    memset(results, 0, sizeof *results);
    memcpy(&results->algo, &algorithm, sizeof algorithm);
    results->workspaceSize = algorithm.workspace;
    results->state = CUBLAS_STATUS_SUCCESS;
    *returned = 1;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                              const void *alpha, const void *a, cublasLtMatrixLayout_t a_layout,
                              const void *b, cublasLtMatrixLayout_t b_layout, const void *beta,
                              const void *c, cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t *algorithm, void *workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
    if (!alive().count(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (!all_alive({operation, a_layout, b_layout, c_layout, d_layout}) || !alpha || !beta ||
        !algorithm)
        return CUBLAS_STATUS_INVALID_VALUE;
    Work work = {};
    cublasStatus_t status =
        check_layouts(*operation, a_layout, b_layout, c_layout, d_layout, &work.shape);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    memcpy(&work.algorithm, algorithm, sizeof work.algorithm);
    const Algorithm &told = work.algorithm;
    if (told.magic != MAGIC || told.m != work.shape.m || told.n != work.shape.n ||
        told.k != work.shape.k)
        return refuse(CUBLAS_STATUS_INVALID_VALUE,
                      "an algorithm that was proposed for other sizes");
    if (workspace_bytes < told.workspace)
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "%zu bytes of workspace where %zu are needed",
                      workspace_bytes, (size_t)told.workspace);
    memcpy(&work.alpha, alpha, sizeof work.alpha);
    memcpy(&work.beta, beta, sizeof work.beta);
    bool float8 = a_layout->type == CUDA_R_8F_E4M3;
    size_t a_scale_bytes = float8 ? (size_t)work.shape.m * sizeof(float) : 0;
    size_t b_scale_bytes = float8 ? (size_t)work.shape.n * sizeof(float) : 0;
    size_t bias_bytes = operation->bias ? d_layout->rows * type_bytes(d_layout->type) : 0;
    status = check_arguments({"A", a, extent(a_layout), told.alignments[0]},
                             {"B", b, extent(b_layout), told.alignments[1]},
                             {"C", c, work.beta != 0 ? extent(c_layout) : 0, told.alignments[2]},
                             {"D", d, extent(d_layout), told.alignments[3]},
                             {"the bias", operation->bias, bias_bytes, told.alignments[4]},
                             {"the workspace", workspace, told.workspace, 256},
                             {"A's scales", operation->a_scales, a_scale_bytes, sizeof(float)},
                             {"B's scales", operation->b_scales, b_scale_bytes, sizeof(float)});
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    work.a = view(a, *a_layout, operation->a_operation);
    work.b = view(b, *b_layout, operation->b_operation);
    work.c = view(c, *c_layout, CUBLAS_OP_N);
    if (d_layout->type == CUDA_R_32F)
        work.bias = static_cast<const float *>(operation->bias);
    else
        work.short_bias = static_cast<const uint16_t *>(operation->bias);
    work.a_scales = float8 ? static_cast<const float *>(operation->a_scales) : nullptr;
    work.b_scales = float8 ? static_cast<const float *>(operation->b_scales) : nullptr;
    work.gelu = operation->epilogue & CUBLASLT_EPILOGUE_GELU;
    work.d = d;
    work.workspace = static_cast<float *>(workspace);
    cuda_on_cpu_queue("cublasLtMatmul", stream, [work] { run(work); });
    return CUBLAS_STATUS_SUCCESS;
}
