/// Scenes of the tiny worlds: shapes on a textured ground, 128 x 128 pixels.
///
/// A scene is a function of (world's kind, seed, split, index). Train and test scenes come from
/// different random streams, and four pairs of colour and shape (`scene_is_held_out`) never occur
/// in training scenes.
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { IMAGE_SIZE = 128, NUM_PIXELS = IMAGE_SIZE * IMAGE_SIZE, MAX_OBJECTS = 9 };
enum { NUM_SHAPES = 7, NUM_COLORS = 8, NUM_SIZES = 2, NUM_MATERIALS = 3, NUM_GROUNDS = 5 };

extern const char *const SHAPE_NAMES[NUM_SHAPES];
extern const char *const COLOR_NAMES[NUM_COLORS];
extern const char *const SIZE_NAMES[NUM_SIZES];
/// Material 0 is plain and has the empty name: captions do not mention it.
extern const char *const MATERIAL_NAMES[NUM_MATERIALS];
extern const char *const GROUND_NAMES[NUM_GROUNDS];

/// Which world a scene belongs to.
///
/// Spaced: one to five objects that hardly cover each other and stand out from the ground, each 1.5
/// to 8 visual tokens large. The quickstart's.
///
/// Crowded: three to nine objects, as things are in photographs. More than half of them are about
/// as small as one visual token, they cover each other, there are several of a kind and some that
/// only their place tells apart, and some have the colour and the grain of the ground they lie on.
/// At most MAX_COUNTED have one shape.
///
/// Iconic: one or two objects, mostly large, that look as the crowded world's do: what most
/// pictures that have captions on the web are, and so what a CLIP learns from.
typedef enum WorldKind { WORLD_SPACED, WORLD_CROWDED, WORLD_ICONIC } WorldKind;

/// The largest number that the language has a word for, and how many objects a caption names.
enum { MAX_COUNTED = 5 };

typedef enum Split { SPLIT_TRAIN = 0, SPLIT_TEST = 1 } Split;

/// What a stream of random numbers of the world is for.
typedef enum WorldPurpose {
    WORLD_LAYOUT = 1,
    WORLD_PIXELS = 2,
    WORLD_LANGUAGE = 3,
    WORLD_DOCUMENT = 4,
    WORLD_POLLING = 5,
    WORLD_QUESTIONS = 6
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

/// How an object differs from others of its colour; all zero but light_y = 1 in the spaced world.
typedef struct Appearance {
    /// added to red, green and blue
    float tint[3];
    /// 0 .. 1: how much of the ground's colour and pattern shows in it
    float blend;
    /// the direction in which it gets darker, a unit vector
    float light_x, light_y;
} Appearance;

typedef struct Object {
    int shape, color, size, material;
    /// centre and half extent in pixels
    float x, y, radius;
    Appearance appearance;
    /// visible pixels, and how many there would be if nothing lay on it
    int area, full_area;
    /// 1 where the object is visible: later objects hide earlier ones
    uint8_t mask[NUM_PIXELS];
} Object;

typedef struct Scene {
    WorldKind kind;
    int ground;
    /// added to the ground's red, green and blue; what its pattern is multiplied by
    float ground_tint[3], ground_contrast;
    int num_objects;
    Object objects[MAX_OBJECTS];
} Scene;

bool scene_is_held_out(int color, int shape);

/// Most objects that a scene of this kind has.
int world_max_objects(WorldKind kind);

/// Draws the layout and the visible masks. Of every object at least 55% stays visible, in the
/// crowded world 40%.
void scene_sample(Scene *scene, WorldKind kind, uint64_t seed, Split split, uint64_t index);

/// As scene_sample, from a stream that the caller goes on with.
void scene_sample_from(Scene *scene, WorldKind kind, Draws *draws, Split split);

/// Paints the scene: rgb is [IMAGE_SIZE, IMAGE_SIZE, 3].
void scene_render(const Scene *scene, uint64_t seed, Split split, uint64_t index, uint8_t *rgb);

/// Index 0 .. 2 of the third of the image that a coordinate lies in.
int scene_third(float coordinate);
