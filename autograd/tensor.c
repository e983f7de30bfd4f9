// Tensors count their owners; a scope is one owner of everything made inside it.
#include "autograd/tensor.h"

#include "autograd/block_cache.h"
#include "autograd/gradient.h"
#include "autograd/tape.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct Storage {
    int references;
    Device *device;
    void *bytes;
    size_t size;
    MemoryKind kind;
    /// somebody else's memory
    bool borrowed;
    /// of borrowed memory that is counted, or NULL
    void *owner;
    void (*release_owner)(void *owner);
};

// ---- scopes: one stack of tensors per thread, and the heights at which scopes began

static _Thread_local Tensor **owned;
static _Thread_local int owned_count, owned_capacity;
static _Thread_local int *marks;
static _Thread_local int mark_count, mark_capacity;

void scope_begin(void) {
    if (mark_count == mark_capacity) {
        mark_capacity = mark_capacity ? 2 * mark_capacity : 32;
        marks = checked_realloc(marks, (size_t)mark_capacity * sizeof *marks);
    }
    marks[mark_count++] = owned_count;
}

void scope_end(void) {
    CHECK(mark_count > 0, "scope_end without scope_begin");
    int mark = marks[--mark_count];
    while (owned_count > mark) tensor_release(owned[--owned_count]);
    if (mark_count == 0) { // the thread may end here; nothing of its own is left behind
        free(owned);
        free(marks);
        owned = NULL;
        marks = NULL;
        owned_capacity = mark_capacity = 0;
    }
}

Tensor *scope_adopt(Tensor *x) {
    if (!x) return NULL;
    CHECK(mark_count > 0, "tensor %s made outside of any scope", tensor_describe(x));
    if (owned_count == owned_capacity) {
        owned_capacity = owned_capacity ? 2 * owned_capacity : 256;
        owned = checked_realloc(owned, (size_t)owned_capacity * sizeof *owned);
    }
    owned[owned_count++] = x;
    return x;
}

Tensor *scope_end_returning(Tensor *x) {
    CHECK(mark_count > 1 || !x, "a tensor cannot be returned from the outermost scope");
    tensor_retain(x);
    scope_end();
    return scope_adopt(x);
}

// ---- gradients' lives

Gradient *gradient_new(bool leaf) {
    Gradient *gradient = checked_calloc(1, sizeof *gradient);
    gradient->references = 1;
    gradient->leaf = leaf;
    gradient->index = -1;
    return gradient;
}

Gradient *gradient_retain(Gradient *gradient) {
    if (gradient) gradient->references++;
    return gradient;
}

void gradient_release(Gradient *gradient) {
    if (!gradient || --gradient->references) return;
    tensor_release(gradient->value);
    free(gradient);
}

void require_grad(Tensor *x) {
    CHECK(x->dtype == FLOAT32, "only FLOAT32 tensors are leaves, not %s", tensor_describe(x));
    if (x->gradient) return;
    x->gradient = gradient_new(true);
    x->gradient->rank = x->rank;
    memcpy(x->gradient->shape, x->shape, sizeof x->shape);
}

void leaf_set_index(Tensor *x, int index) {
    CHECK(x->gradient && x->gradient->leaf, "%s is not a leaf", tensor_describe(x));
    x->gradient->index = index;
}

void leaf_set_gradient(Tensor *x, Tensor *buffer) {
    CHECK(x->gradient && x->gradient->leaf && buffer->dtype == FLOAT32 && same_shape(x, buffer),
          "leaf_set_gradient: %s for %s", tensor_describe(buffer), tensor_describe(x));
    tensor_retain(buffer);
    tensor_set_memory_kind(buffer, MEMORY_GRADIENTS);
    tensor_release(x->gradient->value);
    x->gradient->value = buffer;
    x->gradient->gathered = false;
}

void leaf_settle_gradient(Tensor *x) {
    Gradient *gradient = x->gradient;
    if (gradient->gathered) return;
    CHECK(gradient->value, "%s has no buffer for its gradient", tensor_describe(x));
    x->device->fill_zero(x->device, gradient->value->data, (size_t)tensor_numel(x) * sizeof(float));
    gradient->gathered = true;
}

bool requires_grad(const Tensor *x) { return x && x->gradient && tape_recording(); }

Tensor *grad(const Tensor *x) {
    return x->gradient && x->gradient->gathered ? x->gradient->value : NULL;
}

void grad_clear(Tensor *x) {
    if (!x->gradient) return;
    x->gradient->gathered = false;
    if (x->gradient->leaf) return;
    tensor_release(x->gradient->value);
    x->gradient->value = NULL;
}

// ---- tensors

static Tensor *describe_new(Device *device, DType dtype, int rank, const int64_t *shape,
                            const char *name) {
    CHECK(rank >= 1 && rank <= MAX_RANK, "rank %d", rank);
    Tensor *x = checked_calloc(1, sizeof *x);
    x->dtype = dtype;
    x->rank = rank;
    x->device = device;
    x->references = 1;
    x->name = name ? checked_strdup(name) : NULL;
    for (int i = 0; i < rank; i++) {
        CHECK(shape[i] >= 0, "dimension %d is %lld", i, (long long)shape[i]);
        x->shape[i] = shape[i];
    }
    return x;
}

static Storage *storage_new(Device *device, size_t size, void *borrowed) {
    Storage *storage = checked_calloc(1, sizeof *storage);
    storage->references = 1;
    storage->device = device;
    storage->size = size;
    storage->kind = MEMORY_WORKSPACE;
    storage->borrowed = borrowed != NULL;
    storage->bytes = borrowed ? borrowed : size ? device->allocate(device, size) : NULL;
    return storage;
}

static void storage_set_kind(Storage *storage, MemoryKind kind) {
    if (storage->borrowed || !storage->bytes || storage->kind == kind) return;
    block_cache_recount(storage->device, storage->size, storage->kind, kind);
    storage->kind = kind;
}

static void storage_release(Storage *storage) {
    if (--storage->references) return;
    if (storage->owner) {
        block_cache_count_borrowed(storage->device, storage->size, storage->kind, false);
        storage->release_owner(storage->owner);
    }
    storage_set_kind(storage, MEMORY_WORKSPACE); // as which the device counts what it is given
    if (!storage->borrowed && storage->bytes)
        storage->device->release(storage->device, storage->bytes, storage->size);
    free(storage);
}

static Tensor *allocate_new(Device *device, DType dtype, int rank, const int64_t *shape,
                            const char *name, MemoryKind kind) {
    Tensor *x = describe_new(device, dtype, rank, shape, name);
    x->storage = storage_new(device, (size_t)tensor_numel(x) * dtype_size(dtype), NULL);
    storage_set_kind(x->storage, kind);
    x->data = x->storage->bytes;
    if (dtype == FLOAT8)
        x->scales = allocate_new(device, FLOAT32, SHAPE(tensor_rows(x)), NULL, kind);
    return x;
}

Tensor *tensor_new_persistent(Device *device, DType dtype, int rank, const int64_t *shape,
                              const char *name) {
    return allocate_new(device, dtype, rank, shape, name, MEMORY_WEIGHTS);
}

void tensor_set_memory_kind(Tensor *x, MemoryKind kind) { storage_set_kind(x->storage, kind); }

Tensor *tensor_over(Device *device, DType dtype, int rank, const int64_t *shape, void *data,
                    const char *name) {
    Tensor *x = describe_new(device, dtype, rank, shape, name);
    x->storage = storage_new(device, (size_t)tensor_numel(x) * dtype_size(dtype), data);
    x->data = data;
    return x;
}

Tensor *tensor_over_part(Device *device, DType dtype, int rank, const int64_t *shape,
                         const void *data, const char *name, void *owner,
                         void (*release)(void *owner)) {
    Tensor *x = tensor_over(device, dtype, rank, shape, (void *)(uintptr_t)data, name);
    x->storage->kind = MEMORY_WEIGHTS;
    x->storage->owner = owner;
    x->storage->release_owner = release;
    block_cache_count_borrowed(device, x->storage->size, MEMORY_WEIGHTS, true);
    return x;
}

Tensor *tensor_new(Device *device, DType dtype, int rank, const int64_t *shape) {
    return scope_adopt(allocate_new(device, dtype, rank, shape, NULL, MEMORY_ACTIVATIONS));
}

Tensor *tensor_zeros(Device *device, DType dtype, int rank, const int64_t *shape) {
    CHECK(dtype != FLOAT8, "tensor_zeros: FLOAT8 comes from other numbers alone");
    Tensor *x = tensor_new(device, dtype, rank, shape);
    device->fill_zero(device, x->data, (size_t)tensor_numel(x) * dtype_size(dtype));
    return x;
}

Tensor *tensor_like(const Tensor *x) { return tensor_new(x->device, x->dtype, x->rank, x->shape); }

Tensor *tensor_from_host(Device *device, DType dtype, int rank, const int64_t *shape,
                         const void *data) {
    Tensor *x = tensor_new(device, dtype, rank, shape);
    device->from_host(device, x->data, data, (size_t)tensor_numel(x) * dtype_size(dtype));
    return x;
}

Tensor *reshape(Tensor *x, int rank, const int64_t *shape) {
    Tensor *y = describe_new(x->device, x->dtype, rank, shape, x->name);
    CHECK(tensor_numel(y) == tensor_numel(x) && x->dtype != FLOAT8,
          "reshape: %s has not as many elements as %s, or rows with scales", tensor_describe(x),
          tensor_describe(y));
    y->storage = x->storage;
    y->storage->references++;
    y->data = x->data;
    y->gradient = gradient_retain(x->gradient);
    return scope_adopt(y);
}

/// Owned by the caller.
static Tensor *part_of(const Tensor *base, int64_t offset, int rank, const int64_t *shape) {
    Tensor *y = describe_new(base->device, base->dtype, rank, shape, base->name);
    CHECK(offset >= 0 && offset + tensor_numel(y) <= tensor_numel(base),
          "tensor_slice: %s from element %lld of %s", tensor_describe(y), (long long)offset,
          tensor_describe(base));
    y->storage = base->storage;
    y->storage->references++;
    y->data = (char *)base->data + (size_t)offset * dtype_size(base->dtype);
    return y;
}

Tensor *tensor_slice(const Tensor *base, int64_t offset, int rank, const int64_t *shape) {
    Tensor *y = part_of(base, offset, rank, shape);
    if (base->dtype == FLOAT8) {
        int64_t columns = tensor_columns(base);
        CHECK(tensor_columns(y) == columns && offset % columns == 0,
              "tensor_slice: %s from element %lld of %s is no whole rows", tensor_describe(y),
              (long long)offset, tensor_describe(base));
        y->scales = part_of(base->scales, offset / columns, SHAPE(tensor_rows(y)));
    }
    return scope_adopt(y);
}

void tensor_move(Tensor *x, const Tensor *slice) {
    CHECK(x->dtype == slice->dtype && x->device == slice->device &&
              tensor_numel(x) == tensor_numel(slice) && x->storage->references == 1,
          "tensor_move: %s to %s", tensor_describe(x), tensor_describe(slice));
    size_t bytes = (size_t)tensor_numel(x) * dtype_size(x->dtype);
    void *content = checked_malloc(bytes + 1);
    x->device->to_host(x->device, content, x->data, bytes);
    x->device->from_host(x->device, slice->data, content, bytes);
    free(content);
    storage_release(x->storage);
    x->storage = slice->storage;
    x->storage->references++;
    x->data = slice->data;
}

Tensor *tensor_retain(Tensor *x) {
    if (x) x->references++;
    return x;
}

void tensor_release(Tensor *x) {
    if (!x || --x->references) return;
    if (x->prepared) x->device->release_prepared(x->prepared);
    gradient_release(x->gradient);
    storage_release(x->storage);
    tensor_release(x->scales);
    free(x->name);
    free(x);
}

bool tensor_shares_memory(const Tensor *x) {
    return x->references > 1 || x->storage->references > 1;
}

int64_t tensor_numel(const Tensor *x) {
    int64_t numel = 1;
    for (int i = 0; i < x->rank; i++) numel *= x->shape[i];
    return numel;
}

int64_t tensor_rows(const Tensor *x) {
    int64_t rows = 1;
    for (int i = 0; i + 1 < x->rank; i++) rows *= x->shape[i];
    return rows;
}

int64_t tensor_columns(const Tensor *x) { return x->shape[x->rank - 1]; }

size_t dtype_size(DType dtype) {
    static const size_t sizes[] = {[FLOAT32] = 4, [BFLOAT16] = 2, [INT32] = 4, [FLOAT8] = 1};
    return sizes[dtype];
}

const char *dtype_name(DType dtype) {
    static const char *const names[] = {
        [FLOAT32] = "float32", [BFLOAT16] = "bfloat16", [INT32] = "int32", [FLOAT8] = "float8"};
    return names[dtype];
}

bool same_shape(const Tensor *a, const Tensor *b) {
    return a->rank == b->rank && !memcmp(a->shape, b->shape, (size_t)a->rank * sizeof a->shape[0]);
}

const char *tensor_describe(const Tensor *x) {
    static _Thread_local char buffers[8][96];
    static _Thread_local int next;
    char *text = buffers[next++ % 8];
    size_t size = sizeof buffers[0], used = 0;
    used += (size_t)snprintf(text, size, "[");
    for (int i = 0; i < x->rank; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%lld", i ? ", " : "",
                                 (long long)x->shape[i]);
    snprintf(text + used, size - used, "] %s", dtype_name(x->dtype));
    return text;
}

static void float8_to_host_float(const Tensor *x, float *out) {
    int64_t rows = tensor_rows(x), columns = tensor_columns(x);
    uint8_t *bytes = checked_malloc((size_t)(rows * columns) + 1);
    float *scales = checked_malloc((size_t)rows * sizeof *scales + 1);
    x->device->to_host(x->device, bytes, x->data, (size_t)(rows * columns));
    tensor_to_host_float(x->scales, scales);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = r * columns; i < (r + 1) * columns; i++)
            out[i] = scales[r] * float8_to_float(bytes[i]);
    free(scales);
    free(bytes);
}

void tensor_to_host_float(const Tensor *x, float *out) {
    int64_t n = tensor_numel(x);
    CHECK(x->dtype != INT32, "tensor_to_host_float: %s", tensor_describe(x));
    if (x->dtype == FLOAT8) {
        float8_to_host_float(x, out);
        return;
    }
    if (x->dtype == FLOAT32) {
        x->device->to_host(x->device, out, x->data, (size_t)n * sizeof *out);
        return;
    }
    uint16_t *halves = checked_malloc((size_t)n * sizeof *halves);
    x->device->to_host(x->device, halves, x->data, (size_t)n * sizeof *halves);
    for (int64_t i = 0; i < n; i++) out[i] = bfloat16_to_float(halves[i]);
    free(halves);
}

void tensor_fill_from_float(Tensor *x, const float *values) {
    int64_t n = tensor_numel(x);
    CHECK(x->dtype == FLOAT32 || x->dtype == BFLOAT16, "tensor_fill_from_float: %s",
          tensor_describe(x));
    if (x->dtype == FLOAT32) {
        x->device->from_host(x->device, x->data, values, (size_t)n * sizeof *values);
        return;
    }
    uint16_t *halves = checked_malloc((size_t)n * sizeof *halves);
    for (int64_t i = 0; i < n; i++) halves[i] = float_to_bfloat16(values[i]);
    x->device->from_host(x->device, x->data, halves, (size_t)n * sizeof *halves);
    free(halves);
}

float tensor_item(const Tensor *x) {
    CHECK(tensor_numel(x) == 1, "tensor_item: %s has more than one element", tensor_describe(x));
    float value;
    tensor_to_host_float(x, &value);
    return value;
}
