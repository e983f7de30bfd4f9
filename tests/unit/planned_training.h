/// Trainings of the tiny world, and their plans, for test_plan*.c.
#pragma once
#include "data/tiny/world.h"
#include "ops/kernels.h"
#include "tests/unit/temporary_folder.h"
#include "train/plan/plan.h"
#include "train/trainer/trainer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define TINY SOURCE_DIR "/checkpoints/tiny"
enum { MOST_SETTINGS = 48 };

/// A configuration of these settings on top of what all tests share.
static inline Config *configure(const char *const *settings) {
    static char shared[4][320];
    snprintf(shared[0], sizeof shared[0], "data.train=%s/world/train/llava_v1_5_mix665k.json",
             temporary_folder);
    snprintf(shared[1], sizeof shared[1], "data.image_folder=%s/world/train", temporary_folder);
    snprintf(shared[2], sizeof shared[2], "training.output_dir=%s/run", temporary_folder);
    const char *overrides[MOST_SETTINGS] = {"model.sd=" TINY "/sd",
                                            "model.vision_tower=" TINY "/clip",
                                            "model.llm=" TINY "/llm",
                                            "data.image_size=128",
                                            "data.model_max_length=512",
                                            "data.image_aspect_ratio=pad",
                                            "training.device=cpu",
                                            "training.threads=2",
                                            "training.logging_steps=1000",
                                            "training.max_steps=1",
                                            "training.tensorboard=false",
                                            "lora.lora_r=32",
                                            "lora.lora_alpha=64",
                                            shared[0],
                                            shared[1],
                                            shared[2]};
    int count = 16;
    while (*settings) overrides[count++] = *settings++;
    Error error = {0};
    Config *config = config_load(NULL, overrides, count, &error);
    if (!config) fail_msg("%s", error.message);
    return config;
}

/// The plan of a job that can run.
static inline Plan *plan_of(const Config *config) {
    Plan *plan = plan_make(config, &(PlanOptions){.processes = 1});
    if (plan->problem_count) fail_msg("%s", plan->problems[0].message);
    return plan;
}

/// Runs the training.
static inline void train(const Config *config) {
    Error error = {0};
    ProcessGroup *alone = process_group_open(60, &error);
    if (!alone || !trainer_run(config, alone, &error)) fail_msg("%s", error.message);
    process_group_close(alone);
}

/// Removes its folder.
static inline void remove_run(void) {
    char command[160];
    snprintf(command, sizeof command, "rm -rf %s/run", temporary_folder);
    assert_int_equal(system(command), 0);
}

#define SETTINGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/// A fixture of all tests: a folder with a tiny world in it.
static inline int make_world(void **state) {
    Error error = {0};
    if (make_temporary_folder(state) != 0) return -1;
    WorldOptions options = {.seed = 5, .num_train = 40, .num_test = 12};
    ops_cpu_open(2);
    if (world_write(in_folder("world"), &options, &error)) return 0;
    print_error("%s\n", error.message);
    return -1;
}
