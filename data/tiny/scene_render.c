// What a scene looks like.
#include "data/tiny/scene_layout.h"

#include <math.h>
#include <stddef.h>

static const float COLORS[NUM_COLORS][3] = {{205, 40, 40},   {40, 160, 60},  {45, 80, 210},
                                            {235, 210, 50},  {140, 60, 170}, {240, 130, 30},
                                            {240, 240, 240}, {25, 25, 25}};
static const float GROUNDS[NUM_GROUNDS][3] = {
    {205, 180, 130}, {110, 150, 80}, {135, 135, 140}, {120, 165, 190}, {150, 105, 70}};

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

/// The object's colour before light and pattern.
static void color_of(const Scene *scene, const Object *object, float color[3]) {
    const Appearance *appearance = &object->appearance;
    for (int c = 0; c < 3; c++) {
        float own = COLORS[object->color][c] + appearance->tint[c];
        float ground = GROUNDS[scene->ground][c] + scene->ground_tint[c];
        color[c] = own + appearance->blend * (ground - own);
    }
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
        float pattern =
            scene->ground_contrast * texture((Ground)scene->ground, x, y, surface(lattice, x, y));
        const Object *object = NULL;
        for (int k = 0; k < scene->num_objects; k++)
            if (scene->objects[k].mask[i]) object = &scene->objects[k];
        float color[3], scale = 1, shift;
        if (object) {
            const Appearance *appearance = &object->appearance;
            float along = appearance->light_x * ((float)x - object->x) +
                          appearance->light_y * ((float)y - object->y);
            float light = 1 - 0.2f * along / object->radius;
            float shade = material_shade((Material)object->material, x, y, object);
            // A dark pattern does not show on black: there it is made of grey.
            bool inverted = shade < 1 && COLORS[object->color][0] + COLORS[object->color][1] < 60;
            color_of(scene, object, color);
            scale = light * (inverted ? 1 : shade);
            shift = 8 * grain + (inverted ? 100 * (1 - shade) : 0) + appearance->blend * pattern;
        } else {
            for (int c = 0; c < 3; c++)
                color[c] = GROUNDS[scene->ground][c] + scene->ground_tint[c];
            shift = pattern + 16 * grain;
        }
        for (int c = 0; c < 3; c++)
            rgb[3 * i + c] = (uint8_t)fminf(255, fmaxf(0, color[c] * scale + shift + 0.5f));
    }
}
