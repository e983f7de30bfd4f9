/// What the layouts of both worlds share.
#pragma once
#include "data/tiny/scene.h"

typedef enum Shape { SQUARE, DISC, TRIANGLE, RING, CROSS, STAR, BAR } Shape;
typedef enum Material { PLAIN, STRIPED, DOTTED } Material;
typedef enum Ground { SAND, GRASS, STONE, WATER, WOOD } Ground;

/// How far objects keep from each other: their centres at least `distance` times the sum of their
/// half extents apart, and each visible to at least the share `visible`.
typedef struct Spacing {
    float distance, visible;
} Spacing;

/// Draws shape and colour, in training scenes no pair that is held out.
void draw_kind_of_object(Object *object, Draws *draws, Split split);

/// Draws the half extent within `radii` (in pixels), and a centre that keeps the object within the
/// image.
void draw_place_of_object(Object *object, const float radii[2], Draws *draws);

/// Puts the object that stands behind the scene's last one on top of all, and counts it, unless
/// that breaks the spacing.
bool scene_place(Scene *scene, Spacing spacing);

/// The layout of the crowded and of the iconic world.
void scene_sample_photographic(Scene *scene, Draws *draws, Split split);
