/// Scenes of the tiny world: one to five shapes on a textured ground, 128 x 128 pixels.
///
/// A scene is a function of (seed, split, index). Train and test scenes come from different random
/// streams, and four pairs of colour and shape (`scene_is_held_out`) never occur in training
/// scenes.
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { IMAGE_SIZE = 128, NUM_PIXELS = IMAGE_SIZE * IMAGE_SIZE, MAX_OBJECTS = 5 };
enum { NUM_SHAPES = 7, NUM_COLORS = 8, NUM_SIZES = 2, NUM_MATERIALS = 3, NUM_GROUNDS = 5 };

extern const char *const SHAPE_NAMES[NUM_SHAPES];
extern const char *const COLOR_NAMES[NUM_COLORS];
extern const char *const SIZE_NAMES[NUM_SIZES];
/// Material 0 is plain and has the empty name: captions do not mention it.
extern const char *const MATERIAL_NAMES[NUM_MATERIALS];
extern const char *const GROUND_NAMES[NUM_GROUNDS];

typedef enum Split { SPLIT_TRAIN = 0, SPLIT_TEST = 1 } Split;

/// What a stream of random numbers of the world is for.
typedef enum WorldPurpose {
    WORLD_LAYOUT = 1,
    WORLD_PIXELS = 2,
    WORLD_LANGUAGE = 3,
    WORLD_DOCUMENT = 4
} WorldPurpose;

/// Successive numbers of one stream; private to one scene, so that scenes do not depend on each
/// other.
typedef struct Draws {
    uint64_t key, stream, block;
    uint32_t words[4];
    int used;
} Draws;

Draws draws_begin(uint64_t seed, WorldPurpose purpose, Split split, uint64_t index);
uint32_t draw_bits(Draws *draws);
/// Uniform in [low, high).
float draw_between(Draws *draws, float low, float high);
/// Uniform among 0 .. count - 1.
int draw_below(Draws *draws, int count);
bool draw_chance(Draws *draws, float probability);

typedef struct Object {
    int shape, color, size, material;
    /// centre and half extent in pixels
    float x, y, radius;
    /// visible pixels
    int area;
    /// 1 where the object is visible: later objects hide earlier ones
    uint8_t mask[NUM_PIXELS];
} Object;

typedef struct Scene {
    int ground;
    int num_objects;
    Object objects[MAX_OBJECTS];
} Scene;

bool scene_is_held_out(int color, int shape);

/// Draws the layout and the visible masks. Of every object at least 55% stays visible.
void scene_sample(Scene *scene, uint64_t seed, Split split, uint64_t index);

/// As scene_sample, from a stream that the caller goes on with.
void scene_sample_from(Scene *scene, Draws *draws, Split split);

/// Paints the scene: rgb is [IMAGE_SIZE, IMAGE_SIZE, 3].
void scene_render(const Scene *scene, uint64_t seed, Split split, uint64_t index, uint8_t *rgb);

/// Index 0 .. 2 of the third of the image that a coordinate lies in.
int scene_third(float coordinate);
