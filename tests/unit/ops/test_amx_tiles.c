// rooms: ops autograd
// The stand-in for Intel's tiles against its definition, number by number, and the instructions
// against the stand-in: those of the processor where it has them, otherwise as traps.
#include "tests/unit/amx_traps.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#ifdef __x86_64__

static uint64_t random_state;

static uint32_t random_bits(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 32);
}

/// What numbers a test draws.
typedef enum Numbers { ORDINARY, TINY, HUGE_AND_SPECIAL } Numbers;

static uint16_t random_bfloat16(Numbers numbers) {
    uint32_t bits = random_bits(), sign = bits >> 31 << 15, mantissa = bits & 0x7f;
    uint32_t exponent = 120 + (bits >> 8) % 10;
    if (numbers == TINY) exponent = (bits >> 8) % 4 ? 60 + (bits >> 16) % 10 : 0;
    if (numbers == HUGE_AND_SPECIAL) {
        exponent = 185 + (bits >> 8) % 8;
        if ((bits >> 16) % 64 == 0) return (uint16_t)(sign | 0x7f80);
    }
    return (uint16_t)(sign | exponent << 7 | mantissa);
}

static float float_of(uint16_t bfloat16) {
    uint32_t bits = (uint32_t)bfloat16 << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/// Denormal numbers are zero.
static float flushed(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x; }

/// What the processor makes of x * y + z: the exact value rounded to 24 bits as if exponents had no
/// end, zero below 2^-126. Scaled by 2^64 where it is small, so that the rounding is an ordinary
/// one.
static float definition_of_fma(float x, float y, float z) {
    float scaled = fmaf(flushed(x) * 0x1p32f, flushed(y) * 0x1p32f, flushed(z) * 0x1p64f);
    if (fabsf(scaled) < 0x1p-62f) return copysignf(0.0f, scaled);
    return fmaf(flushed(x), flushed(y), flushed(z));
}

static float definition_of_sum(float x, float y) { return definition_of_fma(x, 1.0f, y); }

typedef struct Operands {
    TileShapes shapes;
    int rows, columns, pairs;
    float sum[TILE_MOST_ROWS][16];
    /// [m][2k], [k][2n]
    uint16_t left[TILE_MOST_ROWS][32], right[TILE_MOST_ROWS][32];
} Operands;

static Operands random_operands(int rows, int columns, int pairs, Numbers numbers) {
    Operands o = {.rows = rows, .columns = columns, .pairs = pairs, .shapes.palette = 1};
    o.shapes.rows[0] = o.shapes.rows[1] = (uint8_t)rows;
    o.shapes.rows[2] = (uint8_t)pairs;
    o.shapes.row_bytes[0] = o.shapes.row_bytes[2] = (uint16_t)(4 * columns);
    o.shapes.row_bytes[1] = (uint16_t)(4 * pairs);
    for (int i = 0; i < TILE_MOST_ROWS; i++)
        for (int j = 0; j < 32; j++) {
            o.left[i][j] = random_bfloat16(numbers);
            o.right[i][j] = random_bfloat16(numbers);
            if (j < 16) o.sum[i][j] = numbers == TINY ? 0x1p-120f : float_of(o.left[i][j]);
        }
    return o;
}

/// sum is replaced.
static void define(Operands *o) {
    for (int m = 0; m < o->rows; m++)
        for (int n = 0; n < o->columns; n++) {
            float part[2] = {0.0f, 0.0f};
            for (int k = 0; k < 2 * o->pairs; k++)
                part[k % 2] = definition_of_fma(
                    float_of(o->left[m][k]), float_of(o->right[k / 2][2 * n + k % 2]), part[k % 2]);
            o->sum[m][n] = definition_of_sum(o->sum[m][n], definition_of_sum(part[0], part[1]));
        }
}

static void multiply_plain(Operands *o) {
    plain_tiles_begin(&o->shapes);
    plain_tile_load(0, o->sum, sizeof *o->sum);
    plain_tile_load(1, o->left, sizeof *o->left);
    plain_tile_load(2, o->right, sizeof *o->right);
    plain_tile_multiply(0, 1, 2);
    plain_tile_store(0, o->sum, sizeof *o->sum);
    plain_tiles_end();
}

static void multiply_in_hardware(Operands *o) {
    hardware_tiles_begin(&o->shapes);
    HARDWARE_TILE_LOAD(0, o->sum, sizeof *o->sum);
    HARDWARE_TILE_LOAD_ONCE(1, o->left, sizeof *o->left);
    HARDWARE_TILE_LOAD(2, o->right, sizeof *o->right);
    HARDWARE_TILE_MULTIPLY(0, 1, 2);
    HARDWARE_TILE_STORE(0, o->sum, sizeof *o->sum);
    hardware_tiles_end();
}

/// To the bit, but for which of the many that are no number.
static void expect_equal(const Operands *got, const Operands *wanted) {
    for (int m = 0; m < TILE_MOST_ROWS; m++)
        for (int n = 0; n < 16; n++) {
            if (isnan(got->sum[m][n]) && isnan(wanted->sum[m][n])) continue;
            if (memcmp(&got->sum[m][n], &wanted->sum[m][n], sizeof(float)) != 0)
                fail_msg("%d x %d of %d pairs at %d, %d: %a in place of %a", got->rows,
                         got->columns, got->pairs, m, n, (double)got->sum[m][n],
                         (double)wanted->sum[m][n]);
        }
}

static void compare(void (*got)(Operands *), void (*wanted)(Operands *)) {
    static const int shapes[][3] = {{16, 16, 16}, {16, 16, 1}, {1, 16, 16}, {16, 1, 16},
                                    {5, 7, 3},    {1, 1, 1},   {13, 16, 8}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (Numbers numbers = ORDINARY; numbers <= HUGE_AND_SPECIAL; numbers++)
            for (int again = 0; again < 20; again++) {
                Operands a = random_operands(shapes[i][0], shapes[i][1], shapes[i][2], numbers);
                Operands b = a;
                got(&a);
                wanted(&b);
                expect_equal(&a, &b);
            }
}

static void the_stand_in_has_the_rounding_that_is_published(void **state) {
    (void)state;
    compare(multiply_plain, define);
}

static void instructions_do_what_the_stand_in_does(void **state) {
    (void)state;
    amx_traps_set();
    compare(multiply_in_hardware, multiply_plain);
    if (!amx_is_available()) assert_true(trapped_count > 0);
}

static void denormal_numbers_are_zero_on_their_way_in_and_out(void **state) {
    (void)state;
    Operands o = random_operands(1, 1, 1, ORDINARY);
    o.sum[0][0] = 0.0f;
    o.left[0][0] = 0x0001, o.right[0][0] = 0x7f00; // a denormal times 2^127
    o.left[0][1] = 0x2000, o.right[0][1] = 0x1f80; // 2^-63 times 2^-64
    Operands again = o;
    multiply_plain(&o);
    assert_true(o.sum[0][0] == 0.0f);
    again.right[0][1] = 0x2000; // 2^-126 is there
    multiply_plain(&again);
    assert_true(again.sum[0][0] == 0x1p-126f);
    volatile float half = 0x1p-126f;
    half *= 0.5f;
    assert_true(half == 0x1p-127f); // and the thread's own rules are as before
}

static void rows_and_bytes_outside_of_a_tile_are_left_alone(void **state) {
    (void)state;
    Operands o = random_operands(3, 2, 2, ORDINARY), before = o;
    multiply_plain(&o);
    for (int m = 0; m < TILE_MOST_ROWS; m++)
        for (int n = 0; n < 16; n++)
            if (m >= 3 || n >= 2) assert_true(o.sum[m][n] == before.sum[m][n]);
}

int main(void) {
    random_state = 7;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_stand_in_has_the_rounding_that_is_published),
        cmocka_unit_test(denormal_numbers_are_zero_on_their_way_in_and_out),
        cmocka_unit_test(rows_and_bytes_outside_of_a_tile_are_left_alone),
        cmocka_unit_test(instructions_do_what_the_stand_in_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void) { return 0; }
#endif
