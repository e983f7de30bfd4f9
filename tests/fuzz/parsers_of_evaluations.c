#include "eval/annotations/gqa.h"
#include "eval/annotations/grounded_captions.h"
#include "eval/annotations/narratives.h"
#include "eval/annotations/pope.h"
#include "eval/annotations/referring.h"
#include "eval/annotations/regions.h"
#include "eval/attention/grounding.h"
#include "eval/attention/official_dump.h"
#include "tests/fuzz/parsers.h"
#include "train/command.h"

static int ended(bool ok, const char *name, const Error *error) {
    return ok ? EXIT_DONE : command_refuse(name, error, EXIT_FAILED);
}

int parse_referring(int argc, char **argv) {
    (void)argc;
    Error error = {0};
    ReferringExpressions all;
    bool ok = referring_read(argv[1], NULL, "val", &all, &error);
    if (ok) referring_free(&all);
    return ended(ok, argv[0], &error);
}

int parse_grounded_captions(int argc, char **argv) {
    Error error = {0};
    GroundedCaptions all;
    bool ok = grounded_captions_read(argv[1], argc > 2 ? argv[2] : argv[1], &all, &error);
    if (ok) grounded_captions_free(&all);
    return ended(ok, argv[0], &error);
}

int parse_grounded_prediction(int argc, char **argv) {
    (void)argc;
    Error error = {0};
    GroundedCaption caption;
    bool ok = grounded_caption_read(argv[1], &caption, &error);
    if (ok) grounded_caption_free(&caption);
    return ended(ok, argv[0], &error);
}

int parse_narratives(int argc, char **argv) {
    Error error = {0};
    PanopticAnnotations panoptic;
    Narratives narratives;
    if (!panoptic_annotations_read(argc > 2 ? argv[2] : argv[1], &panoptic, &error))
        return ended(false, argv[0], &error);
    bool ok = narratives_read(argv[1], &panoptic, &narratives, &error);
    for (int n = 0; ok && n < narratives.count; n++) {
        const Narrative *narrative = &narratives.items[n];
        for (int u = 0; u < narrative->num_utterances; u++)
            if (narrative->utterances[u].num_segments)
                utterance_kind(&narrative->utterances[u], &panoptic, narrative->image,
                               PLURAL_BY_SEGMENTS);
    }
    if (ok) narratives_free(&narratives);
    panoptic_annotations_free(&panoptic);
    return ended(ok, argv[0], &error);
}

int parse_pope(int argc, char **argv) {
    (void)argc;
    Error error = {0};
    PopeQuestions questions;
    bool ok = pope_read(argv[1], &questions, &error);
    pope_free(&questions);
    return ended(ok, argv[0], &error);
}

int parse_gqa(int argc, char **argv) {
    (void)argc;
    Error error = {0};
    GqaQuestions questions;
    bool ok = gqa_read(argv[1], &questions, &error);
    gqa_free(&questions);
    return ended(ok, argv[0], &error);
}

int parse_regions(int argc, char **argv) {
    Error error = {0};
    Regions regions;
    bool ok = regions_read(argv[1], argc > 2 ? argv[2] : NULL, &regions, &error);
    for (int i = 0; ok && i < regions.num_images; i++) regions_at(&regions.images[i], 3, 4);
    if (ok) regions_free(&regions);
    return ended(ok, argv[0], &error);
}

int parse_dump(int argc, char **argv) {
    Error error = {0};
    Answer answer = {0};
    Tokenizer *tokenizer = argc > 2 ? tokenizer_open(argv[2], &error) : NULL;
    bool ok = tokenizer && official_dump_read(argv[1], tokenizer, 3, NULL, &answer, &error);
    if (ok) {
        GroundingOptions how = {.normalise = true};
        ReadAnswer read = answer_read(&answer, &how);
        read_answer_free(&read);
    }
    answer_free(&answer);
    if (argc <= 2) error_set(&error, "a tokenizer is missing");
    tokenizer_close(tokenizer);
    return ended(ok, argv[0], &error);
}
