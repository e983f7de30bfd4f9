#include "data/tiny/scene.h"
#include "autograd/philox.h"
#include "data/tiny/scene_layout.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const SHAPE_NAMES[] = {"square", "disc", "triangle", "ring", "cross", "star", "bar"};
const char *const COLOR_NAMES[] = {"red",    "green",  "blue",  "yellow",
                                   "purple", "orange", "white", "black"};
const char *const SIZE_NAMES[] = {"small", "large"};
const char *const MATERIAL_NAMES[] = {"", "striped", "dotted"};
const char *const GROUND_NAMES[] = {"sand", "grass", "stone", "water", "wood"};

/// Half extents in pixels. A visual token sees 16 x 16 pixels: a small object covers about 1.5 to 3
/// of them, a large one 4 to 8.
static const float RADII[NUM_SIZES][2] = {{13, 16}, {20, 26}};
static const int COUNT_WEIGHTS[] = {3, 6, 6, 3, 2};
enum { MOST_SPACED = sizeof COUNT_WEIGHTS / sizeof *COUNT_WEIGHTS };
static const Spacing SPACED = {.distance = 0.7f, .visible = 0.55f};

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

void draw_kind_of_object(Object *object, Draws *draws, Split split) {
    do {
        object->shape = draw_below(draws, NUM_SHAPES);
        object->color = draw_below(draws, NUM_COLORS);
    } while (split == SPLIT_TRAIN && scene_is_held_out(object->color, object->shape));
}

void draw_place_of_object(Object *object, const float radii[2], Draws *draws) {
    object->radius = draw_between(draws, radii[0], radii[1]);
    float border = object->radius * (object->shape == BAR ? 1.25f : 1.1f) + 1;
    object->x = draw_between(draws, border, IMAGE_SIZE - border);
    object->y = draw_between(draws, border, IMAGE_SIZE - border);
}

static void draw_object(Object *object, Draws *draws, Split split) {
    draw_kind_of_object(object, draws, split);
    object->size = draw_below(draws, NUM_SIZES);
    object->material = draw_below(draws, 2 * NUM_MATERIALS) / 2;
    object->appearance = (Appearance){.light_y = 1};
    draw_place_of_object(object, RADII[object->size], draws);
}

static void fill_mask(Object *object) {
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
    object->full_area = object->area;
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

bool scene_place(Scene *scene, Spacing spacing) {
    Object *object = &scene->objects[scene->num_objects];
    for (int i = 0; i < scene->num_objects; i++) {
        const Object *other = &scene->objects[i];
        if (hypotf(other->x - object->x, other->y - object->y) <
            spacing.distance * (other->radius + object->radius))
            return false;
    }
    fill_mask(object);
    for (int i = 0; i < scene->num_objects; i++)
        if (overlaps(&scene->objects[i], object) &&
            (float)covered_by(&scene->objects[i], object, false) <
                spacing.visible * (float)scene->objects[i].full_area)
            return false;
    for (int i = 0; i < scene->num_objects; i++)
        if (overlaps(&scene->objects[i], object)) covered_by(&scene->objects[i], object, true);
    scene->num_objects++;
    return true;
}

static void sample_spaced(Scene *scene, Draws *draws, Split split) {
    int total = 0, wanted = 0;
    for (int i = 0; i < MOST_SPACED; i++) total += COUNT_WEIGHTS[i];
    int choice = draw_below(draws, total);
    while (choice >= 0) choice -= COUNT_WEIGHTS[wanted++];
    scene->ground = draw_below(draws, NUM_GROUNDS);
    for (int tries = 0; scene->num_objects < wanted && tries < 100; tries++) {
        draw_object(&scene->objects[scene->num_objects], draws, split);
        scene_place(scene, SPACED);
    }
}

int world_max_objects(WorldKind kind) { return kind == WORLD_SPACED ? MOST_SPACED : MAX_OBJECTS; }

void scene_sample_from(Scene *scene, WorldKind kind, Draws *draws, Split split) {
    scene->kind = kind;
    scene->num_objects = 0;
    memset(scene->ground_tint, 0, sizeof scene->ground_tint);
    scene->ground_contrast = 1;
    if (kind == WORLD_SPACED)
        sample_spaced(scene, draws, split);
    else
        scene_sample_photographic(scene, draws, split);
}

void scene_sample(Scene *scene, WorldKind kind, uint64_t seed, Split split, uint64_t index) {
    Draws draws = draws_begin(seed, WORLD_LAYOUT, split, index);
    scene_sample_from(scene, kind, &draws, split);
}
