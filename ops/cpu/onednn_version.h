/// Inside onednn.c only: what differs between oneDNN 2 and 3, behind one set of names.
#pragma once
#include "ops/cpu/onednn.h"

#include <oneapi/dnnl/dnnl.h>

#include <string.h>

/// onednn.c makes it before anything else
static dnnl_engine_t engine;

// ---- what differs between the versions: memory descriptors (a struct by value in 2, an object in
// 3) and how a primitive descriptor is made (from an operation descriptor in 2, directly in 3)

#if DNNL_VERSION_MAJOR < 3
typedef const dnnl_memory_desc_t *LayoutView;
#else
typedef const_dnnl_memory_desc_t LayoutView;
#endif

#define DNNL_CHECK(call)                                                                \
    do {                                                                                \
        dnnl_status_t status_ = (call);                                                 \
        CHECK(status_ == dnnl_success, "oneDNN: status %d in %s", (int)status_, #call); \
    } while (0)

/// An owned memory descriptor.
typedef struct Layout {
    dnnl_memory_desc_t desc;
} Layout;

static LayoutView view(const Layout *layout) {
#if DNNL_VERSION_MAJOR < 3
    return &layout->desc;
#else
    return layout->desc;
#endif
}

static Layout layout_copy(LayoutView source) {
    Layout layout;
#if DNNL_VERSION_MAJOR < 3
    layout.desc = *source;
#else
    DNNL_CHECK(dnnl_memory_desc_clone(&layout.desc, source));
#endif
    return layout;
}

static void layout_release(Layout *layout) {
#if DNNL_VERSION_MAJOR < 3
    (void)layout;
#else
    dnnl_memory_desc_destroy(layout->desc);
#endif
}

static dnnl_data_type_t data_type(DType type) { return type == BFLOAT16 ? dnnl_bf16 : dnnl_f32; }

static Layout layout_strided(DType type, int rank, const int64_t *shape, const int64_t *steps) {
    dnnl_dims_t dims, strides; // oneDNN declares arrays of its greatest rank
    memcpy(dims, shape, (size_t)rank * sizeof *shape);
    memcpy(strides, steps, (size_t)rank * sizeof *steps);
    Layout layout;
#if DNNL_VERSION_MAJOR < 3
    DNNL_CHECK(
        dnnl_memory_desc_init_by_strides(&layout.desc, rank, dims, data_type(type), strides));
#else
    DNNL_CHECK(
        dnnl_memory_desc_create_with_strides(&layout.desc, rank, dims, data_type(type), strides));
#endif
    return layout;
}

static Layout layout_tagged(DType type, int rank, const int64_t *shape, dnnl_format_tag_t tag) {
    dnnl_dims_t dims;
    memcpy(dims, shape, (size_t)rank * sizeof *shape);
    Layout layout;
#if DNNL_VERSION_MAJOR < 3
    DNNL_CHECK(dnnl_memory_desc_init_by_tag(&layout.desc, rank, dims, data_type(type), tag));
#else
    DNNL_CHECK(dnnl_memory_desc_create_with_tag(&layout.desc, rank, dims, data_type(type), tag));
#endif
    return layout;
}

/// A layout that the primitive chooses.
static Layout layout_any(DType type, int rank, const int64_t *shape) {
    return layout_tagged(type, rank, shape, dnnl_format_tag_any);
}

static bool layout_equal(LayoutView a, LayoutView b) { return dnnl_memory_desc_equal(a, b) != 0; }

static void append_sum(dnnl_post_ops_t post_ops) {
#if DNNL_VERSION_MAJOR < 3
    DNNL_CHECK(dnnl_post_ops_append_sum(post_ops, 1.0f));
#else
    DNNL_CHECK(dnnl_post_ops_append_sum(post_ops, 1.0f, 0, dnnl_data_type_undef));
#endif
}

enum { END_A, END_B, END_BIAS, END_C, END_SCRATCH, ENDS };

static dnnl_primitive_desc_t matmul_descriptor(Layout *ends, bool bias,
                                               const_dnnl_primitive_attr_t attributes) {
    dnnl_primitive_desc_t descriptor;
    LayoutView bias_view = bias ? view(&ends[END_BIAS]) : NULL;
#if DNNL_VERSION_MAJOR < 3
    dnnl_matmul_desc_t operation;
    DNNL_CHECK(dnnl_matmul_desc_init(&operation, view(&ends[END_A]), view(&ends[END_B]), bias_view,
                                     view(&ends[END_C])));
    DNNL_CHECK(dnnl_primitive_desc_create(&descriptor, &operation, attributes, engine, NULL));
#else
    DNNL_CHECK(dnnl_matmul_primitive_desc_create(&descriptor, engine, view(&ends[END_A]),
                                                 view(&ends[END_B]), bias_view, view(&ends[END_C]),
                                                 attributes));
#endif
    return descriptor;
}

/// Strides, dilation (0: none) and padding as oneDNN wants them.
typedef struct Window {
    dnnl_dims_t strides, dilation, before, after;
} Window;

static dnnl_primitive_desc_t convolution_descriptor(Layout *ends, bool bias, const Window *window,
                                                    const_dnnl_primitive_attr_t attributes) {
    dnnl_primitive_desc_t descriptor;
    LayoutView bias_view = bias ? view(&ends[END_BIAS]) : NULL;
#if DNNL_VERSION_MAJOR < 3
    dnnl_convolution_desc_t operation;
    DNNL_CHECK(dnnl_dilated_convolution_forward_desc_init(
        &operation, dnnl_forward_inference, dnnl_convolution_direct, view(&ends[END_A]),
        view(&ends[END_B]), bias_view, view(&ends[END_C]), window->strides, window->dilation,
        window->before, window->after));
    DNNL_CHECK(dnnl_primitive_desc_create(&descriptor, &operation, attributes, engine, NULL));
#else
    DNNL_CHECK(dnnl_convolution_forward_primitive_desc_create(
        &descriptor, engine, dnnl_forward_inference, dnnl_convolution_direct, view(&ends[END_A]),
        view(&ends[END_B]), bias_view, view(&ends[END_C]), window->strides, window->dilation,
        window->before, window->after, attributes));
#endif
    return descriptor;
}

/// Here END_A is the gradient of x (written) and END_C the gradient of y (read).
static dnnl_primitive_desc_t convolution_backward_descriptor(
    Layout *ends, const Window *window, const_dnnl_primitive_attr_t attributes) {
    dnnl_primitive_desc_t descriptor, hint = convolution_descriptor(ends, false, window, NULL);
#if DNNL_VERSION_MAJOR < 3
    dnnl_convolution_desc_t operation;
    DNNL_CHECK(dnnl_dilated_convolution_backward_data_desc_init(
        &operation, dnnl_convolution_direct, view(&ends[END_A]), view(&ends[END_B]),
        view(&ends[END_C]), window->strides, window->dilation, window->before, window->after));
    DNNL_CHECK(dnnl_primitive_desc_create(&descriptor, &operation, attributes, engine, hint));
#else
    DNNL_CHECK(dnnl_convolution_backward_data_primitive_desc_create(
        &descriptor, engine, dnnl_convolution_direct, view(&ends[END_A]), view(&ends[END_B]),
        view(&ends[END_C]), window->strides, window->dilation, window->before, window->after, hint,
        attributes));
#endif
    dnnl_primitive_desc_destroy(hint);
    return descriptor;
}
