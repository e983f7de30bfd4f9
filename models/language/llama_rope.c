// Angles are taken in double: position times a frequency loses digits that matter at large
// positions.
#include "models/language/llama_rope.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double PI = 3.14159265358979323846;

// ---- config.json

enum { MAX_LENGTH = 1 << 30 };

/// The key in the object that the configuration keeps its scaling in.
typedef struct ScalingKey {
    char path[64];
} ScalingKey;

static ScalingKey scaling_key(const char *object, const char *key) {
    ScalingKey full;
    snprintf(full.path, sizeof full.path, "%s.%s", object, key);
    return full;
}

static double positive(Weights *weights, const char *object, const char *key, double fallback) {
    ScalingKey full = scaling_key(object, key);
    if (fallback <= 0.0 && !weights_has_key(weights, full.path))
        weights_fail(weights, "%s is missing; this kind of scaling needs it", full.path);
    double value = weights_float_or(weights, full.path, fallback);
    if (!(value > 0.0 && value < 1e30) && !weights_failed(weights))
        weights_refuse(weights, full.path, "a number above 0");
    return value;
}

static RopeScaling read_type(Weights *weights, const char *object) {
    static const char *const names[] = {"default", "linear", "dynamic", "llama3", "yarn"};
    ScalingKey key = scaling_key(object, "rope_type"), old = scaling_key(object, "type");
    if (!weights_has_key(weights, key.path)) key = old;
    const char *name = weights_string_or(weights, key.path, "default");
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (!strcmp(name, names[i])) return (RopeScaling)i;
    weights_refuse(weights, key.path, "default, linear, dynamic, llama3 or yarn");
    return ROPE_DEFAULT;
}

static void refuse_partial(Weights *weights, const char *key) {
    if (weights_float_or(weights, key, 1.0) != 1.0) weights_refuse(weights, key, "1");
}

/// The context before scaling: beside the factor, at the top, or the model's own.
static int original_length(Weights *weights, const char *object) {
    ScalingKey key = scaling_key(object, "original_max_position_embeddings");
    int length = weights_int_or(weights, "max_position_embeddings", 2048, 1, MAX_LENGTH);
    length = weights_int_or(weights, "original_max_position_embeddings", length, 1, MAX_LENGTH);
    return weights_int_or(weights, key.path, length, 1, MAX_LENGTH);
}

static double yarn_sharpness(double factor, double mscale) {
    return factor > 1.0 ? 0.1 * mscale * log(factor) + 1.0 : 1.0;
}

static void read_yarn(Weights *weights, const char *object, LlamaRope *rope) {
    rope->low = positive(weights, object, "beta_slow", 1.0);
    rope->high = positive(weights, object, "beta_fast", 32.0);
    rope->truncate = weights_bool_or(weights, scaling_key(object, "truncate").path, true);
    double mscale = weights_float_or(weights, scaling_key(object, "mscale").path, 0.0);
    double all = weights_float_or(weights, scaling_key(object, "mscale_all_dim").path, 0.0);
    double factor = yarn_sharpness(rope->factor, 1.0);
    if (mscale != 0.0 && all != 0.0)
        factor = yarn_sharpness(rope->factor, mscale) / yarn_sharpness(rope->factor, all);
    rope->rotation_factor = positive(weights, object, "attention_factor", factor);
}

static void read_llama3(Weights *weights, const char *object, LlamaRope *rope) {
    rope->low = positive(weights, object, "low_freq_factor", 0.0);
    rope->high = positive(weights, object, "high_freq_factor", 0.0);
    if (rope->high <= rope->low)
        weights_refuse(weights, scaling_key(object, "high_freq_factor").path,
                       "more than low_freq_factor");
}

/// One set of parameters, for all layers.
static void require_objects(Weights *weights, const char *object) {
    static const char *const kinds[] = {"full_attention", "sliding_attention"};
    if (weights_has_key(weights, object) && !weights_has_object(weights, object))
        weights_refuse(weights, object, "an object with rope_type and its parameters, or null");
    for (int i = 0; i < 2; i++)
        if (weights_has_object(weights, scaling_key(object, kinds[i]).path))
            weights_refuse(weights, object, "the parameters of all layers, not of each kind");
}

LlamaRope llama_rope_read(Weights *weights, int head_dim) {
    // Where both are given, transformers 5 lets the older one win.
    const char *object =
        weights_has_key(weights, "rope_scaling") ? "rope_scaling" : "rope_parameters";
    LlamaRope rope = {.factor = 1.0, .rotation_factor = 1.0};
    require_objects(weights, object);
    refuse_partial(weights, "partial_rotary_factor");
    refuse_partial(weights, scaling_key(object, "partial_rotary_factor").path);
    rope.theta = weights_float_or(weights, "rope_theta", 10000.0);
    rope.theta = weights_float_or(weights, scaling_key(object, "rope_theta").path, rope.theta);
    if (!(rope.theta > 1.0 && rope.theta < 1e30))
        weights_fail(weights, "rope_theta is %g; expected more than 1", rope.theta);
    rope.scaling = read_type(weights, object);
    if (rope.scaling == ROPE_DEFAULT) return rope;
    rope.factor = positive(weights, object, "factor", 0.0);
    rope.original_length = original_length(weights, object);
    if (rope.scaling == ROPE_LLAMA3) read_llama3(weights, object, &rope);
    if (rope.scaling == ROPE_YARN) read_yarn(weights, object, &rope);
    if (rope.scaling == ROPE_DYNAMIC) {
        rope.original_length =
            weights_int_or(weights, "max_position_embeddings", 2048, 1, MAX_LENGTH);
        if (head_dim <= 2) weights_fail(weights, "dynamic scaling needs a head_dim above 2");
        if (rope.factor < 1.0)
            weights_refuse(weights, scaling_key(object, "factor").path, "1 or more");
    }
    return rope;
}

// ---- frequencies

/// Wavelengths up to original/high keep their frequency, those from original/low on are divided by
/// the factor, between there is a line in 1/wavelength.
static double llama3_frequency(const LlamaRope *rope, double frequency) {
    double rotations = rope->original_length * frequency / (2.0 * PI);
    double kept = (rotations - rope->low) / (rope->high - rope->low);
    kept = kept < 0.0 ? 0.0 : kept > 1.0 ? 1.0 : kept;
    return frequency * (kept + (1.0 - kept) / rope->factor);
}

/// The pair (as a real number) that turns so many times within the original length.
static double pair_of_rotations(const LlamaRope *rope, int head_dim, double rotations) {
    return head_dim * log(rope->original_length / (rotations * 2.0 * PI)) /
           (2.0 * log(rope->theta));
}

/// Pairs up to `low` keep their frequency, those from `high` on are divided by the factor, between
/// there is a line.
static double yarn_frequency(const LlamaRope *rope, int head_dim, int pair, double frequency) {
    double low = pair_of_rotations(rope, head_dim, rope->high);
    double high = pair_of_rotations(rope, head_dim, rope->low);
    if (rope->truncate) low = floor(low), high = ceil(high);
    low = low > 0.0 ? low : 0.0;
    high = high < head_dim - 1 ? high : head_dim - 1;
    if (low == high) high += 0.001;
    double divided = (pair - low) / (high - low);
    divided = divided < 0.0 ? 0.0 : divided > 1.0 ? 1.0 : divided;
    return frequency * (1.0 - divided + divided / rope->factor);
}

/// Theta for a sequence of that length.
static double dynamic_theta(const LlamaRope *rope, int head_dim, int length) {
    if (length <= rope->original_length) return rope->theta;
    double stretched = rope->factor * length / rope->original_length - (rope->factor - 1.0);
    return rope->theta * pow(stretched, (double)head_dim / (head_dim - 2));
}

void llama_rope_frequencies(const LlamaRope *rope, int head_dim, int length, double *frequencies) {
    double theta = rope->theta;
    if (rope->scaling == ROPE_DYNAMIC) theta = dynamic_theta(rope, head_dim, length);
    for (int i = 0; i < head_dim / 2; i++) {
        double frequency = pow(theta, -2.0 * i / head_dim);
        if (rope->scaling == ROPE_LINEAR) frequency /= rope->factor;
        if (rope->scaling == ROPE_LLAMA3) frequency = llama3_frequency(rope, frequency);
        if (rope->scaling == ROPE_YARN) frequency = yarn_frequency(rope, head_dim, i, frequency);
        frequencies[i] = frequency;
    }
}

// ---- rotations

struct RotationTable {
    LlamaRope rope;
    int head_dim;
    pthread_mutex_t lock;
    /// how many are filled
    int positions;
    /// [positions][head_dim], of a sequence within the original length
    float *values;
};

RotationTable *rotation_table_new(const LlamaRope *rope, int head_dim) {
    RotationTable *table = checked_calloc(1, sizeof *table);
    table->rope = *rope;
    table->head_dim = head_dim;
    pthread_mutex_init(&table->lock, NULL);
    return table;
}

void rotation_table_free(RotationTable *table) {
    if (!table) return;
    pthread_mutex_destroy(&table->lock);
    free(table->values);
    free(table);
}

/// [count][head_dim] for positions first .. first+count of a sequence of that length.
static void compute_rotations(const RotationTable *table, int first, int count, int length,
                              float *rotations) {
    int half = table->head_dim / 2;
    double *frequencies = checked_malloc((size_t)half * sizeof *frequencies);
    llama_rope_frequencies(&table->rope, table->head_dim, length, frequencies);
    for (int row = 0; row < count; row++)
        for (int i = 0; i < half; i++) {
            float *to = rotations + (size_t)row * table->head_dim + i;
            double angle = (double)(first + row) * frequencies[i];
            to[0] = (float)(cos(angle) * table->rope.rotation_factor);
            to[half] = (float)(sin(angle) * table->rope.rotation_factor);
        }
    free(frequencies);
}

void rotation_table_rows(RotationTable *table, int first, int count, int length, float *rotations) {
    if (table->rope.scaling == ROPE_DYNAMIC && length > table->rope.original_length) {
        compute_rotations(table, first, count, length, rotations);
        return;
    }
    size_t width = (size_t)table->head_dim;
    pthread_mutex_lock(&table->lock);
    if (first + count > table->positions) {
        int old = table->positions, reach = first + count + (first + count) / 4;
        table->values =
            checked_realloc(table->values, (size_t)reach * width * sizeof *table->values);
        compute_rotations(table, old, reach - old, 0, table->values + (size_t)old * width);
        table->positions = reach;
    }
    memcpy(rotations, table->values + (size_t)first * width,
           (size_t)count * width * sizeof *rotations);
    pthread_mutex_unlock(&table->lock);
}
