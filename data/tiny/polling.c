#include "data/tiny/polling.h"
#include "autograd/output/output_file.h"
#include "autograd/text/byte_buffer.h"
#include "data/tiny/scene.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_ASKED = 3 };

/// How the shapes are chosen that are not there.
typedef enum Sampling { SAMPLING_RANDOM, SAMPLING_POPULAR, SAMPLING_ADVERSARIAL } Sampling;
static const char *const SAMPLING_NAMES[] = {"random", "popular", "adversarial"};
enum { NUM_SAMPLINGS = sizeof SAMPLING_NAMES / sizeof *SAMPLING_NAMES };

/// Of all pictures.
typedef struct Occurrence {
    /// how many have the shape, and how many two shapes
    int pictures[NUM_SHAPES], together[NUM_SHAPES][NUM_SHAPES];
} Occurrence;

/// What a picture is asked about.
typedef struct Poll {
    bool is_there[NUM_SHAPES];
    /// [count] pairs of questions: one thing that is there, one that is not
    int present[MOST_ASKED], absent[MOST_ASKED], count;
} Poll;

static int shape_of(const json_t *object) {
    const char *name = json_string_value(json_object_get(object, "shape"));
    for (int i = 0; i < NUM_SHAPES; i++)
        if (!strcmp(SHAPE_NAMES[i], name)) return i;
    CHECK(false, "there is no shape '%s'", name);
    return -1;
}

static void look(const json_t *scene, bool is_there[NUM_SHAPES]) {
    const json_t *object;
    size_t i;
    memset(is_there, 0, NUM_SHAPES * sizeof *is_there);
    json_array_foreach(json_object_get(scene, "objects"), i, object)
        is_there[shape_of(object)] = true;
}

static Occurrence count_occurrences(const json_t *scenes) {
    Occurrence found = {0};
    for (size_t s = 0; s < json_array_size(scenes); s++) {
        bool is_there[NUM_SHAPES];
        look(json_array_get(scenes, s), is_there);
        for (int a = 0; a < NUM_SHAPES; a++) {
            found.pictures[a] += is_there[a];
            for (int b = 0; b < NUM_SHAPES; b++) found.together[a][b] += is_there[a] && is_there[b];
        }
    }
    return found;
}

/// Draws `wanted` different ones of the shapes that are there, or that are not.
static void draw_shapes(const bool is_there[NUM_SHAPES], bool there, int wanted, Draws *draws,
                        int *shapes) {
    int left[NUM_SHAPES], count = 0;
    for (int i = 0; i < NUM_SHAPES; i++)
        if (is_there[i] == there) left[count++] = i;
    for (int i = 0; i < wanted; i++) {
        int at = draw_below(draws, count);
        shapes[i] = left[at];
        left[at] = left[--count];
    }
}

/// Of the shapes that are neither there nor taken the one with the most counts, the first of
/// equals.
static int most_of(const int counts[NUM_SHAPES], const bool is_there[NUM_SHAPES],
                   bool taken[NUM_SHAPES]) {
    int best = -1;
    for (int i = 0; i < NUM_SHAPES; i++)
        if (!is_there[i] && !taken[i] && (best < 0 || counts[i] > counts[best])) best = i;
    taken[best] = true;
    return best;
}

static Poll make_poll(const json_t *scene, uint64_t seed, size_t index, Sampling sampling,
                      const Occurrence *occurrence) {
    Poll poll;
    Draws draws = draws_begin(seed, WORLD_POLLING, SPLIT_TEST, index);
    bool taken[NUM_SHAPES] = {false};
    int there = 0;
    look(scene, poll.is_there);
    for (int i = 0; i < NUM_SHAPES; i++) there += poll.is_there[i];
    poll.count = there < NUM_SHAPES - there ? there : NUM_SHAPES - there;
    if (poll.count > MOST_ASKED) poll.count = MOST_ASKED;
    draw_shapes(poll.is_there, true, poll.count, &draws, poll.present);
    if (sampling == SAMPLING_RANDOM)
        draw_shapes(poll.is_there, false, poll.count, &draws, poll.absent);
    for (int i = 0; i < poll.count && sampling != SAMPLING_RANDOM; i++)
        poll.absent[i] =
            most_of(sampling == SAMPLING_POPULAR ? occurrence->pictures
                                                 : occurrence->together[poll.present[i]],
                    poll.is_there, taken);
    return poll;
}

static void put_question(ByteBuffer *lines, int id, const json_t *scene, int shape, bool is_there) {
    char *text = format_string("Is there a %s in the image?", SHAPE_NAMES[shape]);
    json_t *question = json_pack("{s:i, s:O, s:s, s:s}", "question_id", id, "image",
                                 json_object_get(scene, "file_name"), "text", text, "label",
                                 is_there ? "yes" : "no");
    char *line = json_dumps(question, 0);
    byte_buffer_print(lines, "%s\n", line);
    free(line);
    free(text);
    json_decref(question);
}

static bool write_file(const json_t *scenes, uint64_t seed, Sampling sampling,
                       const Occurrence *occurrence, const char *folder, Error *error) {
    ByteBuffer lines = {0};
    int id = 1;
    for (size_t s = 0; s < json_array_size(scenes); s++) {
        const json_t *scene = json_array_get(scenes, s);
        Poll poll = make_poll(scene, seed, s, sampling, occurrence);
        for (int i = 0; i < poll.count; i++) {
            put_question(&lines, id++, scene, poll.present[i], true);
            put_question(&lines, id++, scene, poll.absent[i], false);
        }
    }
    size_t size = lines.size;
    char *text = byte_buffer_take(&lines),
         *path = format_string("%s/coco_pope_%s.json", folder, SAMPLING_NAMES[sampling]);
    bool written = output_whole_file(path, text, size, error);
    free(text);
    free(path);
    return written;
}

bool polling_write(const json_t *scenes, uint64_t seed, const char *folder, Error *error) {
    Occurrence occurrence = count_occurrences(scenes);
    for (int s = 0; s < NUM_SAMPLINGS; s++)
        if (!write_file(scenes, seed, (Sampling)s, &occurrence, folder, error)) return false;
    return true;
}
