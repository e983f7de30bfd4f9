// difflmm sweep: cells that differ in some keys, trained, evaluated and compared.
#include "autograd/output/output_folder.h"
#include "train/command.h"
#include "train/group/launched.h"
#include "train/group/process_group.h"
#include "train/sweep/sweep_print.h"
#include "train/sweep/sweep_result.h"
#include "train/sweep/sweep_run.h"

#include <stdio.h>
#include <stdlib.h>

enum { MOST_PROCESSES = 4096 };

typedef struct SweepArguments {
    const char *config;
    int64_t processes, at_once;
    bool is_dry, is_table;
    ArgumentList settings;
} SweepArguments;

static const Argument ARGUMENTS[] = {
    CONFIG_ARGUMENT(SweepArguments),
    SETTINGS_ARGUMENT(SweepArguments),
    {"--processes", "N", "as many processes on this machine, each with its share of cores and GPUs",
     ARGUMENT_INTEGER, INTO(SweepArguments, processes), .minimum = 1, .maximum = MOST_PROCESSES},
    {"--at-once", "K", "K trainings or evaluations at a time, of N/K processes each; else N of one",
     ARGUMENT_INTEGER, INTO(SweepArguments, at_once), .minimum = 1, .maximum = MOST_PROCESSES},
    {"--dry-run", NULL,
     "runs nothing: lists the cells, what they share, what is done, disk and time", ARGUMENT_FLAG,
     INTO(SweepArguments, is_dry)},
    {"--table", NULL, "runs nothing: writes and prints the table of what is done so far",
     ARGUMENT_FLAG, INTO(SweepArguments, is_table)},
    {0}};

static const CommandLine LINE = {
    "sweep",
    "Trains and evaluates every cell of the section 'sweep' of CONFIG, and puts them in one table. "
    "'difflmm config sweep' explains the section; all other sections are the configuration of the "
    "evaluation. Settings of a cell that are not eval.* are those of its training, too.\n"
    "\n"
    "What cells have in common is done once: trainings with the same settings, and questions that "
    "differ only in what is made of the answers (layers, heads, normalisation, aggregation, "
    "segmenter, ...). Each training and evaluation is a process of its own, 'difflmm train' or "
    "'difflmm eval', whose words go to a log. One that fails is told, and the rest goes on; the "
    "same command tries it again.\n"
    "\n"
    "Stopped (Ctrl-C, SIGTERM) or killed at any instant, the same command goes on where it was. "
    "What is done is known by what it is (settings, content of checkpoints and annotations), not "
    "by its name: variants can be renamed, values added, removed and put in another order.\n"
    "\n"
    "sweep.output_dir receives table.csv, table.json, table.md (Markdown) and index.html (figures "
    "with intervals, differences to sweep.base, plots over numeric keys), trainings/, answers/, "
    "evaluations/ (a folder of each, as train and eval leave it) and jobs/ (configuration and log "
    "of each).\n"
    "\n"
    "Several processes, which change nothing in the results:\n"
    "  difflmm sweep CONFIG --processes 8                 8 cells at a time on this machine\n"
    "  difflmm sweep CONFIG --processes 8 --at-once 2     2 at a time, of 4 processes each\n"
    "  mpirun -n 8 difflmm sweep CONFIG                   8 cells at a time\n"
    "  srun -n 8 difflmm sweep CONFIG                     the same, on any machines that share the "
    "folder\n"
    "  difflmm sweep CONFIG                               started once more beside one that runs: "
    "they share the rest\n"
    "  sweep.launch: [srun, -n, 8, --mpi=pmix, --exact]   each cell as such a step, --at-once K of "
    "them\n"
    "\n"
    "Exit codes: 0 every cell has a result, 1 one has not, or it was stopped, 2 bad "
    "configuration.\n",
    ARGUMENTS,
    "  difflmm sweep configs/tiny/sweep.yaml --dry-run\n"
    "  difflmm sweep configs/tiny/sweep.yaml --processes 2\n"
    "  difflmm sweep configs/tiny/sweep.yaml sweep.output_dir=runs/mine training.max_steps=50\n"
    "  difflmm config sweep                               what the section may hold\n"};

/// Fills in how many jobs run at once, and on what.
static bool find_shares(const SweepArguments *arguments, const SweepSection *section, SweepRun *run,
                        Error *error) {
    const bool is_launching = section->launch.count > 0;
    int at_once = (int)(arguments->at_once     ? arguments->at_once
                        : arguments->processes ? arguments->processes
                                               : 1),
        processes = arguments->processes ? (int)arguments->processes : at_once;
    if (is_launching) processes = at_once; // as many as its words say, of each
    LaunchedPlace place = {0, 0, 1};
    const bool is_launched = process_group_is_launched();
    if (is_launched) place = launched_place();
    if (is_launched && (arguments->processes || arguments->at_once))
        return error_set(error, "--processes and --at-once are of one machine, and this process "
                                "was started by mpirun or srun already; leave one of them out");
    if (is_launching && (is_launched || arguments->processes))
        return error_set(error, "sweep.launch starts the processes of a cell; leave it or "
                                "--processes (or mpirun, srun) out");
    if (processes % at_once)
        return error_set(error, "--processes %d cannot be shared out to --at-once %d", processes,
                         at_once);
    *run = (SweepRun){.at_once = at_once,
                      .processes = processes / at_once,
                      .first_slot = place.local_rank,
                      .slots = at_once * place.local_count,
                      .out = place.rank == 0 ? stderr : NULL};
    return true;
}

static bool write_table(const SweepJobs *jobs, Error *error) {
    int missing = 0;
    return sweep_result_write(jobs, stdout, &missing, error) &&
           (!missing ||
            error_set(error,
                      "%d of %d cells have no result (see above, and the logs in %s/jobs); the "
                      "same command tries them again",
                      missing, jobs->cells->count, jobs->section->output_dir));
}

/// Everything that is not done; then, in the first of several processes, the table.
static int run_jobs(SweepJobs *jobs, const SweepRun *run, Error *error) {
    OutputFolder folder = {0};
    bool ok = output_folder_make(&folder, jobs->section->output_dir, error) &&
              sweep_run(jobs, run, error) && (!run->out || write_table(jobs, error));
    output_folder_close(&folder, !ok);
    return ok ? EXIT_DONE : command_refuse("sweep", error, EXIT_FAILED);
}

/// Of what is done, which others may be adding to.
static int show_table(const SweepJobs *jobs, Error *error) {
    int missing = 0;
    if (!sweep_result_write(jobs, stdout, &missing, error))
        return command_refuse("sweep", error, EXIT_FAILED);
    return EXIT_DONE;
}

/// What is wrong with the configuration, and so in every process; the first one says it.
static int refuse(const Error *error) {
    const bool is_first = !process_group_is_launched() || launched_place().rank == 0;
    return is_first ? command_refuse("sweep", error, EXIT_USAGE) : EXIT_USAGE;
}

static int sweep(const SweepArguments *arguments, SweepJobs *jobs, SweepSection **section,
                 SweepCells **cells, Error *error) {
    const ArgumentList *settings = &arguments->settings;
    SweepRun run;
    *section = sweep_section_read(arguments->config, settings->values, settings->count, error);
    *cells = *section ? sweep_cells_make(*section, error) : NULL;
    if (!*cells || !find_shares(arguments, *section, &run, error) ||
        !sweep_jobs_make(jobs, *section, *cells, settings->values, settings->count, error))
        return refuse(error);
    if (arguments->is_table) return show_table(jobs, error);
    if (!arguments->is_dry) return run_jobs(jobs, &run, error);
    sweep_print(jobs, run.slots, stdout);
    return EXIT_DONE;
}

int command_sweep(int argc, char **argv) {
    SweepArguments arguments = {0};
    SweepJobs jobs = {0};
    SweepSection *section = NULL;
    SweepCells *cells = NULL;
    Error error = {0};
    int exit_code;
    if (!command_begin(&LINE, argc, argv, &arguments, &exit_code)) return exit_code;
    exit_code = sweep(&arguments, &jobs, &section, &cells, &error);
    sweep_jobs_free(&jobs);
    sweep_cells_free(cells);
    sweep_section_free(section);
    arguments_free(&LINE, &arguments);
    return exit_code;
}
