// difflmm eval: one evaluation of attention maps.
#include "autograd/output/output_folder.h"
#include "autograd/stop_request.h"
#include "eval/tasks/point_task.h"
#include "train/command.h"
#include "train/log/progress.h"
#include "train/saved/trained_weights.h"
#include "train/trainer/answer_setup.h"
#include "train/trainer/model_setup.h"

#include <stdio.h>
#include <stdlib.h>

enum { BATCH_SIZE = 32 };

typedef struct EvalArguments {
    const char *config;
    ArgumentList settings;
} EvalArguments;

static const Argument ARGUMENTS[] = {
    CONFIG_ARGUMENT(EvalArguments), SETTINGS_ARGUMENT(EvalArguments), {0}};

static const CommandLine LINE = {
    "eval",
    "Lets the model describe every image of eval.annotations and counts how often its attention, "
    "at the step that produced a noun, points into an object of that class. Writes "
    "eval.output_dir/results.json and eval.output_dir/pictures/. eval.checkpoint=null evaluates "
    "the adapters as initialised.\n",
    ARGUMENTS,
    "  difflmm eval configs/tiny_eval.yaml\n"
    "  difflmm eval configs/tiny_eval.yaml eval.layers=[2] eval.output_dir=runs/tiny/eval/layer2\n"
    "  difflmm config eval                         what can be set\n"};

static void show(void *context, int64_t done, int64_t total, const PointAccuracy *so_far) {
    (void)total;
    progress_update(context, done, "points inside: %.3f of %lld nouns",
                    point_accuracy_share((double)so_far->hits, so_far), (long long)so_far->present);
}

static int64_t images_of(const Config *config, const CocoAnnotations *annotations) {
    int64_t all = annotations->num_images;
    return config->eval.samples >= 0 && config->eval.samples < all ? config->eval.samples : all;
}

static bool run_task(const Config *config, const ModelSetup *setup,
                     const CocoAnnotations *annotations, Error *error) {
    AnswerSetup answers;
    if (!answer_setup(config, setup, &answers, error)) return false;
    PointTaskOptions options = {
        .answers = answers.options,
        .annotations = annotations,
        .image_folder = config->eval.image_folder,
        .prompt = config->eval.prompt,
        .reduction = config->eval.aggregate,
        .region_growing = config->eval.segmenter == SEGMENTER_REGION_GROWING,
        .samples = config->eval.samples,
        .pictures = config->eval.pictures,
        .batch_size = BATCH_SIZE,
        .output_dir = config->eval.output_dir,
        .architecture = config->model.architecture == ADAPTERS_LLAVA ? "llava" : "difflmm",
        .checkpoint = config->eval.checkpoint,
        .progress = show};
    PointAccuracy sum;
    options.progress_context =
        progress_begin(stderr, "evaluation", 0, images_of(config, annotations), 64);
    bool ok = point_task_run(&options, &sum, error);
    progress_end(options.progress_context);
    if (ok)
        printf("point accuracy %.3f (a random point %.3f, the centre %.3f) over %lld nouns; %lld "
               "of %lld nouns said name a class in the image\n",
               point_accuracy_share((double)sum.hits, &sum),
               point_accuracy_share(sum.random_hits, &sum),
               point_accuracy_share((double)sum.centre_hits, &sum), (long long)sum.present,
               (long long)sum.present, (long long)sum.nouns);
    return ok;
}

/// Points could fall inside of something: else the accuracy would be 0 whatever the model does.
static bool check_annotations(const Config *config, const CocoAnnotations *annotations,
                              Error *error) {
    int64_t images = images_of(config, annotations), found = 0;
    if (images == 0)
        return config_refuse(config, "eval.samples", error, "0 images are nothing to evaluate");
    for (int64_t i = 0; i < images; i++) found += annotations->images[i].num_annotations;
    return found > 0 ||
           error_set(
               error,
               "%s: none of the %lld images has an annotation (those with iscrowd: 1 are left "
               "out); there is nothing to evaluate against",
               config->eval.annotations, (long long)images);
}

static bool evaluate(const Config *config, Error *error) {
    ModelSetup setup;
    CocoAnnotations annotations;
    OutputFolder folder = {0};
    if (!coco_annotations_read(config->eval.annotations, &annotations, error)) return false;
    bool ok = check_annotations(config, &annotations, error) &&
              output_folder_make(&folder, config->eval.output_dir, error) &&
              model_setup_open(config, (uint64_t)config->eval.seed, NULL, &setup, error);
    if (ok) {
        ok = model_setup_load_checkpoint(config, &setup, error) &&
             run_task(config, &setup, &annotations, error);
        model_setup_close(&setup);
    }
    output_folder_close(&folder, !ok);
    coco_annotations_free(&annotations);
    return ok;
}

int command_eval(int argc, char **argv) {
    EvalArguments arguments = {0};
    Error error = {0};
    int exit_code;
    if (!command_begin(&LINE, argc, argv, &arguments, &exit_code)) return exit_code;
    stop_request_listen();
    Config *config =
        config_load(arguments.config, arguments.settings.values, arguments.settings.count, &error);
    arguments_free(&LINE, &arguments);
    if (!config) return command_refuse("eval", &error, EXIT_USAGE);
    bool complete = config_require_model(config, &error) &&
                    config_require(config, &error, "eval.annotations", "eval.image_folder",
                                   "eval.output_dir", NULL);
    bool ok = complete && trained_weights_settle(config, &error) && evaluate(config, &error);
    config_free(config);
    return ok ? EXIT_DONE : command_refuse("eval", &error, complete ? EXIT_FAILED : EXIT_USAGE);
}
