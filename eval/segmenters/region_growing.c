// One flood with a bucket queue gives the regions of all thresholds at once.
#include "eval/segmenters/region_growing.h"

#include "autograd/error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LEVELS = 128, STABILITY_STEP = 4, SMALLEST_LEVEL = 6 };
static const double LEVELS_PER_DELTA_E = 1.0, LARGEST_SHARE = 0.6;

static float linear_light(float v) {
    return v <= 0.04045f ? v / 12.92f : powf((v + 0.055f) / 1.055f, 2.4f);
}

static float lab_curve(float t) { return t > 0.008856f ? cbrtf(t) : 7.787f * t + 16.0f / 116.0f; }

/// sRGB (averaged over 3x3 pixels, against grain) to CIELAB under D65.
static void to_lab(const uint8_t *rgb, int height, int width, int y, int x, float lab[3]) {
    float sum[3] = {0}, count = 0;
    for (int dy = -1; dy <= 1; dy++)
        for (int dx = -1; dx <= 1; dx++) {
            if (y + dy < 0 || x + dx < 0 || y + dy >= height || x + dx >= width) continue;
            const uint8_t *p = rgb + 3 * ((size_t)(y + dy) * (size_t)width + (size_t)(x + dx));
            for (int c = 0; c < 3; c++) sum[c] += p[c];
            count++;
        }
    float r = linear_light(sum[0] / count / 255.0f), g = linear_light(sum[1] / count / 255.0f),
          b = linear_light(sum[2] / count / 255.0f);
    float fx = lab_curve((0.4124f * r + 0.3576f * g + 0.1805f * b) / 0.9505f);
    float fy = lab_curve(0.2126f * r + 0.7152f * g + 0.0722f * b);
    float fz = lab_curve((0.0193f * r + 0.1192f * g + 0.9505f * b) / 1.089f);
    lab[0] = 116 * fy - 16, lab[1] = 500 * (fx - fy), lab[2] = 200 * (fy - fz);
}

float *region_colours(const uint8_t *rgb, int height, int width) {
    float *colours = checked_malloc((size_t)height * (size_t)width * 3 * sizeof *colours),
          *next = colours;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++, next += 3) to_lab(rgb, height, width, y, x, next);
    return colours;
}

/// The level of each pixel: its colour distance to the seed, quantised.
static void colour_levels(const float *colours, int num_pixels, int seed, uint8_t *levels) {
    const float *reference = colours + 3 * (size_t)seed;
    for (int i = 0; i < num_pixels; i++, colours += 3) {
        double d = 0;
        for (int c = 0; c < 3; c++) d += (colours[c] - reference[c]) * (colours[c] - reference[c]);
        double level = sqrt(d) * LEVELS_PER_DELTA_E;
        levels[i] = (uint8_t)(level > LEVELS - 1 ? LEVELS - 1 : level);
    }
}

/// Raises levels to flooding costs: Prim's walk from the seed, nearest first, over LEVELS linked
/// buckets.
static void flood(int height, int width, int seed, uint8_t *levels) {
    int n = height * width, *next = checked_malloc((size_t)n * sizeof *next), heads[LEVELS];
    uint8_t *seen = checked_calloc((size_t)n, 1);
    for (int i = 0; i < LEVELS; i++) heads[i] = -1;
    next[seed] = -1, heads[0] = seed, seen[seed] = 1, levels[seed] = 0;
    for (int level = 0; level < LEVELS;) {
        int i = heads[level];
        if (i < 0) {
            level++;
            continue;
        }
        heads[level] = next[i];
        int y = i / width, x = i % width, neighbours[4], count = 0;
        if (y > 0) neighbours[count++] = i - width;
        if (y + 1 < height) neighbours[count++] = i + width;
        if (x > 0) neighbours[count++] = i - 1;
        if (x + 1 < width) neighbours[count++] = i + 1;
        for (int k = 0; k < count; k++) {
            int j = neighbours[k];
            if (seen[j]) continue;
            seen[j] = 1;
            if (levels[j] < level) levels[j] = (uint8_t)level;
            next[j] = heads[levels[j]];
            heads[levels[j]] = j;
        }
    }
    free(next);
    free(seen);
}

/// The threshold with the least relative growth around it.
static int most_stable_level(const uint8_t *costs, int n) {
    int64_t area[LEVELS] = {0};
    for (int i = 0; i < n; i++) area[costs[i]]++;
    for (int t = 1; t < LEVELS; t++) area[t] += area[t - 1];
    int best = SMALLEST_LEVEL;
    double best_growth = INFINITY;
    for (int t = SMALLEST_LEVEL; t + STABILITY_STEP < LEVELS; t++) {
        if ((double)area[t] > LARGEST_SHARE * n) break;
        double growth =
            (double)(area[t + STABILITY_STEP] - area[t - STABILITY_STEP]) / (double)area[t];
        if (growth > best_growth) continue;
        best_growth = growth;
        best = t;
    }
    return best;
}

void region_growing(const float *colours, int height, int width, int row, int column,
                    uint8_t *mask) {
    CHECK(row >= 0 && column >= 0 && row < height && column < width, "point (%d, %d) in %d x %d",
          row, column, height, width);
    int n = height * width;
    uint8_t *costs = checked_malloc((size_t)n);
    colour_levels(colours, n, row * width + column, costs);
    flood(height, width, row * width + column, costs);
    int level = most_stable_level(costs, n);
    for (int i = 0; i < n; i++) mask[i] = costs[i] <= level;
    free(costs);
}
