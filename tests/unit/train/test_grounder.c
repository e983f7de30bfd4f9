// rooms: train eval models ops checkpoints data autograd
// Questions about a picture, answered by the tiny networks with adapters that have learned nothing.
#include "tests/unit/temporary_folder.h"
#include "train/ground/grounder.h"

#define TINY SOURCE_DIR "/checkpoints/tiny"

static Config *config;
static Grounder grounder;
static Image picture;

static int load(void **state) {
    (void)state;
    static const char *const settings[] = {
        "model.sd=" TINY "/sd",      "model.vision_tower=" TINY "/clip",
        "model.llm=" TINY "/llm",    "data.image_size=128",
        "data.model_max_length=512", "eval.segmenter=none",
        "eval.max_new_tokens=4",     "training.device=cpu",
        "training.threads=1",        "eval.prompt=What?"};
    Error error = {0};
    config = config_load(NULL, settings, sizeof settings / sizeof *settings, &error);
    if (!config || !grounder_prepare(&grounder, config, NULL, &error) ||
        !grounder_load(&grounder, &error)) {
        print_error("%s\n", error.message);
        return -1;
    }
    picture = image_new(128, 128);
    for (int i = 0; i < 128 * 128 * 3; i++) picture.pixels[i] = (uint8_t)(i / 97 * 31);
    return 0;
}

static int unload(void **state) {
    (void)state;
    image_free(&picture);
    grounder_close(&grounder);
    config_free(config);
    return 0;
}

static GroundedAnswer ask(SeenPicture *seen) {
    Error error = {0};
    const Question question = {.image = &picture, .text = "What is it?", .seen = seen};
    GroundedAnswer answer;
    if (!grounder_ask(&grounder, &question, NULL, &answer, &error)) fail_msg("%s", error.message);
    assert_true(answer.answer.num_tokens > 0 && answer.answer.maps);
    return answer;
}

/// To the bit.
static bool are_alike(const GroundedAnswer *a, const GroundedAnswer *b) {
    const Answer *x = &a->answer, *y = &b->answer;
    const size_t cells = (size_t)x->layers * (size_t)x->heads * (size_t)x->grid.rows *
                         (size_t)x->grid.columns * (size_t)x->num_tokens;
    return !strcmp(x->text, y->text) && x->num_tokens == y->num_tokens &&
           !memcmp(x->maps, y->maps, cells * sizeof *x->maps);
}

static void a_further_question_is_answered_as_if_the_picture_were_seen_anew(void **state) {
    (void)state;
    SeenPicture seen = {0};
    GroundedAnswer anew = ask(NULL), first = ask(&seen), further = ask(&seen);
    assert_true(are_alike(&anew, &first) && are_alike(&anew, &further));
    grounded_answer_free(&anew);
    grounded_answer_free(&first);
    grounded_answer_free(&further);
    seen_picture_free(&seen);
}

/// Told by a picture that changes, which it must not.
static void a_picture_that_was_seen_is_not_looked_at_again(void **state) {
    (void)state;
    SeenPicture seen = {0};
    GroundedAnswer first = ask(&seen);
    for (int i = 0; i < 128 * 64 * 3; i++) picture.pixels[i] = (uint8_t)~picture.pixels[i];
    GroundedAnswer further = ask(&seen);
    assert_true(are_alike(&first, &further));
    seen_picture_free(&seen);
    GroundedAnswer anew = ask(&seen);
    assert_false(are_alike(&first, &anew));
    grounded_answer_free(&anew);
    grounded_answer_free(&first);
    grounded_answer_free(&further);
    seen_picture_free(&seen);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_further_question_is_answered_as_if_the_picture_were_seen_anew),
        cmocka_unit_test(a_picture_that_was_seen_is_not_looked_at_again),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
