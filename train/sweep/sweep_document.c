// What the section may hold, as a YAML document that people start from.
#include "train/sweep/sweep_section.h"

const SweepKey SWEEP_KEYS[] = {
    {"output_dir", "folder for all of it: trainings/, answers/, evaluations/, and the table",
     "runs/my-sweep"},
    {"train",
     "configurations of the training stages that make a cell's checkpoint, in their order; each\n"
     "goes on from the one before (model.adapters). Cells that are trained alike share a "
     "training.\n"
     "Without it, and for cells that set eval.checkpoint, what is named there is evaluated",
     "[stage1.yaml, stage2.yaml]"},
    {"each_stage",
     "true: what each stage has trained is evaluated, in tables of its own; false: the last alone",
     "true"},
    {"evaluations",
     "configurations of whose section 'eval' the keys that are set are taken, over this file's: "
     "every\n"
     "cell is evaluated as each of them says, in tables of their own, called as the files",
     "[points.yaml, gcg.yaml]"},
    {"settings", "keys of every cell, in training (but eval.*) and evaluation",
     "{training.max_steps: 200}"},
    {"evaluation_only", "keys that cells set in their evaluation, and not in their training",
     "[model.timestep, model.ensemble_size]"},
    {"variants", "named sets of keys: ablations. {} is the configuration as it is",
     "{as_trained: {}, clip_only: {model.architecture: llava}}"},
    {"grid",
     "keys and the values that they take, every combination; values of lists are lists, and\n"
     "eval.checkpoint: runs/x/* takes every checkpoint of a run",
     "{eval.layers: [[0], [1], [0, 1]], eval.normalise: [true, false]}"},
    {"zip", "the same, of lists that go together, value by value",
     "{training.seed: [1, 2, 3], eval.seed: [1, 2, 3]}"},
    {"base", "cell, or variant, that the others are compared with; else the first", "as_trained"},
    {"sort_by", "figure by which the table is sorted, the best first; else in the cells' order",
     "point_accuracy"},
    {"headline",
     "figures that are put together in one table over all evaluations, in front of theirs: by the\n"
     "evaluation (or the task, where there are no 'evaluations')",
     "{points: [point_accuracy], gcg: [mask_recall_by_words, cider]}"},
    {"launch",
     "words in front of the command of every training and evaluation: shares of one over machines",
     "[srun, -n, 8, --mpi=pmix, --exact]"},
    {0}};

static void print_comment(FILE *out, const char *text) {
    fputs("  # ", out);
    for (; *text; text++) {
        fputc(*text, out);
        if (*text == '\n') fputs("  # ", out);
    }
    fputc('\n', out);
}

void sweep_section_document(FILE *out) {
    fputs("# cells that differ in some keys, trained and evaluated by 'difflmm sweep'; all other\n"
          "# sections of the file are the configuration of their evaluation\n"
          "sweep:\n",
          out);
    for (const SweepKey *key = SWEEP_KEYS; key->name; key++) {
        if (key != SWEEP_KEYS) fputc('\n', out);
        print_comment(out, key->doc);
        fprintf(out, "  %s: %s\n", key->name, key->example);
    }
}
