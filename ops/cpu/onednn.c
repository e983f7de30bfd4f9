// The one file that knows oneDNN's C interface.
#include "autograd/fnv.h"
#include "ops/cpu/onednn_version.h"

#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static dnnl_stream_t stream;

// ---- which instructions

void onednn_limit_level(const char *level) {
    if (!strcmp(level, "v2")) dnnl_set_max_cpu_isa(dnnl_cpu_isa_sse41);
    if (!strcmp(level, "v3")) dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx2);
    if (!strcmp(level, "v4")) dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx512_core);
}

/// Instruction sets are sets of bits.
static bool has(dnnl_cpu_isa_t wanted) {
    unsigned present = (unsigned)dnnl_get_effective_cpu_isa();
    return (present & (unsigned)wanted) == (unsigned)wanted;
}

bool onednn_has_bfloat16(void) { return has(dnnl_cpu_isa_avx512_core_bf16); }
bool onednn_has_avx512(void) { return has(dnnl_cpu_isa_avx512_core); }
bool onednn_has_avx2(void) { return has(dnnl_cpu_isa_avx2); }

// ---- primitives, kept

typedef enum Operation {
    MATMUL,
    MATMUL_PREPARED,
    CONVOLUTION,
    CONVOLUTION_INPUT_GRADIENT
} Operation;

/// What makes a primitive; compared as bytes, so unused numbers are zero.
typedef struct Key {
    int64_t operation, bias, threads;
    int64_t numbers[16];
} Key;

typedef struct Primitive {
    Key key;
    /// 0: the place is empty
    uint64_t last_use;
    dnnl_primitive_t primitive;
    /// handles set at each call; NULL where there is no such end
    dnnl_memory_t memories[ENDS];
    /// what the primitive wants of b
    Layout b_layout;
    size_t scratch_bytes;
} Primitive;

/// A place for a key is one of WAYS in its set; the one not used for longest makes room.
enum { SETS = 256, WAYS = 4 };
static Primitive primitives[SETS][WAYS];
static uint64_t uses;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void start_once(void) {
    if (engine) return;
    DNNL_CHECK(dnnl_engine_create(&engine, dnnl_cpu, 0));
    DNNL_CHECK(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
}

static void primitive_clear(Primitive *place) {
    if (!place->last_use) return;
    for (int i = 0; i < ENDS; i++)
        if (place->memories[i]) dnnl_memory_destroy(place->memories[i]);
    layout_release(&place->b_layout);
    dnnl_primitive_destroy(place->primitive);
    memset(place, 0, sizeof *place);
}

/// The place that holds the key or will hold it (then empty).
static Primitive *primitive_place(const Key *key) {
    Primitive *set = primitives[fnv1a_words(key, sizeof *key) % SETS], *oldest = set;
    for (int way = 0; way < WAYS; way++) {
        if (set[way].last_use && !memcmp(&set[way].key, key, sizeof *key)) return &set[way];
        if (set[way].last_use < oldest->last_use) oldest = &set[way];
    }
    primitive_clear(oldest);
    return oldest;
}

static dnnl_memory_t memory_for(LayoutView layout) {
    dnnl_memory_t memory;
    DNNL_CHECK(dnnl_memory_create(&memory, layout, engine, DNNL_MEMORY_NONE));
    return memory;
}

/// Takes over the descriptor and the layouts of the ends. b's layout is asked of the primitive, the
/// others are as given.
static void primitive_fill(Primitive *place, const Key *key, dnnl_primitive_desc_t descriptor,
                           Layout *ends, dnnl_query_t b_query) {
    place->key = *key;
    DNNL_CHECK(dnnl_primitive_create(&place->primitive, descriptor));
    place->b_layout = layout_copy(dnnl_primitive_desc_query_md(descriptor, b_query, 0));
    place->memories[END_A] = memory_for(view(&ends[END_A]));
    place->memories[END_B] = memory_for(view(&place->b_layout));
    if (key->bias) place->memories[END_BIAS] = memory_for(view(&ends[END_BIAS]));
    place->memories[END_C] = memory_for(view(&ends[END_C]));
    LayoutView scratch = dnnl_primitive_desc_query_md(descriptor, dnnl_query_scratchpad_md, 0);
    place->memories[END_SCRATCH] = memory_for(scratch);
    place->scratch_bytes = dnnl_memory_desc_get_size(scratch);
    dnnl_primitive_desc_destroy(descriptor);
    for (int i = 0; i <= END_C; i++)
        if (i != END_BIAS || key->bias) layout_release(&ends[i]);
}

static dnnl_primitive_attr_t attributes_new(bool accumulate) {
    dnnl_primitive_attr_t attributes;
    DNNL_CHECK(dnnl_primitive_attr_create(&attributes));
    DNNL_CHECK(dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user));
    if (accumulate) {
        dnnl_post_ops_t post_ops;
        DNNL_CHECK(dnnl_post_ops_create(&post_ops));
        append_sum(post_ops);
        DNNL_CHECK(dnnl_primitive_attr_set_post_ops(attributes, post_ops));
        DNNL_CHECK(dnnl_post_ops_destroy(post_ops));
    }
    return attributes;
}

/// Runs with these addresses; `b` is a memory object (a prepared weight) instead of an address if
/// not NULL.
static void primitive_run(Primitive *place, const int names[ENDS], const void *const addresses[],
                          dnnl_memory_t b) {
    Device *device = device_cpu();
    void *scratch = place->scratch_bytes ? device->allocate(device, place->scratch_bytes) : NULL;
    dnnl_exec_arg_t arguments[ENDS];
    int count = 0;
    for (int i = 0; i < ENDS; i++) {
        dnnl_memory_t memory = place->memories[i];
        if (!memory) continue;
        if (i == END_B && b) {
            memory = b;
        } else {
            void *address = i == END_SCRATCH ? scratch : (void *)(uintptr_t)addresses[i];
            DNNL_CHECK(dnnl_memory_set_data_handle(memory, address));
        }
        arguments[count++] = (dnnl_exec_arg_t){names[i], memory};
    }
    DNNL_CHECK(dnnl_primitive_execute(place->primitive, stream, count, arguments));
    DNNL_CHECK(dnnl_stream_wait(stream));
    if (scratch) device->release(device, scratch, place->scratch_bytes);
    place->last_use = ++uses;
}

// ---- prepared weights: a list beside the tensor, one entry per layout that some product wanted

typedef struct Prepared Prepared;
struct Prepared {
    Prepared *next;
    /// how the weight's own memory was read: a square one looks the same transposed
    Layout stored;
    Layout layout;
    dnnl_memory_t memory;
    void *data;
    size_t bytes;
    Device *device;
};

void onednn_release_prepared(void *prepared) {
    for (Prepared *entry = prepared, *next; entry; entry = next) {
        next = entry->next;
        entry->device->bytes_prepared -= (int64_t)entry->bytes;
        dnnl_memory_destroy(entry->memory);
        layout_release(&entry->stored);
        layout_release(&entry->layout);
        free(entry->data);
        free(entry);
    }
}

static void reorder(dnnl_memory_t from, LayoutView from_layout, dnnl_memory_t to,
                    LayoutView to_layout) {
    dnnl_primitive_desc_t descriptor;
    dnnl_primitive_t primitive;
    DNNL_CHECK(dnnl_reorder_primitive_desc_create(&descriptor, from_layout, engine, to_layout,
                                                  engine, NULL));
    DNNL_CHECK(dnnl_primitive_create(&primitive, descriptor));
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    DNNL_CHECK(dnnl_primitive_execute(primitive, stream, 2, arguments));
    DNNL_CHECK(dnnl_stream_wait(stream));
    dnnl_primitive_destroy(primitive);
    dnnl_primitive_desc_destroy(descriptor);
}

/// The weight's elements in `type`: its own memory, or newly allocated (*owned).
static void *weight_in_type(const Tensor *weight, DType type, void **owned) {
    *owned = NULL;
    if (weight->dtype == type) return weight->data;
    int64_t n = tensor_numel(weight);
    *owned = checked_malloc((size_t)n * dtype_size(type));
    if (type == FLOAT32)
        for (int64_t i = 0; i < n; i++)
            ((float *)*owned)[i] = bfloat16_to_float(((const uint16_t *)weight->data)[i]);
    else
        for (int64_t i = 0; i < n; i++)
            ((uint16_t *)*owned)[i] = float_to_bfloat16(((const float *)weight->data)[i]);
    return *owned;
}

/// Copies the weight, stored as `stored` says (in type `type`), into `data` in another layout.
static dnnl_memory_t pack(const Tensor *weight, DType type, const Layout *stored, LayoutView wanted,
                          void *data) {
    void *owned, *source = weight_in_type(weight, type, &owned);
    dnnl_memory_t from, to;
    DNNL_CHECK(dnnl_memory_create(&to, wanted, engine, data));
    DNNL_CHECK(dnnl_memory_create(&from, view(stored), engine, source));
    reorder(from, view(stored), to, wanted);
    dnnl_memory_destroy(from);
    free(owned);
    return to;
}

/// The weight, stored as `stored` says (in type `type`), in the layout that the primitive wants.
static dnnl_memory_t prepare(Tensor *weight, DType type, const Layout *stored, LayoutView wanted) {
    for (Prepared *entry = weight->prepared; entry; entry = entry->next)
        if (layout_equal(view(&entry->stored), view(stored)) &&
            layout_equal(view(&entry->layout), wanted))
            return entry->memory;
    Prepared *entry = checked_calloc(1, sizeof *entry);
    entry->stored = layout_copy(view(stored));
    entry->layout = layout_copy(wanted);
    entry->bytes = (dnnl_memory_desc_get_size(wanted) + 63) & ~(size_t)63;
    entry->data = aligned_alloc(64, entry->bytes);
    CHECK(entry->data, "out of memory: %zu bytes for a prepared weight", entry->bytes);
    entry->device = weight->device;
    entry->device->bytes_prepared += (int64_t)entry->bytes;
    entry->memory = pack(weight, type, stored, wanted, entry->data);
    entry->next = weight->prepared;
    weight->prepared = entry;
    return entry->memory;
}

// ---- products

static const int forward_names[ENDS] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST,
                                        DNNL_ARG_SCRATCHPAD};
static const int backward_names[ENDS] = {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, 0, DNNL_ARG_DIFF_DST,
                                         DNNL_ARG_SCRATCHPAD};

static Layout matrix_layout(DType type, int64_t rows, int64_t columns, bool transposed) {
    // A dimension of one may have any stride; the plain one keeps oneDNN from seeing a transposed
    // matrix.
    int64_t by_rows[] = {columns, 1}, by_columns[] = {1, rows};
    if (rows == 1 || columns == 1) transposed = false;
    return layout_strided(type, 2, (int64_t[]){rows, columns}, transposed ? by_columns : by_rows);
}

static Primitive *matmul_primitive(const Matmul *shape, bool bias, bool prepared) {
    start_once();
    Key key = {prepared ? MATMUL_PREPARED : MATMUL,
               bias,
               omp_get_max_threads(),
               {shape->m, shape->n, shape->k, shape->type, shape->c_type, shape->a_transposed,
                shape->b_transposed, shape->accumulate}};
    Primitive *place = primitive_place(&key);
    if (place->last_use) return place;
    Layout ends[ENDS];
    ends[END_A] = matrix_layout(shape->type, shape->m, shape->k, shape->a_transposed);
    ends[END_B] = prepared ? layout_any(shape->type, 2, (int64_t[]){shape->k, shape->n})
                           : matrix_layout(shape->type, shape->k, shape->n, shape->b_transposed);
    if (bias)
        ends[END_BIAS] =
            layout_strided(FLOAT32, 2, (int64_t[]){1, shape->n}, (int64_t[]){shape->n, 1});
    ends[END_C] = matrix_layout(shape->c_type, shape->m, shape->n, false);
    dnnl_primitive_attr_t attributes = attributes_new(shape->accumulate);
    dnnl_primitive_desc_t descriptor = matmul_descriptor(ends, bias, attributes);
    dnnl_primitive_attr_destroy(attributes);
    primitive_fill(place, &key, descriptor, ends, dnnl_query_weights_md);
    return place;
}

void onednn_matmul(const Matmul *shape, const void *a, const void *b, const float *bias, void *c) {
    pthread_mutex_lock(&lock);
    Primitive *place = matmul_primitive(shape, bias != NULL, false);
    primitive_run(place, forward_names, (const void *[]){a, b, bias, c}, NULL);
    pthread_mutex_unlock(&lock);
}

void onednn_matmul_prepared(const Matmul *shape, const void *a, Tensor *b, const float *bias,
                            void *c) {
    pthread_mutex_lock(&lock);
    Primitive *place = matmul_primitive(shape, bias != NULL, true);
    Layout stored = matrix_layout(shape->type, shape->k, shape->n, shape->b_transposed);
    dnnl_memory_t packed = prepare(b, shape->type, &stored, view(&place->b_layout));
    layout_release(&stored);
    primitive_run(place, forward_names, (const void *[]){a, NULL, bias, c}, packed);
    pthread_mutex_unlock(&lock);
}

// ---- convolutions

static Layout image_layout(DType type, int64_t batch, int64_t height, int64_t width,
                           int64_t channels) {
    return layout_strided(type, 4, (int64_t[]){batch, channels, height, width},
                          (int64_t[]){height * width * channels, 1, width * channels, channels});
}

static Layout filter_layout(const Convolution *s) {
    int64_t row = s->kernel_width * s->channels_in;
    return layout_strided(
        s->type, 4, (int64_t[]){s->channels_out, s->channels_in, s->kernel_height, s->kernel_width},
        (int64_t[]){s->kernel_height * row, 1, row, s->channels_in});
}

static Primitive *convolution_primitive(const Convolution *s, bool bias, bool gradient) {
    start_once();
    const Conv2d *shape = &s->shape;
    Key key = {gradient ? CONVOLUTION_INPUT_GRADIENT : CONVOLUTION,
               bias,
               omp_get_max_threads(),
               {s->type, s->batch, s->height, s->width, s->channels_in, s->height_out, s->width_out,
                s->channels_out, s->kernel_height, s->kernel_width, shape->stride, shape->pad_top,
                shape->pad_left, shape->pad_bottom, shape->pad_right}};
    Primitive *place = primitive_place(&key);
    if (place->last_use) return place;
    Layout ends[ENDS];
    ends[END_A] = image_layout(s->type, s->batch, s->height, s->width, s->channels_in);
    ends[END_B] =
        layout_any(s->type, 4,
                   (int64_t[]){s->channels_out, s->channels_in, s->kernel_height, s->kernel_width});
    if (bias) ends[END_BIAS] = layout_strided(FLOAT32, 1, &s->channels_out, (int64_t[]){1});
    ends[END_C] = image_layout(s->type, s->batch, s->height_out, s->width_out, s->channels_out);
    Window window = {{shape->stride, shape->stride},
                     {0, 0},
                     {shape->pad_top, shape->pad_left},
                     {shape->pad_bottom, shape->pad_right}};
    dnnl_primitive_attr_t attributes = attributes_new(false);
    dnnl_primitive_desc_t descriptor =
        gradient ? convolution_backward_descriptor(ends, &window, attributes)
                 : convolution_descriptor(ends, bias, &window, attributes);
    dnnl_primitive_attr_destroy(attributes);
    primitive_fill(place, &key, descriptor, ends, dnnl_query_weights_md);
    return place;
}

/// `addresses`: of the ends; b's is left out.
static void convolution_of_large_filter(const Convolution *s, Primitive *place,
                                        const int names[ENDS], const void *const addresses[],
                                        const Layout *stored, const Tensor *weight) {
    Device *device = weight->device;
    size_t bytes = dnnl_memory_desc_get_size(view(&place->b_layout));
    void *data = device->allocate(device, bytes);
    dnnl_memory_t packed = pack(weight, s->type, stored, view(&place->b_layout), data);
    primitive_run(place, names, addresses, packed);
    dnnl_memory_destroy(packed);
    device->release(device, data, bytes);
}

static void convolution_run(const Convolution *s, bool gradient, const void *x, Tensor *weight,
                            const float *bias, const void *y) {
    pthread_mutex_lock(&lock);
    Primitive *place = convolution_primitive(s, bias != NULL, gradient);
    Layout stored = filter_layout(s);
    const int *names = gradient ? backward_names : forward_names;
    const void *const addresses[] = {x, NULL, bias, y};
    if (tensor_numel(weight) > KEPT_FILTER_ELEMENTS)
        convolution_of_large_filter(s, place, names, addresses, &stored, weight);
    else
        primitive_run(place, names, addresses,
                      prepare(weight, s->type, &stored, view(&place->b_layout)));
    layout_release(&stored);
    pthread_mutex_unlock(&lock);
}

void onednn_convolution(const Convolution *shape, const void *x, Tensor *weight, const float *bias,
                        void *y) {
    convolution_run(shape, false, x, weight, bias, y);
}

void onednn_convolution_input_gradient(const Convolution *shape, const void *grad_y, Tensor *weight,
                                       void *grad_x) {
    convolution_run(shape, true, grad_x, weight, NULL, grad_y);
}
