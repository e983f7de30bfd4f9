// difflmm ground: an answer about one picture, and where each thing that it names is.
#include "autograd/output/output_file.h"
#include "autograd/output/output_folder.h"
#include "autograd/text/utf8.h"
#include "data/coco_annotations.h"
#include "eval/pages/overlay.h"
#include "train/command.h"
#include "train/evaluation/evaluation_setup.h"
#include "train/saved/trained_weights.h"
#include "train/trainer/answer_setup.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PICTURE_SIDE = 768 };

typedef struct GroundArguments {
    const char *config, *image, *prompt, *out, *words;
    ArgumentList settings;
} GroundArguments;

static const Argument ARGUMENTS[] = {
    CONFIG_ARGUMENT(GroundArguments),
    {"IMAGE", NULL, "JPEG or PNG", ARGUMENT_PATH, INTO(GroundArguments, image), ARGUMENT_REQUIRED},
    {"PROMPT", NULL, "what the model is asked; by default eval.prompt", ARGUMENT_TEXT,
     INTO(GroundArguments, prompt)},
    {"--out", "DIR", "receives answer.json, overlay.png and mask-<phrase>.png", ARGUMENT_PATH,
     INTO(GroundArguments, out), ARGUMENT_REQUIRED},
    {"--words", "WORD,WORD,...",
     "nouns to look for in the answer; by default the category names of eval.annotations",
     ARGUMENT_TEXT, INTO(GroundArguments, words)},
    SETTINGS_ARGUMENT(GroundArguments),
    {0}};

static const CommandLine LINE = {
    "ground",
    "Asks the model of eval.checkpoint about IMAGE and reads from its attention where the things "
    "are that the answer names. Prints the answer and a point per phrase.\n",
    ARGUMENTS,
    "  difflmm ground configs/tiny_eval.yaml runs/tiny-world/test/images/000000500003.jpg --out "
    "runs/ground\n"};

// ---- results

static bool write_masks(const char *folder, const Grounding *grounding, const Image *picture,
                        Error *error) {
    for (int i = 0; i < grounding->count; i++) {
        Image mask = image_new(picture->width, picture->height);
        for (int64_t p = 0; p < (int64_t)picture->width * picture->height; p++)
            memset(mask.pixels + 3 * p, grounding->items[i].mask[p] ? 255 : 0, 3);
        char *path = format_string("%s/mask-%d.png", folder, i + 1);
        bool ok = image_write_png(path, &mask, error);
        free(path);
        image_free(&mask);
        if (!ok) return false;
    }
    return true;
}

static bool write_answer(const char *folder, const char *prompt, const Answer *answer,
                         const Grounding *grounding, Error *error) {
    json_t *phrases = json_array();
    for (int i = 0; i < grounding->count; i++) {
        const GroundedPhrase *item = &grounding->items[i];
        json_array_append_new(phrases, json_pack("{s:s%, s:[i, i], s:o}", "phrase",
                                                 answer->text + item->phrase.begin,
                                                 (size_t)(item->phrase.end - item->phrase.begin),
                                                 "point", item->point.column, item->point.row,
                                                 "mask", json_sprintf("mask-%d.png", i + 1)));
    }
    json_t *record =
        json_pack("{s:s, s:s, s:o}", "prompt", prompt, "answer", answer->text, "phrases", phrases);
    char *text = json_dumps(record, JSON_INDENT(1)),
         *path = format_string("%s/answer.json", folder);
    bool ok = output_whole_file(path, text, strlen(text), error);
    free(text);
    free(path);
    json_decref(record);
    return ok;
}

static void print_answer(const Answer *answer, const Grounding *grounding) {
    utf8_print(stdout, "%s\n", answer->text);
    for (int i = 0; i < grounding->count; i++) {
        const GroundedPhrase *item = &grounding->items[i];
        utf8_print(stdout, "  %d  %.*s  at x %d, y %d\n", i + 1,
                   item->phrase.end - item->phrase.begin, answer->text + item->phrase.begin,
                   item->point.column, item->point.row);
    }
}

// ---- what to look for

/// The nouns that are found in the answer.
typedef struct Nouns {
    const char **names;
    int count;
    /// own the names: the words of the command line, or else the annotations
    char *words;
    CocoAnnotations annotations;
} Nouns;

/// Of "ring,star".
static void split_words(const char *words, Nouns *nouns) {
    nouns->words = checked_strdup(words);
    nouns->names = checked_calloc(strlen(words) / 2 + 1, sizeof *nouns->names);
    for (char *word = strtok(nouns->words, ","); word; word = strtok(NULL, ","))
        nouns->names[nouns->count++] = word;
}

/// Before anything is loaded: an answer takes long.
static bool read_nouns(const Config *config, const GroundArguments *arguments, Nouns *nouns,
                       Error *error) {
    *nouns = (Nouns){0};
    if (arguments->words) {
        split_words(arguments->words, nouns);
        return true;
    }
    const char *path = config->eval.annotations;
    if (!path)
        return config_refuse(config, "eval.annotations", error,
                             "is null, so that there are no nouns to be found; set it, or give "
                             "--words WORD,WORD,...");
    if (!coco_annotations_read(path, &nouns->annotations, error)) return false;
    nouns->count = nouns->annotations.num_categories;
    nouns->names = checked_calloc((size_t)nouns->count + 1, sizeof *nouns->names);
    for (int i = 0; i < nouns->count; i++) nouns->names[i] = nouns->annotations.category_names[i];
    return true;
}

static void free_nouns(Nouns *nouns) {
    free(nouns->names);
    free(nouns->words);
    coco_annotations_free(&nouns->annotations);
}

static bool ground_picture(const Config *config, const GroundArguments *arguments,
                           const Nouns *nouns, const ModelSetup *setup, const Image *picture,
                           Error *error) {
    AnswerSetup answers;
    Answer reply = {0};
    PhraseList phrases = {0};
    Question question = {
        .image = picture,
        .text = arguments->prompt ? arguments->prompt : evaluation_prompt(config),
    };
    if (!answer_setup(config, setup, &answers, error)) return false;
    bool ok = answer_questions(&answers.options, &question, 1, &reply, error);
    if (ok) {
        phrases = phrases_find(reply.text, nouns->names, nouns->count);
        GroundingOptions how = {.reduction = evaluation_reduction(config), .normalise = true};
        Grounding grounding = ground_phrases(&reply, &phrases, &how);
        ground_masks_by_region_growing(&grounding, picture->pixels, picture->height,
                                       picture->width);
        Image overlay = overlay_draw(picture, &grounding, overlay_scale(picture, PICTURE_SIDE));
        char *path = format_string("%s/overlay.png", arguments->out);
        ok = image_write_png(path, &overlay, error) &&
             write_masks(arguments->out, &grounding, picture, error) &&
             write_answer(arguments->out, question.text, &reply, &grounding, error);
        if (ok) print_answer(&reply, &grounding);
        free(path);
        image_free(&overlay);
        grounding_free(&grounding);
    }
    phrases_free(&phrases);
    answer_free(&reply);
    return ok;
}

static bool ground(const Config *config, const GroundArguments *arguments, Error *error) {
    Image picture = {0};
    ModelSetup setup;
    OutputFolder folder = {0};
    Nouns nouns = {0};
    bool ok = read_nouns(config, arguments, &nouns, error) &&
              image_read(arguments->image, &picture, error) &&
              output_folder_make(&folder, arguments->out, error) &&
              model_setup_open(config, (uint64_t)config->eval.seed, NULL, &setup, error);
    if (ok) {
        ok = model_setup_load_checkpoint(config, &setup, error) &&
             ground_picture(config, arguments, &nouns, &setup, &picture, error);
        model_setup_close(&setup);
    }
    output_folder_close(&folder, !ok);
    free_nouns(&nouns);
    image_free(&picture);
    return ok;
}

static Config *load_config(const GroundArguments *arguments, Error *error) {
    const char *words = arguments->words;
    if (words && strspn(words, ",") == strlen(words)) {
        error_set(error, "--words has no word");
        return NULL;
    }
    return config_load(arguments->config, arguments->settings.values, arguments->settings.count,
                       error);
}

static int run(const GroundArguments *arguments) {
    Error error = {0};
    Config *config = load_config(arguments, &error);
    if (!config) return command_refuse("ground", &error, EXIT_USAGE);
    bool complete = config_require_model(config, &error);
    bool ok =
        complete && trained_weights_settle(config, &error) && ground(config, arguments, &error);
    config_free(config);
    return ok ? EXIT_DONE : command_refuse("ground", &error, complete ? EXIT_FAILED : EXIT_USAGE);
}

int command_ground(int argc, char **argv) {
    GroundArguments arguments = {0};
    int exit_code;
    if (!command_begin(&LINE, argc, argv, &arguments, &exit_code)) return exit_code;
    exit_code = run(&arguments);
    arguments_free(&LINE, &arguments);
    return exit_code;
}
