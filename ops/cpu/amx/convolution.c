// y^T = W columns(x)^T: 32 rows of the filter, as they are stored, are the first operand; the
// second is pixels' channels in pairs, [pair][place], packed once for each span of the line, in
// which all taps of the kernel are the same memory shifted. So nothing is multiplied out into
// columns, and of the filter a block of 32 rows and nine steps at a time is copied to the
// first-level cache, in its order. The result comes out transposed and is turned when it is
// written.
//
// A row of a shifted tile crosses a cache line: the second operand's load takes 16 cycles of the
// load ports in place of 8. A step's four loads take 48, what it asks for ahead 8, its
// multiplications 64.
#include "ops/cpu/amx/convolution.h"

#include "ops/cpu/amx/convolution_gradient.h"
#include "ops/cpu/amx/convolution_line.h"
#include "ops/cpu/amx/convolution_tile.h"
#include "ops/cpu/convolution/patches.h"
#include "ops/cpu/transpose_words.h"

#include <omp.h>

/// How a convolution is cut, and the memory that its threads share.
typedef struct Forward {
    const Convolution *shape;
    ConvolutionLine line;
    LineCut cut;
    int64_t taps, steps, block_steps;
    /// of 32, before and after
    int64_t blocks_in, blocks_out;
    /// in use, rows first
    int64_t phase_rows, phase_columns;
    /// of a pair in the panel, in words; an odd number of cache lines
    int64_t panel_row;
    ConvolutionStep *step;
    const uint16_t *x, *weight;
    const float *bias;
    uint16_t *y;
} Forward;

/// One thread's memory.
typedef struct Work {
    /// [phase][pair][panel_row], what the places of the span see
    uint32_t *panel;
    /// [steps][2][16][32]
    uint16_t *filter;
    /// [span / 32][SUMS]
    float *sums;
    /// of the places, or -1
    int64_t *pixels;
} Work;

static Forward forward_cut(const Convolution *s, int threads) {
    Forward f = {.shape = s,
                 .line = convolution_line(s),
                 .taps = s->kernel_height * s->kernel_width,
                 .blocks_in = (s->channels_in + STEP - 1) / STEP,
                 .blocks_out = (s->channels_out + SIDE - 1) / SIDE,
                 .phase_rows = line_least(s->shape.stride, s->kernel_height),
                 .phase_columns = line_least(s->shape.stride, s->kernel_width)};
    f.steps = f.blocks_in * f.taps;
    f.block_steps = steps_in_block(f.taps);
    int64_t place_bytes =
        f.phase_rows * f.phase_columns * f.blocks_in * STEP * (int64_t)sizeof(uint16_t);
    f.cut = line_cut(&f.line, place_bytes, f.blocks_out, threads);
    int64_t lines = (f.cut.span + f.line.highest - f.line.lowest + 15) / 16;
    f.panel_row = 16 * (lines | 1);
    return f;
}

static size_t panel_bytes(const Forward *f) {
    return (size_t)(f->phase_rows * f->phase_columns * f->blocks_in * (STEP / 2) * f->panel_row) *
           sizeof(uint32_t);
}
static size_t filter_bytes(const Forward *f) { return (size_t)(f->block_steps * STEP_BYTES); }
static size_t sums_bytes(const Forward *f) {
    return (size_t)(f->cut.span / SIDE * SUMS) * sizeof(float);
}
static size_t pixels_bytes(const Forward *f) { return (size_t)f->cut.span * sizeof(int64_t); }
static size_t work_bytes(const Forward *f) {
    return panel_bytes(f) + filter_bytes(f) + sums_bytes(f) + pixels_bytes(f);
}
static size_t steps_bytes(const Forward *f) {
    return (size_t)line_up_to(f->steps * (int64_t)sizeof *f->step, 64);
}

static Work work_of(const Forward *f, char *memory, int thread) {
    char *mine = memory + steps_bytes(f) + (size_t)thread * work_bytes(f);
    return (Work){(uint32_t *)(void *)mine, (uint16_t *)(void *)(mine + panel_bytes(f)),
                  (float *)(void *)(mine + panel_bytes(f) + filter_bytes(f)),
                  (int64_t *)(void *)(mine + panel_bytes(f) + filter_bytes(f) + sums_bytes(f))};
}

/// Channels outside, taps inside: those that are neighbours read the same lines.
static void fill_steps(const Forward *f) {
    int64_t stride = f->line.stride, width = f->shape->kernel_width;
    for (int64_t i = 0; i < f->steps; i++) {
        int64_t tap = i % f->taps, block = i / f->taps;
        int64_t phase = tap / width % stride * f->phase_columns + tap % width % stride;
        int64_t pair = (phase * f->blocks_in + block) * (STEP / 2);
        int64_t place = convolution_tap(&f->line, tap).shift - f->line.lowest;
        f->step[i] = (ConvolutionStep){tap, block * STEP,
                                       (pair * f->panel_row + place) * (int64_t)sizeof(uint32_t)};
    }
}

// ---- packing

/// All channels of 16 pixels (NULL: zero), as pairs.
static void pack_pixels(const Forward *f, const uint16_t *const pixels[16], uint32_t *to) {
    for (int64_t block = 0; block < f->blocks_in; block++) {
        __mmask32 there = channels_there(f->shape->channels_in - block * STEP);
        __m512i words[16];
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            words[i] = pixels[i] ? _mm512_maskz_loadu_epi16(there, pixels[i] + block * STEP)
                                 : _mm512_setzero_si512();
        transpose_words(words);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            _mm512_store_si512(to + (block * (STEP / 2) + i) * f->panel_row, words[i]);
    }
}

static void pack_phase(const Forward *f, int64_t span, int64_t phase, uint32_t *panel) {
    int64_t first_tap =
        phase / f->phase_columns * f->shape->kernel_width + phase % f->phase_columns;
    ConvolutionTap tap = convolution_tap(&f->line, first_tap);
    LineCursor at = line_cursor(&f->line, span * f->cut.span + f->line.lowest);
    panel += phase * f->blocks_in * (STEP / 2) * f->panel_row;
    for (int64_t place = 0; place < f->panel_row; place += 16) {
        const uint16_t *pixels[16];
        for (int i = 0; i < 16; i++, line_advance(&at)) {
            int64_t pixel = line_input_pixel(&at, tap.row_phase, tap.column_phase);
            pixels[i] = pixel < 0 ? NULL : f->x + pixel * f->shape->channels_in;
        }
        pack_pixels(f, pixels, panel + place);
    }
}

static void begin_span(const Forward *f, int64_t span, const Work *work) {
    for (int64_t phase = 0; phase < f->phase_rows * f->phase_columns; phase++)
        pack_phase(f, span, phase, work->panel);
    LineCursor at = line_cursor(&f->line, span * f->cut.span);
    for (int64_t i = 0; i < f->cut.span; i++, line_advance(&at))
        work->pixels[i] = line_output_pixel(&at);
}

/// A block of steps of 32 rows of the filter, as tiles. What follows in each row is asked for.
static void copy_filter(const Forward *f, int64_t row, int64_t first, int64_t steps, uint16_t *to) {
    int64_t channels = f->shape->channels_in;
    for (int64_t i = 0; i < SIDE; i++) {
        bool is_there = row + i < f->shape->channels_out;
        const uint16_t *from = f->weight + (row + i) * f->taps * channels;
        for (int64_t j = 0; j < steps; j++) {
            const ConvolutionStep *step = &f->step[first + j];
            __m512i elements = _mm512_setzero_si512();
            if (is_there) {
                const uint16_t *at = from + step->tap * channels + step->channel;
                elements = _mm512_maskz_loadu_epi16(channels_there(channels - step->channel), at);
                _mm_prefetch((const char *)(at + STEP), _MM_HINT_T1);
            }
            _mm512_store_si512(to + j * STEP_ELEMENTS + i * STEP, elements);
        }
    }
}

// ---- the result

/// Rows 2 i and 2 i + 1 of the sums (outputs) as pairs of 16 places.
static inline __m512i pairs_of_outputs(const float *sums, const float bias[2]) {
    __m512 even = _mm512_add_ps(_mm512_load_ps(sums), _mm512_set1_ps(bias[0]));
    __m512 odd = _mm512_add_ps(_mm512_load_ps(sums + 16), _mm512_set1_ps(bias[1]));
    __m512i lower = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(even));
    __m512i upper = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(odd));
    return _mm512_or_si512(lower, _mm512_slli_epi32(upper, 16));
}

/// The sums of 32 outputs from `row` for 32 places.
static void write_outputs(const Forward *f, const float *sums, int64_t row, const int64_t *pixels) {
    int64_t outputs = f->shape->channels_out;
    __mmask32 there = channels_there(outputs - row);
    float bias[SIDE] = {0};
    for (int64_t i = 0; f->bias && i < SIDE && row + i < outputs; i++) bias[i] = f->bias[row + i];
    for (int half = 0; half < 2; half++, pixels += 16) {
        __m512i words[16];
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            words[i] = pairs_of_outputs(sums + (2 * (i / 8) + half) * TILE_ELEMENTS + i % 8 * 32,
                                        bias + 2 * i);
        transpose_words(words);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            if (pixels[i] >= 0)
                _mm512_mask_storeu_epi16(f->y + pixels[i] * outputs + row, there, words[i]);
    }
}

/// 32 outputs of all places of the span.
static void convolve_rows(const Forward *f, int64_t row, const Work *work) {
    for (int64_t first = 0; first < f->steps; first += f->block_steps) {
        int64_t steps = line_least(f->block_steps, f->steps - first);
        bool last = first + steps == f->steps;
        copy_filter(f, row, first, steps, work->filter);
        for (int64_t place = 0; place < f->cut.span; place += SIDE) {
            FarOperand far = {.data = (const char *)(work->panel + place),
                              .row = f->panel_row * (int64_t)sizeof(uint32_t),
                              .second = 16 * (int64_t)sizeof(uint32_t)};
            float *sums = work->sums + place / SIDE * SUMS;
            multiply_steps(false, (const char *)work->filter, &far, f->step + first, steps,
                           first == 0, sums);
            if (last) write_outputs(f, sums, row, work->pixels + place);
        }
    }
}

static size_t forward_bytes(const Convolution *shape, int threads) {
    Forward f = forward_cut(shape, threads);
    return steps_bytes(&f) + (size_t)threads * work_bytes(&f);
}

static void forward(const Convolution *shape, const uint16_t *x, const uint16_t *weight,
                    const float *bias, uint16_t *y, Device *device) {
    int threads = omp_get_max_threads();
    size_t bytes = forward_bytes(shape, threads);
    char *memory = device->allocate(device, bytes);
    Forward f = forward_cut(shape, threads);
    f.x = x;
    f.weight = weight;
    f.bias = bias;
    f.y = y;
    f.step = (ConvolutionStep *)(void *)memory;
    fill_steps(&f);
#pragma omp parallel num_threads(threads)
    {
        Work work = work_of(&f, memory, omp_get_thread_num());
        int64_t packed = -1;
        tiles_begin(&whole_tiles);
#pragma omp for schedule(static)
        for (int64_t task = 0; task < f.cut.spans * f.cut.groups; task++) {
            int64_t span = task / f.cut.groups, group = task % f.cut.groups;
            if (span != packed) begin_span(&f, span, &work);
            packed = span;
            for (int64_t block = f.blocks_out * group / f.cut.groups;
                 block < f.blocks_out * (group + 1) / f.cut.groups; block++)
                convolve_rows(&f, block * SIDE, &work);
        }
        tiles_end();
    }
    device->release(device, memory, bytes);
}

// ---- the table

static size_t convolution_bytes(const Convolution *shape, bool gradient, int threads) {
    return gradient ? convolution_gradient_bytes(shape, threads) : forward_bytes(shape, threads);
}

/// Forward, where whole tiles of channels are at most twice as many as there are: all of the
/// U-Net's and the VAE's but their first, of three or four channels, a fifth of a percent of their
/// work. The gradient whatever its channels: zeros cost at most some ten times as much, the
/// library's reference, on which it falls back for some shapes, a thousand times.
static bool is_used(const Convolution *s, bool gradient) {
    if (s->type != BFLOAT16) return false;
    if (gradient) return !convolution_patches_are_used(s);
    int64_t in = line_up_to(s->channels_in, STEP), out = line_up_to(s->channels_out, SIDE);
    return in * out <= 2 * s->channels_in * s->channels_out;
}

const OwnConvolution LEVEL_NAME(own_convolution) = {is_used, convolution_bytes, forward,
                                                    convolution_gradient};
