// The one file that knows cuBLASLt. The library counts columns first, so c = a b is asked for as
// its transpose c^T = b^T a^T: a row-major [m,n] matrix is a column-major [n,m] one in the same
// memory.
//
// What has to be found out about a product (its descriptors and the algorithm that the library's
// heuristic proposes) is kept per sizes, types and alignment. The heuristic proposes by the
// alignment that it is told, so that is part of the key.
//
// A bias has the output's type, as the library demands of every product that is not of 8-bit
// integers or floats.
#include "ops/cuda/cublaslt.h"

#include "ops/cuda/float8.h"

#include <cublasLt.h>

#include <array>
#include <initializer_list>
#include <map>

#ifdef __CUDACC__
#include <dlfcn.h>
#endif

namespace {

// ---- the library

/// The calls in use, without their common beginning.
#define CUBLASLT_CALLS(CALL)           \
    CALL(Create)                       \
    CALL(GetStatusName)                \
    CALL(MatmulDescCreate)             \
    CALL(MatmulDescDestroy)            \
    CALL(MatmulDescSetAttribute)       \
    CALL(MatrixLayoutCreate)           \
    CALL(MatrixLayoutDestroy)          \
    CALL(MatmulPreferenceCreate)       \
    CALL(MatmulPreferenceDestroy)      \
    CALL(MatmulPreferenceSetAttribute) \
    CALL(MatmulAlgoGetHeuristic)       \
    CALL(Matmul)

struct Library {
#define CUBLASLT_POINTER(name) decltype(&cublasLt##name) name;
    CUBLASLT_CALLS(CUBLASLT_POINTER)
#undef CUBLASLT_POINTER
    bool open;
} library;

#ifdef __CUDACC__
/// The version that belongs to the headers first: calls in use are the same in 12 and 13.
void *open_library(Error *error) {
    static const char *const names[] = {
        CUDART_VERSION >= 13000 ? "libcublasLt.so.13" : "libcublasLt.so.12",
        CUDART_VERSION >= 13000 ? "libcublasLt.so.12" : "libcublasLt.so.13", "libcublasLt.so"};
    for (const char *name : names)
        if (void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return handle;
    error_set(
        error,
        "cuBLASLt, which multiplies matrices on the GPU, cannot be opened (%s). It comes with "
        "the CUDA Toolkit (package libcublas); its folder must be in LD_LIBRARY_PATH or known "
        "to ldconfig.",
        dlerror());
    return nullptr;
}

bool find_calls(Error *error) {
    void *handle = open_library(error);
    if (!handle) return false;
#define CUBLASLT_FIND(name)                                                                   \
    library.name = reinterpret_cast<decltype(library.name)>(dlsym(handle, "cublasLt" #name)); \
    if (!library.name)                                                                        \
        return error_set(error, "cuBLASLt has no cublasLt" #name ": version 12 or newer is "  \
                                "needed");
    CUBLASLT_CALLS(CUBLASLT_FIND)
#undef CUBLASLT_FIND
    return true;
}
#else
bool find_calls(Error *) {
#define CUBLASLT_TAKE(name) library.name = &cublasLt##name;
    CUBLASLT_CALLS(CUBLASLT_TAKE)
#undef CUBLASLT_TAKE
    return true;
}
#endif

void check(cublasStatus_t status, const char *call, const Product &p) {
    CHECK(status == CUBLAS_STATUS_SUCCESS,
          "cuBLASLt: %s in %s, %s [%lld, %lld]%s times [%lld, %lld]%s into %s%s%s",
          library.GetStatusName(status), call, dtype_name(p.type), (long long)p.m, (long long)p.k,
          p.a_transposed ? " (transposed)" : "", (long long)p.k, (long long)p.n,
          p.b_transposed ? " (transposed)" : "", dtype_name(p.c_type),
          p.accumulate ? ", added" : "", p.gelu_tanh ? ", GELU" : "");
}

cublasLtHandle_t handle_of(const Product &p) {
    static cublasLtHandle_t handle; // for the process's one device
    if (!handle) check(library.Create(&handle), "cublasLtCreate", p);
    return handle;
}

// ---- plans

cudaDataType_t data_type(DType type) {
    return type == FLOAT8 ? CUDA_R_8F_E4M3 : type == BFLOAT16 ? CUDA_R_16BF : CUDA_R_32F;
}

// A scale for each row of a and of b; libraries older than 12.9 do not know them.
constexpr auto A_SCALE_MODE = static_cast<cublasLtMatmulDescAttributes_t>(31);
constexpr auto B_SCALE_MODE = static_cast<cublasLtMatmulDescAttributes_t>(32);
constexpr int32_t SCALE_OUTER_VECTOR = 3;

/// The largest power of two, up to what the library makes use of, that divides the address.
uint32_t alignment_of(const void *pointer) {
    uintptr_t address = reinterpret_cast<uintptr_t>(pointer) | 256;
    return (uint32_t)(address & -address);
}

/// In the library's names: its A is our b, its B our a.
struct Alignments {
    /// bias 0: none
    uint32_t a, b, c, bias;
};

/// What cuBLASLt needs to know about a product before the pointers.
class Plan {
  public:
    Plan(const Product &p, const Alignments &alignments, const void *bias);
    ~Plan();
    Plan(const Plan &) = delete;
    Plan &operator=(const Plan &) = delete;
    void run(const Tensor *like, const Product &p, const void *a, const void *b, const void *bias,
             void *c);
    /// False for FLOAT8 where the library has no such product.
    bool exists = true;

  private:
    void describe(const Product &p, const void *bias);
    bool describe_scales(const Product &p);
    void set_scales(const Product &p);
    void choose(const Product &p, const Alignments &alignments);
    void set(const Product &p, cublasLtMatmulDescAttributes_t name, const void *value,
             size_t bytes) {
        check(library.MatmulDescSetAttribute(operation, name, value, bytes),
              "cublasLtMatmulDescSetAttribute", p);
    }

    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatrixLayout_t a_layout = nullptr, b_layout = nullptr, c_layout = nullptr;
    cublasLtMatmulAlgo_t algorithm;
    size_t workspace_bytes;
};

Plan::Plan(const Product &p, const Alignments &alignments, const void *bias) {
    describe(p, bias);
    if (p.type == FLOAT8 && !describe_scales(p))
        exists = false;
    else
        choose(p, alignments);
}

Plan::~Plan() {
    library.MatmulDescDestroy(operation);
    for (cublasLtMatrixLayout_t layout : {a_layout, b_layout, c_layout})
        library.MatrixLayoutDestroy(layout);
}

void Plan::describe(const Product &p, const void *bias) {
    check(library.MatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F),
          "cublasLtMatmulDescCreate", p);
    int32_t a_operation = p.b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    int32_t b_operation = p.a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    set(p, CUBLASLT_MATMUL_DESC_TRANSA, &a_operation, sizeof a_operation);
    set(p, CUBLASLT_MATMUL_DESC_TRANSB, &b_operation, sizeof b_operation);
    uint32_t plain = bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    uint32_t gelu = bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
    set(p, CUBLASLT_MATMUL_DESC_EPILOGUE, p.gelu_tanh ? &gelu : &plain, sizeof plain);
    if (bias) {
        set(p, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
        int32_t type = data_type(p.c_type);
        set(p, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &type, sizeof type);
    }
    // Rows and columns as stored, so a row's length is the leading dimension.
    const struct {
        cublasLtMatrixLayout_t *layout;
        DType type;
        int64_t rows, columns;
    } matrices[] = {{&a_layout, p.type, p.b_transposed ? p.k : p.n, p.b_transposed ? p.n : p.k},
                    {&b_layout, p.type, p.a_transposed ? p.m : p.k, p.a_transposed ? p.k : p.m},
                    {&c_layout, p.c_type, p.n, p.m}};
    for (const auto &matrix : matrices)
        check(library.MatrixLayoutCreate(matrix.layout, data_type(matrix.type),
                                         (uint64_t)matrix.rows, (uint64_t)matrix.columns,
                                         matrix.rows),
              "cublasLtMatrixLayoutCreate", p);
}

/// False from a library that does not know them.
bool Plan::describe_scales(const Product &p) {
    for (cublasLtMatmulDescAttributes_t mode : {A_SCALE_MODE, B_SCALE_MODE})
        if (library.MatmulDescSetAttribute(operation, mode, &SCALE_OUTER_VECTOR,
                                           sizeof SCALE_OUTER_VECTOR) != CUBLAS_STATUS_SUCCESS)
            return false;
    set_scales(p);
    return true;
}

void Plan::set_scales(const Product &p) {
    set(p, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &p.b_scales, sizeof p.b_scales);
    set(p, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &p.a_scales, sizeof p.a_scales);
}

/// The most scratch memory that an algorithm may use: what NVIDIA recommends for Hopper.
constexpr uint64_t WORKSPACE_BYTES = 32 << 20;

void Plan::choose(const Product &p, const Alignments &alignments) {
    cublasLtMatmulPreference_t preference;
    check(library.MatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate", p);
    uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    const struct {
        cublasLtMatmulPreferenceAttributes_t name;
        const void *value;
        size_t bytes;
    } wishes[] = {
        {CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &WORKSPACE_BYTES, sizeof WORKSPACE_BYTES},
        {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reduction, sizeof reduction},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &alignments.a, sizeof alignments.a},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &alignments.b, sizeof alignments.b},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &alignments.c, sizeof alignments.c},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &alignments.c, sizeof alignments.c},
    };
    for (const auto &wish : wishes)
        check(library.MatmulPreferenceSetAttribute(preference, wish.name, wish.value, wish.bytes),
              "cublasLtMatmulPreferenceSetAttribute", p);
    cublasLtMatmulHeuristicResult_t result;
    int found = 0;
    cublasStatus_t status =
        library.MatmulAlgoGetHeuristic(handle_of(p), operation, a_layout, b_layout, c_layout,
                                       c_layout, preference, 1, &result, &found);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = found ? result.state : CUBLAS_STATUS_NOT_SUPPORTED;
    check(library.MatmulPreferenceDestroy(preference), "cublasLtMatmulPreferenceDestroy", p);
    exists = p.type != FLOAT8 || status == CUBLAS_STATUS_SUCCESS;
    if (!exists) return;
    check(status, "cublasLtMatmulAlgoGetHeuristic", p);
    algorithm = result.algo;
    workspace_bytes = result.workspaceSize;
}

void Plan::run(const Tensor *like, const Product &p, const void *a, const void *b, const void *bias,
               void *c) {
    if (bias) set(p, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
    if (p.type == FLOAT8) set_scales(p);
    // The library wants its workspace at a multiple of 256 bytes, a device promises 64.
    Workspace workspace(like, workspace_bytes ? workspace_bytes + 255 : 0);
    uintptr_t aligned = (reinterpret_cast<uintptr_t>(workspace.as<char>()) + 255) & ~(uintptr_t)255;
    void *scratch = workspace_bytes ? reinterpret_cast<void *>(aligned) : nullptr;
    const float one = 1.0f, beta = p.accumulate ? 1.0f : 0.0f;
    check(library.Matmul(handle_of(p), operation, &one, b, a_layout, a, b_layout, &beta, c,
                         c_layout, c, c_layout, &algorithm, scratch, workspace_bytes,
                         stream_of(like)),
          "cublasLtMatmul", p);
}

/// Kept plans, forgotten all at once when there are too many: sequence lengths vary, so their
/// number has no bound of its own.
Plan &plan_for(const Product &p, const void *a, const void *b, const void *bias, const void *c) {
    constexpr size_t MOST_PLANS = 4096;
    using Key = std::array<int64_t, 5>;
    static std::map<Key, Plan> &plans = *new std::map<Key, Plan>; // outlives the library's own end
    Alignments alignments = {alignment_of(b), alignment_of(a), alignment_of(c),
                             bias ? alignment_of(bias) : 0};
    int64_t kinds = (p.type == BFLOAT16) | (p.c_type == BFLOAT16) << 1 | p.a_transposed << 2 |
                    p.b_transposed << 3 | p.gelu_tanh << 4 | (p.type == FLOAT8) << 5;
    int64_t aligned = (int64_t)alignments.a | (int64_t)alignments.b << 16 |
                      (int64_t)alignments.c << 32 | (int64_t)alignments.bias << 48;
    Key key = {p.m, p.n, p.k, kinds, aligned};
    auto found = plans.find(key);
    if (found != plans.end()) return found->second;
    if (plans.size() >= MOST_PLANS) plans.clear();
    return plans
        .emplace(std::piecewise_construct, std::forward_as_tuple(key),
                 std::forward_as_tuple(p, alignments, bias))
        .first->second;
}

// ---- conversion

constexpr int THREADS = 256;

bool aligned_to(const void *pointer, size_t bytes) {
    return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

/// x and y are aligned for packs of N elements; n need not be a multiple.
template <int N> __global__ void round_kernel(const float *x, int64_t n, bfloat16 *y) {
    int64_t thread = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    for (int64_t i = thread; i < n / N; i += (int64_t)gridDim.x * blockDim.x) {
        Pack<float, N> from = reinterpret_cast<const Pack<float, N> *>(x)[i];
        Pack<bfloat16, N> to;
        for (int j = 0; j < N; j++) to.values[j] = from_float<bfloat16>(from.values[j]);
        reinterpret_cast<Pack<bfloat16, N> *>(y)[i] = to;
    }
    int64_t tail = n / N * N + thread;
    if (tail < n) y[tail] = from_float<bfloat16>(x[tail]);
}

size_t copy_bytes(const Tensor *x, DType type) {
    return !x || x->dtype == type ? 0 : (size_t)tensor_numel(x) * dtype_size(type);
}

} // namespace

bool cublaslt_open(Error *error) {
    if (!library.open) library.open = find_calls(error);
    return library.open;
}

void multiply(const Tensor *like, const Product &product, const void *a, const void *b,
              const void *bias, void *c) {
    CHECK(library.open, "cublaslt_open() comes first");
    CHECK(!product.gelu_tanh || product.c_type == BFLOAT16, "GELU is too coarse for float32 here");
    plan_for(product, a, b, bias, c).run(like, product, a, b, bias, c);
}

bool multiply_float8(const Tensor *like, const Product &product, const void *a, const void *b,
                     void *c) {
    CHECK(library.open, "cublaslt_open() comes first");
    CHECK(product.type == FLOAT8 && !product.a_transposed && product.b_transposed &&
              !product.accumulate && !product.gelu_tanh,
          "a product of FLOAT8 is that of a linear layer");
    if (product.n % 16 || product.k % 16) return false;
    if (!aligned_to(a, 16) || !aligned_to(b, 16) || !aligned_to(c, 16)) return false;
    Plan &plan = plan_for(product, a, b, nullptr, c);
    if (plan.exists) plan.run(like, product, a, b, nullptr, c);
    return plan.exists;
}

ProductOperand::ProductOperand(const Tensor *like, const Tensor *operand, DType type)
    : copy(like, copy_bytes(operand, type)), elements(operand ? operand->data : nullptr) {
    if (!operand || operand->dtype == type) return;
    if (operand->dtype == FLOAT8) {
        elements = copy.as<void>();
        widen_rows(operand, type, copy.as<void>());
        return;
    }
    CHECK(operand->dtype == FLOAT32 && type == BFLOAT16, "%s for a product in %s",
          tensor_describe(operand), dtype_name(type));
    int64_t n = tensor_numel(operand);
    bfloat16 *rounded = copy.as<bfloat16>();
    elements = rounded;
    const float *from = data_of<float>(operand);
    cudaStream_t stream = stream_of(operand);
    if (aligned_to(from, 16))
        LAUNCH(round_kernel<4>, blocks_for(operand, n / 4, THREADS), THREADS, 0, stream, from, n,
               rounded);
    else
        LAUNCH(round_kernel<1>, blocks_for(operand, n, THREADS), THREADS, 0, stream, from, n,
               rounded);
}
