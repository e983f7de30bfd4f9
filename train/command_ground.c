// difflmm ground: an answer about a picture, and where each thing that it names is; a conversation
// about pictures; a folder of them.
#include "autograd/output/output_folder.h"
#include "train/command.h"
#include "train/evaluation/evaluation_setup.h"
#include "train/ground/ground_files.h"
#include "train/ground/ground_folder.h"
#include "train/ground/ground_print.h"
#include "train/ground/ground_talk.h"
#include "train/saved/trained_weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct GroundArguments {
    const char *config, *image, *prompt, *out, *words;
    const char *segmenter, *temperature, *top_p, *seed;
    bool interactive, page;
    ArgumentList settings;
} GroundArguments;

static const Argument ARGUMENTS[] = {
    CONFIG_ARGUMENT(GroundArguments),
    {"IMAGE", NULL, "a picture (" IMAGE_FORMATS "), or a folder of pictures", ARGUMENT_PATH,
     INTO(GroundArguments, image), ARGUMENT_REQUIRED},
    {"PROMPT", NULL, "what the model is asked; by default eval.prompt", ARGUMENT_TEXT,
     INTO(GroundArguments, prompt)},
    {"--out", "DIR",
     "receives answer.json (with masks), overlay.png, and mask-<n>.png and attention-<n>.png of "
     "every phrase; of a folder DIR/<picture>/ does",
     ARGUMENT_PATH, INTO(GroundArguments, out)},
    {"--html", NULL, "writes explorer.html as well, a page where words can be pointed at",
     ARGUMENT_FLAG, INTO(GroundArguments, page)},
    {"--interactive", NULL,
     "a conversation: questions are read line by line, /help lists what else there is",
     ARGUMENT_FLAG, INTO(GroundArguments, interactive)},
    {"--words", "WORD,WORD,...",
     "nouns to look for in the answer; by default the category names of eval.annotations, or, "
     "where that is null, whatever the answer names",
     ARGUMENT_TEXT, INTO(GroundArguments, words)},
    {"--segmenter", "NAME", "eval.segmenter: region_growing, sam (with eval.sam) or none",
     ARGUMENT_TEXT, INTO(GroundArguments, segmenter)},
    {"--temperature", "NUMBER", "eval.temperature: 0, or how freely tokens are drawn",
     ARGUMENT_TEXT, INTO(GroundArguments, temperature)},
    {"--top_p", "NUMBER", "eval.top_p", ARGUMENT_TEXT, INTO(GroundArguments, top_p)},
    {"--seed", "NUMBER", "eval.seed", ARGUMENT_TEXT, INTO(GroundArguments, seed)},
    SETTINGS_ARGUMENT(GroundArguments),
    {0}};

static const CommandLine LINE = {
    "ground",
    "Asks the model of eval.checkpoint about IMAGE and reads from its attention where the things "
    "are that the answer names. Prints the answer while it is written, and a point per phrase.\n\n"
    "Of a folder every picture is asked about, eval.batch_size at a time; a run that was stopped "
    "goes on where it was.\n",
    ARGUMENTS,
    "  difflmm ground configs/tiny_eval.yaml runs/tiny-world/test/images/000000500003.jpg --out "
    "runs/ground\n"
    "  difflmm ground configs/tiny_eval.yaml runs/tiny-world/test/images/000000500003.jpg "
    "--interactive\n"};

// ---- what is to be done

static bool ground_picture(Grounder *grounder, const GroundArguments *arguments, const char *prompt,
                           Error *error) {
    Image picture = {0};
    OutputFolder folder = {0};
    const char *out = arguments->out;
    bool ok = image_read(arguments->image, &picture, error) &&
              (!out || output_folder_make(&folder, out, error)) && grounder_load(grounder, error);
    if (ok) {
        AnswerPrinter printer = answer_printer(stdout, NULL);
        AnswerListener listener = {answer_printer_hear, &printer};
        Question question = {.image = &picture, .text = prompt};
        GroundedAnswer answer;
        ok = grounder_ask(grounder, &question, &listener, &answer, error);
        if (ok) {
            answer_printer_end(&printer, &answer);
            GroundFiles files = {&answer, arguments->image,
                                 grounder->segmenter ? grounder->segmenter->name : NULL,
                                 grounder->how, arguments->page};
            ok = !out || ground_files_replace(&files, out, error);
            grounded_answer_free(&answer);
        }
    }
    output_folder_close(&folder, !ok);
    image_free(&picture);
    return ok;
}

static bool converse(Grounder *grounder, const GroundArguments *arguments, Error *error) {
    Image picture;
    if (!image_read(arguments->image, &picture, error)) return false; // before the networks are
    image_free(&picture);
    TalkOptions options = {arguments->image, arguments->prompt, arguments->page};
    return grounder_load(grounder, error) && ground_talk(grounder, &options, error);
}

static bool is_folder(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static bool ground(const Config *config, const GroundArguments *arguments, Error *error) {
    Grounder grounder;
    const char *prompt = arguments->prompt ? arguments->prompt : evaluation_prompt(config);
    bool ok = grounder_prepare(&grounder, config, arguments->words, error);
    if (ok && is_folder(arguments->image)) {
        FolderOptions options = {arguments->image, arguments->out, prompt, arguments->words,
                                 arguments->page};
        ok = ground_folder(&grounder, &options, error);
    } else if (ok) {
        ok = arguments->interactive ? converse(&grounder, arguments, error)
                                    : ground_picture(&grounder, arguments, prompt, error);
    }
    grounder_close(&grounder);
    return ok;
}

// ---- arguments

/// What does not go together.
static bool check(const GroundArguments *arguments, Error *error) {
    bool folder = is_folder(arguments->image);
    if (arguments->interactive && arguments->out)
        return error_set(error,
                         "--out is not for --interactive, which writes where /save DIR says");
    if (arguments->interactive && folder)
        return error_set(error, "%s is a folder; --interactive is about one picture at a time",
                         arguments->image);
    if (folder && !arguments->out)
        return error_set(error, "%s is a folder; --out DIR is to say where its answers go",
                         arguments->image);
    if (arguments->page && !arguments->out && !arguments->interactive)
        return error_set(error, "--html writes a page into --out DIR, which is missing");
    return true;
}

/// The configuration, options that stand for its keys after the settings.
static Config *load_config(const GroundArguments *arguments, Error *error) {
    const char *const options[][2] = {{"eval.segmenter", arguments->segmenter},
                                      {"eval.temperature", arguments->temperature},
                                      {"eval.top_p", arguments->top_p},
                                      {"eval.seed", arguments->seed}};
    enum { NUM_OPTIONS = sizeof options / sizeof *options };
    char *made[NUM_OPTIONS];
    int given = arguments->settings.count, count = 0;
    const char **settings = checked_malloc(((size_t)given + NUM_OPTIONS) * sizeof *settings);
    for (int i = 0; i < given; i++) settings[i] = arguments->settings.values[i];
    for (int i = 0; i < NUM_OPTIONS; i++)
        if (options[i][1]) {
            made[count] = format_string("%s=%s", options[i][0], options[i][1]);
            settings[given + count] = made[count];
            count++;
        }
    Config *config = config_load(arguments->config, settings, given + count, error);
    for (int i = 0; i < count; i++) free(made[i]);
    free(settings);
    return config;
}

static int run(const GroundArguments *arguments) {
    Error error = {0};
    Config *config = check(arguments, &error) ? load_config(arguments, &error) : NULL;
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
