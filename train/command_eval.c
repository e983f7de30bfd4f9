// difflmm eval: one evaluation of what a model says and where it looks.
#include "autograd/text/byte_buffer.h"
#include "train/evaluation/evaluation_compare.h"
#include "train/evaluation/evaluation_run.h"
#include "train/evaluation/evaluation_setup.h"
#include "train/job.h"
#include "train/saved/trained_weights.h"

#include <stdlib.h>

typedef struct EvalArguments {
    JobArguments job;
    /// two folders, or NULL
    const char *compare[2];
    bool as_json;
} EvalArguments;

static const Argument ARGUMENTS[] = {
    // not asked for where evaluations are compared
    {"CONFIG", NULL, "a configuration, a YAML file; configs/ holds some", ARGUMENT_PATH,
     INTO(EvalArguments, job.config)},
    {"section.key=value", NULL,
     "sets a key of the configuration; 'difflmm config' explains every one", ARGUMENT_SETTINGS,
     INTO(EvalArguments, job.settings)},
    PROCESSES_ARGUMENT(EvalArguments, job.processes),
    {"--compare", "A B",
     "no evaluation: differences between two, by the folders that they left, paired over images, "
     "with intervals",
     ARGUMENT_PATH, INTO(EvalArguments, compare), .value_count = 2},
    {"--json", NULL, "with --compare: for machines", ARGUMENT_FLAG, INTO(EvalArguments, as_json)},
    {0}};

static const char BEFORE_TASKS[] =
    "Asks the model of eval.checkpoint about the images of eval.annotations, reads from its "
    "attention where it looks when it names something, and compares that with the truth. "
    "eval.task says what is measured:\n"
    "\n";
static const char BEHIND_TASKS[] =
    "\n"
    "eval.output_dir receives answers/ (what was said, and the attention of every word), "
    "results.json (figures with 95% intervals), items.jsonl (every item), pictures/, and "
    "predictions/ in the published form. Stopped or killed, the same line goes on where it was; "
    "eval.answers=DIR judges what is stored there, without the model. DIR may also hold the .pth "
    "files of groundLMM's attention scripts, of other models as well: eval.tokenizer names the "
    "tokenizer of the model that answered, eval.geometry how it saw pictures. eval.checkpoint=null "
    "evaluates the adapters as initialised. The results are the same on any number of processes:\n"
    "  difflmm eval CONFIG --processes 8          this machine; runs mpirun\n"
    "  mpirun -n 8 difflmm eval CONFIG\n"
    "  srun -n 8 --mpi=pmix difflmm eval CONFIG   under Slurm\n";

/// The description comes from the table of tasks: see describe_tasks().
static CommandLine line = {
    "eval", "", ARGUMENTS,
    "  difflmm eval configs/tiny_eval.yaml\n"
    "  difflmm eval configs/tiny_eval.yaml eval.layers=[2] eval.output_dir=runs/tiny/eval/layer2\n"
    "  difflmm eval --compare runs/tiny/eval/stage1 runs/tiny/eval/trained\n"
    "  difflmm config eval                         what can be set\n"};

static char *describe_tasks(void) {
    ByteBuffer text = {0};
    byte_buffer_put_text(&text, BEFORE_TASKS);
    for (const Task *const *task = TASKS; *task; task++)
        byte_buffer_print(&text, "  %-11s %s\n              %s\n", (*task)->name, (*task)->summary,
                          (*task)->files);
    byte_buffer_put_text(&text, BEHIND_TASKS);
    return byte_buffer_take(&text);
}

static bool require(Config *config, Error *error) {
    return evaluation_require(config, error) &&
           (config->eval.answers ||
            (config_require_model(config, error) && trained_weights_settle(config, error)));
}

static bool check(const EvalArguments *arguments, Error *error) {
    bool compares = arguments->compare[0] != NULL;
    if (compares &&
        (arguments->job.config || arguments->job.settings.count || arguments->job.processes))
        return error_set(error, "--compare reads what evaluations left; it takes no configuration");
    if (!compares && arguments->as_json)
        return error_set(error, "--json goes with --compare; results.json is JSON in any case");
    return compares || arguments->job.config ||
           error_set(error, "CONFIG is missing; 'difflmm eval --help' explains");
}

int command_eval(int argc, char **argv) {
    static const Job JOB = {&line, require, evaluation_run};
    EvalArguments arguments = {0};
    Error error = {0};
    char *description = describe_tasks();
    line.description = description;
    if (command_gives_help(&line, argc, argv)) {
        free(description);
        return EXIT_DONE;
    }
    bool is_right =
        arguments_parse(&line, argc, argv, &arguments, &error) && check(&arguments, &error);
    int exit_code;
    if (is_right && arguments.compare[0])
        exit_code = evaluation_compare(arguments.compare[0], arguments.compare[1],
                                       arguments.as_json, stdout, &error)
                        ? EXIT_DONE
                        : command_refuse("eval", &error, EXIT_FAILED);
    else
        exit_code = job_run(&JOB, is_right ? &arguments.job : NULL, argc, argv, &error);
    arguments_free(&line, &arguments);
    line.description = "";
    free(description);
    return exit_code;
}
