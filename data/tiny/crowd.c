// Scenes of the crowded and the iconic world. What is drawn is chosen after photographs (many small
// things, one before another, several of a kind, some hard to tell from what they lie on), not
// after what any model makes of it.
#include "data/tiny/scene_layout.h"

#include <math.h>

enum { TRIES = 400 };

/// Numbers of objects, and the share of small ones.
typedef struct Crowd {
    int least, most;
    float small;
} Crowd;

static const Crowd CROWDS[] = {
    [WORLD_CROWDED] = {3, MAX_OBJECTS, 0.6f}, [WORLD_ICONIC] = {1, 2, 0.2f}};

/// Half extents in pixels: a small object is about one visual token (16 pixels) wide.
static const float RADII[NUM_SIZES][2] = {{6.5f, 9.5f}, {14, 26}};
static const Spacing CROWDED = {.distance = 0.35f, .visible = 0.4f};

/// Chances that an object is of the kind of one that is there already, and then that it is its
/// equal in all that words can say of it but its place.
static const float REPEATED = 0.4f, EQUAL = 0.5f;

/// Chance that an object has the colour that is hardest to see on its ground; chance that the
/// ground shows in it, and how much of it then does.
static const float LIKE_GROUND = 0.12f, BLENDED = 0.35f, BLEND[2] = {0.15f, 0.5f};
/// yellow on sand, green on grass, white on stone, blue on water, orange on wood
static const int LIKE[NUM_GROUNDS] = {3, 1, 6, 2, 5};

/// In steps of brightness of 0 to 255.
static const float TINT = 22, GROUND_TINT = 18, CONTRAST[2] = {0.8f, 2.0f};

static void draw_tint(float tint[3], float limit, Draws *draws) {
    for (int c = 0; c < 3; c++) tint[c] = draw_between(draws, -limit, limit);
}

static Appearance draw_appearance(Draws *draws) {
    Appearance appearance;
    draw_tint(appearance.tint, TINT, draws);
    appearance.blend = draw_chance(draws, BLENDED) ? draw_between(draws, BLEND[0], BLEND[1]) : 0;
    float angle = draw_between(draws, 0, 6.2831853f);
    appearance.light_x = cosf(angle);
    appearance.light_y = sinf(angle);
    return appearance;
}

static void draw_fresh(const Scene *scene, Object *object, Draws *draws, Split split) {
    int ground = scene->ground;
    draw_kind_of_object(object, draws, split);
    if (draw_chance(draws, LIKE_GROUND) &&
        !(split == SPLIT_TRAIN && scene_is_held_out(LIKE[ground], object->shape)))
        object->color = LIKE[ground];
    object->size = draw_chance(draws, CROWDS[scene->kind].small) ? 0 : 1;
    object->material = draw_below(draws, 2 * NUM_MATERIALS) / 2;
}

/// An object of the shape of one that is there, or equal to it.
static void draw_repeated(const Scene *scene, Object *object, Draws *draws, Split split) {
    const Object *model = &scene->objects[draw_below(draws, scene->num_objects)];
    if (draw_chance(draws, EQUAL)) {
        object->shape = model->shape;
        object->color = model->color;
        object->size = model->size;
        object->material = model->material;
        return;
    }
    do {
        draw_fresh(scene, object, draws, split);
        object->shape = model->shape;
    } while (split == SPLIT_TRAIN && scene_is_held_out(object->color, object->shape));
}

static bool has_too_many_of(const Scene *scene, int shape) {
    int count = 0;
    for (int i = 0; i < scene->num_objects; i++) count += scene->objects[i].shape == shape;
    return count == MAX_COUNTED;
}

void scene_sample_photographic(Scene *scene, Draws *draws, Split split) {
    const Crowd *crowd = &CROWDS[scene->kind];
    int wanted = crowd->least + draw_below(draws, crowd->most - crowd->least + 1);
    scene->ground = draw_below(draws, NUM_GROUNDS);
    draw_tint(scene->ground_tint, GROUND_TINT, draws);
    scene->ground_contrast = draw_between(draws, CONTRAST[0], CONTRAST[1]);
    for (int tries = 0;
         scene->num_objects < wanted && (tries < TRIES || scene->num_objects < crowd->least);
         tries++) {
        Object *object = &scene->objects[scene->num_objects];
        if (scene->num_objects > 0 && draw_chance(draws, REPEATED))
            draw_repeated(scene, object, draws, split);
        else
            draw_fresh(scene, object, draws, split);
        object->appearance = draw_appearance(draws);
        draw_place_of_object(object, RADII[object->size], draws);
        if (!has_too_many_of(scene, object->shape)) scene_place(scene, CROWDED);
    }
}
