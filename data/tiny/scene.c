#include "data/tiny/scene.h"
#include "autograd/philox.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const SHAPE_NAMES[] = {"square", "disc", "triangle", "ring", "cross", "star", "bar"};
const char *const COLOR_NAMES[] = {"red",    "green",  "blue",  "yellow",
                                   "purple", "orange", "white", "black"};
const char *const SIZE_NAMES[] = {"small", "large"};
const char *const MATERIAL_NAMES[] = {"", "striped", "dotted"};
const char *const GROUND_NAMES[] = {"sand", "grass", "stone", "water", "wood"};

typedef enum Shape { SQUARE, DISC, TRIANGLE, RING, CROSS, STAR, BAR } Shape;
typedef enum Material { PLAIN, STRIPED, DOTTED } Material;
typedef enum Ground { SAND, GRASS, STONE, WATER, WOOD } Ground;

static const float COLORS[NUM_COLORS][3] = {{205, 40, 40},   {40, 160, 60},  {45, 80, 210},
                                            {235, 210, 50},  {140, 60, 170}, {240, 130, 30},
                                            {240, 240, 240}, {25, 25, 25}};
static const float GROUNDS[NUM_GROUNDS][3] = {
    {205, 180, 130}, {110, 150, 80}, {135, 135, 140}, {120, 165, 190}, {150, 105, 70}};

/// Half extents in pixels. A visual token sees 16 x 16 pixels: a small object covers about 1.5 to 3
/// of them, a large one 4 to 8.
static const float RADII[NUM_SIZES][2] = {{13, 16}, {20, 26}};
static const int COUNT_WEIGHTS[MAX_OBJECTS] = {3, 6, 6, 3, 2};
static const float MIN_VISIBLE = 0.55f;

static const int HELD_OUT[][2] = {{0, STAR}, {2, TRIANGLE}, {3, RING}, {1, CROSS}};

Draws draws_begin(uint64_t seed, WorldPurpose purpose, Split split, uint64_t index) {
    return (Draws){.key = seed, .stream = philox_stream(purpose * 2u + split, index), .used = 4};
}

uint32_t draw_bits(Draws *draws) {
    if (draws->used == 4) {
        philox4x32(draws->key, draws->stream, draws->block++, draws->words);
        draws->used = 0;
    }
    return draws->words[draws->used++];
}

float draw_between(Draws *draws, float low, float high) {
    return low + (high - low) * uniform_from_bits(draw_bits(draws));
}

int draw_below(Draws *draws, int count) {
    return (int)((uint64_t)draw_bits(draws) * (uint64_t)count >> 32);
}

bool draw_chance(Draws *draws, float probability) {
    return uniform_from_bits(draw_bits(draws)) < probability;
}

bool scene_is_held_out(int color, int shape) {
    for (size_t i = 0; i < sizeof HELD_OUT / sizeof *HELD_OUT; i++)
        if (HELD_OUT[i][0] == color && HELD_OUT[i][1] == shape) return true;
    return false;
}

int scene_third(float coordinate) {
    return coordinate < IMAGE_SIZE / 3.0f ? 0 : coordinate < IMAGE_SIZE * 2 / 3.0f ? 1 : 2;
}

/// Whether the point (dx, dy) from the centre, y downwards, lies inside a shape of half extent r.
static bool inside(Shape shape, float dx, float dy, float r) {
    float ax = fabsf(dx), ay = fabsf(dy), distance = sqrtf(dx * dx + dy * dy);
    switch (shape) {
    case SQUARE:
        return ax < 0.86f * r && ay < 0.86f * r;
    case DISC:
        return distance < r;
    case TRIANGLE:
        return dy < 0.85f * r && ax < (dy + r) * 0.58f;
    case RING:
        return distance < 1.05f * r && distance > 0.45f * r;
    case CROSS:
        return (ax < 0.34f * r && ay < 1.05f * r) || (ay < 0.34f * r && ax < 1.05f * r);
    case STAR:
        return distance < 1.1f * r * (0.72f + 0.28f * cosf(5 * atan2f(dx, -dy)));
    case BAR:
        return ay < 0.42f * r && ax < 1.25f * r;
    }
    return false;
}

static void draw_object(Object *object, Draws *draws, Split split) {
    do {
        object->shape = draw_below(draws, NUM_SHAPES);
        object->color = draw_below(draws, NUM_COLORS);
    } while (split == SPLIT_TRAIN && scene_is_held_out(object->color, object->shape));
    object->size = draw_below(draws, NUM_SIZES);
    object->material = draw_below(draws, 2 * NUM_MATERIALS) / 2;
    object->radius = draw_between(draws, RADII[object->size][0], RADII[object->size][1]);
    float border = object->radius * (object->shape == BAR ? 1.25f : 1.1f) + 1;
    object->x = draw_between(draws, border, IMAGE_SIZE - border);
    object->y = draw_between(draws, border, IMAGE_SIZE - border);
}

static int fill_mask(Object *object) {
    float reach = object->radius * 1.3f + 1;
    int x0 = (int)fmaxf(0, object->x - reach), x1 = (int)fminf(IMAGE_SIZE, object->x + reach + 1);
    int y0 = (int)fmaxf(0, object->y - reach), y1 = (int)fminf(IMAGE_SIZE, object->y + reach + 1);
    memset(object->mask, 0, sizeof object->mask);
    object->area = 0;
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++)
            if (inside((Shape)object->shape, (float)x + 0.5f - object->x,
                       (float)y + 0.5f - object->y, object->radius))
                object->mask[y * IMAGE_SIZE + x] = 1, object->area++;
    return object->area;
}

/// Visible pixels of `below` once `above` lies on it; hides them in the mask if `apply`.
static int covered_by(Object *below, const Object *above, bool apply) {
    int visible = 0;
    for (int i = 0; i < NUM_PIXELS; i++) {
        uint8_t seen = below->mask[i] & (uint8_t)!above->mask[i];
        visible += seen;
        if (apply) below->mask[i] = seen;
    }
    if (apply) below->area = visible;
    return visible;
}

static bool overlaps(const Object *a, const Object *b) {
    return hypotf(a->x - b->x, a->y - b->y) < 1.5f * (a->radius + b->radius);
}

/// Puts the next object on top, unless it would hide too much of another.
static bool place(Scene *scene, int full_area[MAX_OBJECTS]) {
    Object *object = &scene->objects[scene->num_objects];
    for (int i = 0; i < scene->num_objects; i++) {
        const Object *other = &scene->objects[i];
        if (hypotf(other->x - object->x, other->y - object->y) <
            0.7f * (other->radius + object->radius))
            return false;
    }
    full_area[scene->num_objects] = fill_mask(object);
    for (int i = 0; i < scene->num_objects; i++)
        if (overlaps(&scene->objects[i], object) &&
            (float)covered_by(&scene->objects[i], object, false) <
                MIN_VISIBLE * (float)full_area[i])
            return false;
    for (int i = 0; i < scene->num_objects; i++)
        if (overlaps(&scene->objects[i], object)) covered_by(&scene->objects[i], object, true);
    scene->num_objects++;
    return true;
}

void scene_sample_from(Scene *scene, Draws *draws, Split split) {
    int total = 0, wanted = 0, full_area[MAX_OBJECTS];
    for (int i = 0; i < MAX_OBJECTS; i++) total += COUNT_WEIGHTS[i];
    int choice = draw_below(draws, total);
    while (choice >= 0) choice -= COUNT_WEIGHTS[wanted++];
    scene->ground = draw_below(draws, NUM_GROUNDS);
    scene->num_objects = 0;
    for (int tries = 0; scene->num_objects < wanted && tries < 100; tries++) {
        draw_object(&scene->objects[scene->num_objects], draws, split);
        place(scene, full_area);
    }
}

void scene_sample(Scene *scene, uint64_t seed, Split split, uint64_t index) {
    Draws draws = draws_begin(seed, WORLD_LAYOUT, split, index);
    scene_sample_from(scene, &draws, split);
}

enum { LATTICE = 9, CELL = IMAGE_SIZE / (LATTICE - 1) };

/// A smooth random surface: bilinear interpolation of a coarse lattice.
static float surface(const float lattice[LATTICE * LATTICE], int x, int y) {
    int i = y / CELL, j = x / CELL;
    float v = (float)(y % CELL) / CELL, u = (float)(x % CELL) / CELL;
    const float *corner = lattice + i * LATTICE + j;
    return (1 - v) * ((1 - u) * corner[0] + u * corner[1]) +
           v * ((1 - u) * corner[LATTICE] + u * corner[LATTICE + 1]);
}

/// The brightness pattern of a ground, on top of the smooth surface s.
static float texture(Ground ground, int x, int y, float s) {
    switch (ground) {
    case SAND:
        return 0.8f * s;
    case GRASS:
        return 0.6f * s + 7 * sinf(1.3f * (float)x + 0.12f * s * (float)(y % 16));
    case STONE:
        return s > 4 ? 14 : s < -6 ? -12 : 0.5f * s;
    case WATER:
        return 0.5f * s + 9 * sinf(0.45f * (float)y + 0.1f * s);
    case WOOD:
        return 0.6f * s + 8 * sinf(0.5f * (float)x + 0.18f * s);
    }
    return 0;
}

static float material_shade(Material material, int x, int y, const Object *object) {
    int dx = x - (int)object->x + IMAGE_SIZE, dy = y - (int)object->y + IMAGE_SIZE;
    if (material == STRIPED) return (dx + dy) % 8 < 4 ? 1.0f : 0.45f;
    if (material == DOTTED) {
        int u = dx % 8 - 4, v = dy % 8 - 4;
        return u * u + v * v <= 5 ? 0.35f : 1.0f;
    }
    return 1;
}

void scene_render(const Scene *scene, uint64_t seed, Split split, uint64_t index, uint8_t *rgb) {
    Draws draws = draws_begin(seed, WORLD_PIXELS, split, index);
    float lattice[LATTICE * LATTICE];
    for (int i = 0; i < LATTICE * LATTICE; i++) lattice[i] = draw_between(&draws, -20, 20);
    for (int i = 0; i < NUM_PIXELS; i++) {
        int x = i % IMAGE_SIZE, y = i / IMAGE_SIZE;
        uint32_t bits = draw_bits(&draws);
        float grain =
            ((float)(bits & 255) + (float)(bits >> 8 & 255) - 255) / 255; // triangular, -1 .. 1
        const Object *object = NULL;
        for (int k = 0; k < scene->num_objects; k++)
            if (scene->objects[k].mask[i]) object = &scene->objects[k];
        const float *color = object ? COLORS[object->color] : GROUNDS[scene->ground];
        float scale = 1, shift;
        if (object) {
            float light = 1 - 0.2f * ((float)y - object->y) / object->radius;
            float shade = material_shade((Material)object->material, x, y, object);
            // A dark pattern does not show on black: there it is made of grey.
            bool inverted = shade < 1 && COLORS[object->color][0] + COLORS[object->color][1] < 60;
            scale = light * (inverted ? 1 : shade);
            shift = 8 * grain + (inverted ? 100 * (1 - shade) : 0);
        } else {
            shift = texture((Ground)scene->ground, x, y, surface(lattice, x, y)) + 16 * grain;
        }
        for (int c = 0; c < 3; c++)
            rgb[3 * i + c] = (uint8_t)fminf(255, fmaxf(0, color[c] * scale + shift + 0.5f));
    }
}
