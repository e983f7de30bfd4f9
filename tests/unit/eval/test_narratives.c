// rooms: eval models ops checkpoints data autograd
// Panoptic narratives over panoptic annotations of one image.
#include "eval/annotations/narratives.h"

#include "tests/unit/temporary_folder.h"

#define PANOPTIC                                                                                \
    "{\"categories\": [{\"id\": 1, \"name\": \"ring\", \"isthing\": 1}, {\"id\": 2, \"name\": " \
    "\"sand\", \"isthing\": 0}], \"images\": [{\"id\": 139, \"file_name\": \"7.jpg\", "         \
    "\"height\": 2, \"width\": 3}], \"annotations\": [{\"image_id\": 139, \"file_name\": "      \
    "\"7.png\", \"segments_info\": [{\"id\": 5, \"category_id\": 1}, {\"id\": 6, "              \
    "\"category_id\": 2}]}]}"

static PanopticAnnotations panoptic(void) {
    PanopticAnnotations all;
    Error error = {0};
    write_text("panoptic.json", PANOPTIC);
    if (!panoptic_annotations_read(in_folder("panoptic.json"), &all, &error))
        fail_msg("%s", error.message);
    return all;
}

static bool read_text(const char *text, const PanopticAnnotations *annotations, Narratives *out,
                      Error *error) {
    write_text("png.json", text);
    return narratives_read(in_folder("png.json"), annotations, out, error);
}

static void utterances_name_segments(void **state) {
    (void)state;
    PanopticAnnotations annotations = panoptic();
    Narratives all;
    Error error = {0};
    const char *text =
        "[{\"image_id\": \"000000000139\", \"caption\": \"A ring on sand.\", \"segments\": ["
        "{\"utterance\": \"A ring\", \"segment_ids\": [\"5\"], \"plural\": true, \"noun\": true}, "
        "{\"utterance\": \" on\", \"segment_ids\": [], \"plural\": false, \"noun\": false}, "
        "{\"utterance\": \" sand\", \"segment_ids\": [6], \"plural\": 0}, "
        "{\"utterance\": \"both\", \"segment_ids\": [6, 5]}]}, "
        "{\"image_id\": 139, \"caption\": \"\"}]";
    if (!read_text(text, &annotations, &all, &error)) fail_msg("%s", error.message);
    assert_int_equal(all.count, 2);
    assert_int_equal(all.items[1].num_utterances, 0);
    const Utterance *u = all.items[0].utterances;
    assert_int_equal(all.items[0].num_utterances, 4);
    assert_string_equal(u[1].text, " on");
    assert_int_equal(u[0].segment_ids[0], 5);
    assert_int_equal(u[1].num_segments, 0);
    assert_true(u[0].is_plural && u[0].is_noun && !u[2].is_plural);
    static const struct {
        int utterance;
        PluralRule rule;
        bool is_thing, is_plural;
    } kinds[] = {{0, PLURAL_BY_SEGMENTS, true, false},  {0, PLURAL_BY_FLAG, true, true},
                 {2, PLURAL_BY_SEGMENTS, false, false}, {2, PLURAL_BY_FLAG, false, false},
                 {3, PLURAL_BY_SEGMENTS, true, true},   {3, PLURAL_BY_FLAG, true, false}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        UtteranceKind kind = utterance_kind(&u[kinds[i].utterance], &annotations, 0, kinds[i].rule);
        assert_int_equal(kind.is_thing, kinds[i].is_thing);
        assert_int_equal(kind.is_plural, kinds[i].is_plural);
    }
    narratives_free(&all);
    panoptic_annotations_free(&annotations);
}

#define UTTERANCE(text) "[{\"image_id\": 139, \"caption\": \"x\", \"segments\": [{" text "}]}]"
static const struct {
    const char *text, *message;
} bad[] = {
    {"{}", "png.json: expected a list of narratives"},
    {"[]", "expected a list of narratives"},
    {"[3]", "narrative 0: \"image_id\" is missing"},
    {"[{\"image_id\": 140}]", "\"image_id\" is 140, which the panoptic annotations do not have"},
    {"[{\"image_id\": 139}]", "narrative 0: \"caption\" is missing; expected a string"},
    {"[{\"image_id\": 139, \"caption\": \"x\", \"segments\": 4}]", "\"segments\" is 4"},
    {UTTERANCE("\"utterance\": 3"), "segment 0: \"utterance\" is 3; expected a string"},
    {UTTERANCE("\"utterance\": \"a\", \"plural\": \"no\""), "\"plural\" is \"no\""},
    {UTTERANCE("\"utterance\": \"a\", \"segment_ids\": [7]"),
     "\"segment_ids\" has 7, which is no segment of image 139"},
    {UTTERANCE("\"utterance\": \"a\", \"segment_ids\": [\"5x\"]"), "has \"5x\", which"},
    {UTTERANCE("\"utterance\": \"a\", \"segment_ids\": [\"\"]"), "has \"\", which"},
    {UTTERANCE("\"utterance\": \"a\", \"segment_ids\": [-5]"), "has -5, which"},
    {UTTERANCE("\"utterance\": \"a\", \"segment_ids\": [4294967301]"), "has 4294967301, which"},
    {UTTERANCE("\"utterance\": \"a\", \"segment_ids\": [null]"), "has null, which"},
};

static void what_is_wrong_is_told_with_its_place(void **state) {
    (void)state;
    PanopticAnnotations annotations = panoptic();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Narratives all;
        Error error = {0};
        assert_false(read_text(bad[i].text, &annotations, &all, &error));
        if (!strstr(error.message, bad[i].message))
            fail_msg("%zu: '%s' does not have '%s'", i, error.message, bad[i].message);
    }
    panoptic_annotations_free(&annotations);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(utterances_name_segments),
        IN_FOLDER(what_is_wrong_is_told_with_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
