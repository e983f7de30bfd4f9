// grad_x = sums over taps of grad_y W: pixels of grad_y are the first operand, a line of them with
// zeros between, copied once, in which taps are shifts; the second is the filter, whose rows are
// pairs when two that are neighbours are interleaved, 32 columns and nine steps at a time. The
// result comes out in rows. With a stride s, the s^2 phases of grad_x are as many convolutions with
// the taps that reach them.
//
// Rows of both operands are cache lines: the four loads of a step take 32 cycles of the load ports,
// what it asks for ahead 8, its multiplications 64.
#include "ops/cpu/amx/convolution_gradient.h"

#include "ops/cpu/amx/convolution_line.h"
#include "ops/cpu/amx/convolution_tile.h"

#include <omp.h>
#include <string.h>

/// The steps of a phase of grad_x, which may be none.
typedef struct Phase {
    int64_t row, column;
    /// in Gradient.step
    int64_t begin, end;
    int64_t block_steps;
} Phase;

/// How a gradient is cut, and the memory that its threads share.
typedef struct Gradient {
    const Convolution *shape;
    ConvolutionLine line;
    LineCut cut;
    int64_t taps, phases;
    /// of 32, before and after
    int64_t blocks_in, blocks_out;
    /// elements of a place of grad_y; an odd number of cache lines
    int64_t place;
    /// places of grad_y before that of the line's first, and in all
    int64_t before, places;
    /// [places][place]
    uint16_t *grad_y;
    ConvolutionStep *step;
    Phase *phase;
    const uint16_t *weight;
    uint16_t *grad_x;
} Gradient;

/// One thread's memory.
typedef struct Work {
    /// [steps][2][16 pairs][16]
    uint16_t *filter;
    /// [span / 32][SUMS]
    float *sums;
    /// of grad_x at the places, or -1
    int64_t *pixels;
} Work;

static Gradient gradient_cut(const Convolution *s, int threads) {
    Gradient g = {.shape = s,
                  .line = convolution_line(s),
                  .taps = s->kernel_height * s->kernel_width,
                  .phases = (int64_t)s->shape.stride * s->shape.stride,
                  .blocks_in = (s->channels_in + SIDE - 1) / SIDE,
                  .blocks_out = (s->channels_out + STEP - 1) / STEP};
    g.place = STEP * (g.blocks_out | 1);
    g.cut = line_cut(&g.line, g.place * (int64_t)sizeof *g.grad_y, g.blocks_in, threads);
    g.before = line_most(g.line.highest, 0);
    g.places = g.before + g.cut.spans * g.cut.span + line_most(-g.line.lowest, 0);
    return g;
}

static size_t whole_lines(int64_t bytes) { return (size_t)line_up_to(bytes, 64); }
static size_t grad_y_bytes(const Gradient *g) {
    return (size_t)(g->places * g->place) * sizeof *g->grad_y;
}
static size_t steps_bytes(const Gradient *g) {
    return whole_lines(g->blocks_out * g->taps * (int64_t)sizeof *g->step);
}
static size_t shared_bytes(const Gradient *g) {
    return grad_y_bytes(g) + steps_bytes(g) + whole_lines(g->phases * (int64_t)sizeof *g->phase);
}
static size_t filter_bytes(void) { return (size_t)MOST_STEPS * STEP_BYTES; }
static size_t sums_bytes(const Gradient *g) {
    return (size_t)(g->cut.span / SIDE * SUMS) * sizeof(float);
}
static size_t work_bytes(const Gradient *g) {
    return filter_bytes() + sums_bytes(g) + (size_t)g->cut.span * sizeof(int64_t);
}

static Work work_of(const Gradient *g, char *memory, int thread) {
    char *mine = memory + shared_bytes(g) + (size_t)thread * work_bytes(g);
    return (Work){(uint16_t *)(void *)mine, (float *)(void *)(mine + filter_bytes()),
                  (int64_t *)(void *)(mine + filter_bytes() + sums_bytes(g))};
}

static bool reaches(const ConvolutionTap *tap, const Phase *phase) {
    return tap->row_phase == phase->row && tap->column_phase == phase->column;
}

/// Channels of grad_y outside, taps inside: those that are neighbours read the same lines.
static void fill_phase(const Gradient *g, Phase *phase) {
    int64_t taps = 0, count = phase->begin;
    for (int64_t block = 0; block < g->blocks_out; block++)
        for (int64_t i = 0; i < g->taps; i++) {
            ConvolutionTap tap = convolution_tap(&g->line, i);
            if (!reaches(&tap, phase)) continue;
            int64_t far = (block * STEP - tap.shift * g->place) * (int64_t)sizeof *g->grad_y;
            g->step[count++] = (ConvolutionStep){i, block * STEP, far};
            taps += block == 0;
        }
    phase->end = count;
    phase->block_steps = steps_in_block(taps);
}

static void fill_phases(const Gradient *g) {
    for (int64_t i = 0, begin = 0; i < g->phases; i++) {
        g->phase[i] =
            (Phase){.row = i / g->line.stride, .column = i % g->line.stride, .begin = begin};
        fill_phase(g, &g->phase[i]);
        begin = g->phase[i].end;
    }
}

// ---- packing

/// Places first .. end of the line of grad_y.
static void copy_places(const Gradient *g, const uint16_t *grad_y, int64_t first, int64_t end) {
    size_t place = (size_t)g->place, channels = (size_t)g->shape->channels_out;
    LineCursor at = line_cursor(&g->line, first - g->before);
    for (int64_t i = first; i < end; i++, line_advance(&at)) {
        int64_t pixel = line_output_pixel(&at);
        size_t there = pixel < 0 ? 0 : channels;
        uint16_t *to = g->grad_y + i * g->place;
        if (there) memcpy(to, grad_y + (size_t)pixel * channels, channels * sizeof *to);
        memset(to + there, 0, (place - there) * sizeof *to);
    }
}

/// Two rows of 32 columns as pairs: those of the first 16, and 16 rows of pairs further on those of
/// the others.
static inline void interleave(__m512i even, __m512i odd, uint16_t *to) {
    const __m512i one_to_16 =
        _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6,
                         37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i the_others = _mm512_add_epi16(one_to_16, _mm512_set1_epi16(16));
    _mm512_store_si512(to, _mm512_permutex2var_epi16(even, one_to_16, odd));
    _mm512_store_si512(to + STEP_ELEMENTS / 2, _mm512_permutex2var_epi16(even, the_others, odd));
}

/// 32 columns of the filter from `column`, for a block of steps.
static void pack_filter(const Gradient *g, int64_t column, const ConvolutionStep *step,
                        int64_t steps, uint16_t *to) {
    const Convolution *s = g->shape;
    __mmask32 there = channels_there(s->channels_in - column);
    int64_t row = g->taps * s->channels_in;
    for (int64_t i = 0; i < steps; i++, to += STEP_ELEMENTS) {
        const uint16_t *from =
            g->weight + step[i].channel * row + step[i].tap * s->channels_in + column;
        for (int64_t j = 0; j < STEP; j += 2, from += 2 * row) {
            int64_t left = s->channels_out - step[i].channel - j;
            __m512i even = _mm512_maskz_loadu_epi16(left > 0 ? there : 0, from);
            __m512i odd = _mm512_maskz_loadu_epi16(left > 1 ? there : 0, from + row);
            interleave(even, odd, to + j / 2 * 32);
        }
    }
}

// ---- the result

static void write_gradients(const Gradient *g, const float *sums, int64_t column,
                            const int64_t *pixels) {
    int64_t channels = g->shape->channels_in;
    __mmask32 there = channels_there(channels - column);
    for (int64_t i = 0; i < SIDE; i++) {
        if (pixels[i] < 0) continue;
        const float *row = sums + i / 16 * 2 * TILE_ELEMENTS + i % 16 * 16;
        __m512bh both =
            _mm512_cvtne2ps_pbh(_mm512_load_ps(row + TILE_ELEMENTS), _mm512_load_ps(row));
        _mm512_mask_storeu_epi16(g->grad_x + pixels[i] * channels + column, there, (__m512i)both);
    }
}

/// 32 columns of all places of the span, of one phase.
static void convolve_columns(const Gradient *g, const Phase *phase, int64_t span, int64_t column,
                             const Work *work) {
    int64_t first = phase->begin;
    const uint16_t *grad_y = g->grad_y + (g->before + span * g->cut.span) * g->place;
    do {
        int64_t steps = line_least(phase->block_steps, phase->end - first);
        pack_filter(g, column, g->step + first, steps, work->filter);
        for (int64_t place = 0; place < g->cut.span; place += SIDE) {
            FarOperand far = {.data = (const char *)(grad_y + place * g->place),
                              .row = g->place * (int64_t)sizeof *grad_y,
                              .second = 16 * g->place * (int64_t)sizeof *grad_y};
            float *sums = work->sums + place / SIDE * SUMS;
            multiply_steps(true, (const char *)work->filter, &far, g->step + first, steps,
                           first == phase->begin, sums);
            if (first + steps == phase->end) write_gradients(g, sums, column, work->pixels + place);
        }
        first += steps;
    } while (first < phase->end);
}

static void find_pixels(const Gradient *g, const Phase *phase, int64_t span, const Work *work) {
    LineCursor at = line_cursor(&g->line, span * g->cut.span);
    for (int64_t i = 0; i < g->cut.span; i++, line_advance(&at))
        work->pixels[i] = line_input_pixel(&at, phase->row, phase->column);
}

size_t convolution_gradient_bytes(const Convolution *shape, int threads) {
    Gradient g = gradient_cut(shape, threads);
    return shared_bytes(&g) + (size_t)threads * work_bytes(&g);
}

void convolution_gradient(const Convolution *shape, const uint16_t *grad_y, const uint16_t *weight,
                          uint16_t *grad_x, Device *device) {
    enum { PIECE = 64 };
    int threads = omp_get_max_threads();
    size_t bytes = convolution_gradient_bytes(shape, threads);
    char *memory = device->allocate(device, bytes);
    Gradient g = gradient_cut(shape, threads);
    g.weight = weight;
    g.grad_x = grad_x;
    g.grad_y = (uint16_t *)(void *)memory;
    g.step = (ConvolutionStep *)(void *)(memory + grad_y_bytes(&g));
    g.phase = (Phase *)(void *)(memory + grad_y_bytes(&g) + steps_bytes(&g));
    fill_phases(&g);
#pragma omp parallel num_threads(threads)
    {
        Work work = work_of(&g, memory, omp_get_thread_num());
        tiles_begin(&whole_tiles);
#pragma omp for schedule(static)
        for (int64_t first = 0; first < g.places; first += PIECE)
            copy_places(&g, grad_y, first, line_least(first + PIECE, g.places));
#pragma omp for schedule(static)
        for (int64_t task = 0; task < g.phases * g.cut.spans * g.cut.groups; task++) {
            int64_t group = task % g.cut.groups, span = task / g.cut.groups % g.cut.spans;
            const Phase *phase = &g.phase[task / g.cut.groups / g.cut.spans];
            find_pixels(&g, phase, span, &work);
            for (int64_t block = g.blocks_in * group / g.cut.groups;
                 block < g.blocks_in * (group + 1) / g.cut.groups; block++)
                convolve_columns(&g, phase, span, block * SIDE, &work);
        }
        tiles_end();
    }
    device->release(device, memory, bytes);
}
