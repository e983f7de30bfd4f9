// The same training on 1, 2, 3 and 4 processes, through the program itself: the same global batches
// of 12 give the same losses and weights up to rounding, however they are cut; the same cut gives
// the same bits.
//
// The data have text-only batches, batches that not every rank gets a sample of, and a damaged
// image that is left out.
//
// What rounding may do is measured: one process adds the same numbers in other orders when it cuts
// its batch otherwise. Those runs are held against a bound from float32's rounding, and all runs
// against them.
#include "data/tiny/world.h"
#include "tests/faults/checkpoint_difference.h"
#include "tests/unit/temporary_folder.h"
#include "train/log/metrics.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/// Of stage 2 the first is text alone, and the last has a sample for two of the ranks.
enum { STEPS = 4, TEXTS = 14, GLOBAL_BATCH = 12 };

/// With these budgets an epoch of four rows a step has at most STEPS steps.
enum { STAGE_1_TOKENS = 350, STAGE_2_TOKENS = 600 };

/// How a global batch is cut.
typedef struct Cut {
    int processes, micro_batch, accumulation;
    bool shard;
} Cut;

#define TINY SOURCE_DIR "/checkpoints/tiny"

/// AdamW with an epsilon far above the gradients is momentum descent, through which a relative
/// error passes unchanged. With a small one the first steps are the gradients' signs: where a
/// gradient is nothing but rounding, so is its sign.
static const char SHARED[] =
    "model.sd=" TINY "/sd model.vision_tower=" TINY "/clip model.llm=" TINY "/llm "
    "model.dtype=float32 data.image_size=128 data.model_max_length=160 data.missing_image=skip "
    "data.group_by_modality_length=true lora.lora_r=4 lora.lora_alpha=8 lora.lora_dropout=0.1 "
    "training.threads=1 training.tensorboard=false training.save_steps=1 "
    "training.save_total_limit=0 training.max_steps=4 training.warmup_ratio=0 "
    "training.lr_scheduler_type=constant training.learning_rate=0.3 training.adam_epsilon=0.1 "
    "training.distributed_timeout=60";

static const char *stage_settings(int stage) {
    return stage == 1 ? "data.version=plain" : "data.image_aspect_ratio=pad lora.lora_enable=true";
}

/// A run, in the folder of that name.
typedef struct Training {
    char name[64];
    int stage;
    Cut cut;
    /// data.tokens_per_batch: 0, or of a micro-batch in place of `micro_batch` samples
    int tokens;
    pid_t process;
} Training;

/// Begins to train on a device, by the program that has it.
static void begin_on(const char *device, const char *program, Training *training) {
    char command[4096];
    const char *name = training->name;
    int stage = training->stage;
    Cut cut = training->cut;
    const char *data =
        stage == 1 ? "world/train/blip_laion_cc_sbu_558k.json" : "conversations.json";
    int used =
        snprintf(command, sizeof command,
                 "cd '%s' && '%s' train empty.yaml training.device=%s %s %s data.train=%s "
                 "data.image_folder=world/train training.output_dir=%s "
                 "training.per_device_train_batch_size=%d "
                 "training.gradient_accumulation_steps=%d training.shard_optimizer=%s "
                 "data.tokens_per_batch=%d",
                 temporary_folder, program, device, SHARED, stage_settings(stage), data, name,
                 cut.micro_batch, cut.accumulation, cut.shard ? "true" : "false", training->tokens);
    if (cut.processes > 1)
        used += snprintf(command + used, sizeof command - (size_t)used, " --processes %d",
                         cut.processes);
    snprintf(command + used, sizeof command - (size_t)used, " >%s.log 2>&1", name);
    training->process = fork();
    assert_true(training->process >= 0);
    if (training->process) return;
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

static void wait_for(const Training *training) {
    int status;
    char command[512];
    assert_int_equal(waitpid(training->process, &status, 0), training->process);
    if (status == 0) return;
    snprintf(command, sizeof command, "cat '%s/%s.log' >&2", temporary_folder, training->name);
    if (system(command) == 0) fail_msg("%s: status %d", training->name, status);
}

/// Two at a time: while one starts, the other computes.
static void train_all(Training *trainings, int count) {
    for (int i = 0; i <= count; i++) {
        if (i < count) begin_on("cpu", DIFFLMM_BINARY, &trainings[i]);
        if (i > 0) wait_for(&trainings[i - 1]);
    }
}

static Training training_of(int stage, Cut cut, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static Training training_of(int stage, Cut cut, const char *format, ...) {
    Training training = {.stage = stage, .cut = cut};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(training.name, sizeof training.name, format, arguments);
    va_end(arguments);
    return training;
}

static const char *checkpoint(const char *run, int step) {
    char name[128];
    snprintf(name, sizeof name, "%s/checkpoint-%d.h5", run, step);
    return in_folder(name);
}

static CheckpointDifference difference(const char *a, const char *b, const char *prefix) {
    Error error;
    CheckpointDifference found;
    if (!checkpoint_difference(a, b, prefix, &found, &error)) fail_msg("%s", error.message);
    return found;
}

static void assert_same_bits(const char *a, const char *b, int step) {
    static const char *const parts[] = {"weights/", "optimizer/"};
    for (int i = 0; i < 2; i++)
        assert_int_equal(difference(checkpoint(a, step), checkpoint(b, step), parts[i]).unequal, 0);
}

// ---- how far two runs are apart

typedef struct Distance {
    /// the largest of any step, relative
    double loss;
    /// of the first step's mean gradient, relative in the norm
    double gradient;
    /// of the last weights, in the norm, relative to how far training moved them
    double weights;
} Distance;

static double loss_distance(const char *a, const char *b) {
    const char *runs[] = {a, b};
    double losses[2][STEPS], largest = 0;
    for (int i = 0; i < 2; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s/metrics.jsonl", runs[i]);
        Error error;
        MetricsLog *log = metrics_load(in_folder(name), &error);
        if (!log) fail_msg("%s", error.message);
        MetricSeries series = metrics_series(log, "train", "loss");
        assert_int_equal(series.count, STEPS);
        memcpy(losses[i], series.values, sizeof losses[i]);
        metric_series_free(&series);
        metrics_log_free(log);
    }
    for (int k = 0; k < STEPS; k++)
        largest = fmax(largest, fabs(losses[1][k] - losses[0][k]) / losses[0][k]);
    return largest;
}

/// Of the last weights, relative to how far `a` moved them.
static double weight_distance(const char *a, const char *b) {
    CheckpointDifference last = difference(checkpoint(a, STEPS), checkpoint(b, STEPS), "weights/"),
                         moved = difference(checkpoint(a, 1), checkpoint(a, STEPS), "weights/");
    assert_true(moved.distance > 1e-3 * moved.size); // training has changed something
    return last.distance / moved.distance;
}

static Distance distance_between(const char *a, const char *b) {
    CheckpointDifference first =
        difference(checkpoint(a, 1), checkpoint(b, 1), "optimizer/exp_avg/");
    return (Distance){.loss = loss_distance(a, b),
                      .gradient = first.distance / first.size,
                      .weights = weight_distance(a, b)};
}

static Distance larger(Distance a, Distance b) {
    return (Distance){fmax(a.loss, b.loss), fmax(a.gradient, b.gradient),
                      fmax(a.weights, b.weights)};
}

static void say(const char *what, Distance distance) {
    print_message("%-28s loss %.1e  gradient %.1e  weights %.1e\n", what, distance.loss,
                  distance.gradient, distance.weights);
}

static void assert_within(Distance distance, Distance allowed) {
    assert_true(distance.loss <= allowed.loss);
    assert_true(distance.gradient <= allowed.gradient);
    assert_true(distance.weights <= allowed.weights);
}

/// What float32 allows: a value that has gone through LAYERS roundings, each of a sum of at most
/// TERMS products, of independent errors that add up as squares, in both runs; a gradient goes
/// through twice as many. Each step adds its error to the weights, and what these differ by adds to
/// the next step's no more than a pass does.
static Distance rounding_bound(void) {
    enum { TERMS = 9 * 96, LAYERS = 36 + 44 + 180 + 8 + 47 }; // CLIP, VAE, U-Net, projector, LLM
    double value = sqrt(TERMS) * 0x1p-24 * sqrt(2 * LAYERS), gradient = value * sqrt(2);
    return (Distance){STEPS * value, gradient, STEPS * gradient};
}

// ---- tests

enum { ALONE = 4, SHARED_OUT = 6 };

static void any_cut_of_the_global_batch_gives_the_same_training(int stage) {
    // The first is what all are held against.
    static const Cut alone[ALONE] = {
        {1, 12, 1, false}, {1, 4, 3, false}, {1, 3, 4, false}, {1, 1, 12, false}};
    static const Cut shared[SHARED_OUT] = {{2, 6, 1, false}, {2, 2, 3, false}, {3, 4, 1, false},
                                           {3, 1, 4, false}, {4, 3, 1, false}, {4, 1, 3, true}};
    Training trainings[ALONE + SHARED_OUT];
    Distance control = {0}, most = {0};
    for (int i = 0; i < ALONE; i++)
        trainings[i] = training_of(stage, alone[i], "alone-%d-%d", stage, i);
    for (int i = 0; i < SHARED_OUT; i++)
        trainings[ALONE + i] = training_of(stage, shared[i], "%d-processes-%d-%d",
                                           shared[i].processes, shared[i].micro_batch, stage);
    train_all(trainings, ALONE + SHARED_OUT);
    const char *reference = trainings[0].name;
    for (int i = 1; i < ALONE; i++)
        control = larger(control, distance_between(reference, trainings[i].name));
    say("one process, cut otherwise", control);
    say("allowed by rounding", rounding_bound());
    assert_within(control, rounding_bound());
    for (int i = ALONE; i < ALONE + SHARED_OUT; i++) {
        Distance distance = distance_between(reference, trainings[i].name);
        say(trainings[i].name, distance);
        most = larger(most, distance);
    }
    // Errors of the same kind and size: the largest of so few is no more than a few times the
    // largest of fewer.
    Distance allowed = {4 * control.loss, 4 * control.gradient, 4 * control.weights};
    assert_within(most, allowed);
}

static void stage_1_is_the_same_on_any_number_of_processes(void **state) {
    (void)state;
    any_cut_of_the_global_batch_gives_the_same_training(1);
}

static void stage_2_is_the_same_on_any_number_of_processes(void **state) {
    (void)state;
    any_cut_of_the_global_batch_gives_the_same_training(2);
}

/// Rows of a budget, among them those of each kind's last step, whose samples are spread over all.
static void rows_of_a_budget_give_the_same_training(int stage, int tokens) {
    enum { CUTS = 4 };
    static const Cut cuts[CUTS] = {
        {1, 1, 4, false}, {2, 1, 2, false}, {4, 1, 1, false}, {4, 1, 1, true}};
    Training trainings[CUTS];
    for (int i = 0; i < CUTS; i++) {
        trainings[i] = training_of(stage, cuts[i], "rows-%d-%d", stage, i);
        trainings[i].tokens = tokens;
    }
    train_all(trainings, CUTS);
    for (int i = 1; i < CUTS; i++) {
        Distance distance = distance_between(trainings[0].name, trainings[i].name);
        say(trainings[i].name, distance);
        assert_within(distance, rounding_bound());
    }
    assert_same_bits(trainings[2].name, trainings[3].name, STEPS);
}

static void rows_of_a_budget_are_the_same_on_any_number_of_processes(void **state) {
    (void)state;
    rows_of_a_budget_give_the_same_training(1, STAGE_1_TOKENS);
    rows_of_a_budget_give_the_same_training(2, STAGE_2_TOKENS);
}

static void the_same_number_of_processes_gives_the_same_bits_sharded_or_not(void **state) {
    (void)state;
    Training trainings[] = {training_of(2, (Cut){3, 4, 1, false}, "twice"),
                            training_of(2, (Cut){3, 4, 1, true}, "sharded")};
    train_all(trainings, 2);
    assert_same_bits("3-processes-4-2", "twice", STEPS);
    for (int step = 1; step <= STEPS; step++) assert_same_bits("3-processes-4-2", "sharded", step);
}

static void copy_checkpoint(const char *from, const char *to, int step) {
    assert_int_equal(mkdir(in_folder(to), 0777), 0);
    assert_int_equal(link(checkpoint(from, step), checkpoint(to, step)), 0);
    char command[512]; // and the losses up to it
    snprintf(command, sizeof command, "head -n %d '%s/%s/metrics.jsonl' > '%s/%s/metrics.jsonl'",
             step, temporary_folder, from, temporary_folder, to);
    assert_int_equal(system(command), 0);
}

static void a_sharded_checkpoint_goes_on_anywhere(void **state) {
    (void)state;
    enum { CUTS = 5 };
    static const Cut cuts[CUTS] = {
        {3, 4, 1, true}, {3, 4, 1, false}, {2, 6, 1, true}, {4, 3, 1, true}, {1, 12, 1, false}};
    Training trainings[CUTS];
    for (int i = 0; i < CUTS; i++) {
        trainings[i] = training_of(2, cuts[i], "resumed-%d", i);
        copy_checkpoint("sharded", trainings[i].name, 2);
    }
    train_all(trainings, CUTS);
    for (int i = 0; i < CUTS; i++) {
        const char *name = trainings[i].name;
        if (cuts[i].processes == 3) {
            assert_same_bits("sharded", name, STEPS);
            continue;
        }
        Distance distance = {.loss = loss_distance("sharded", name),
                             .weights = weight_distance("sharded", name)};
        say(name, distance);
        assert_within(distance, rounding_bound());
    }
}

#ifdef DIFFLMM_ON_CPU_BINARY
/// GPUs, executed on the host, whose gradients NCCL sums: as one processor does, up to rounding.
static void gpus_train_as_one_processor_does(void **state) {
    (void)state;
    static const Cut cuts[] = {{2, 6, 1, false}, {3, 4, 1, true}};
    setenv("CUDA_ON_CPU_DEVICES", "3", 1);
    for (int i = 0; i < 2; i++) {
        Training training = training_of(2, cuts[i], "gpus-%d", cuts[i].processes);
        begin_on("cuda", DIFFLMM_ON_CPU_BINARY, &training);
        wait_for(&training);
        Distance distance = distance_between("alone-2-0", training.name);
        say(training.name, distance);
        assert_within(distance, rounding_bound());
    }
}

/// Where the GPU's memory of the host ends with what copies are staged through: batches are then in
/// ordinary memory, which each process says once.
static void batches_that_cannot_be_pinned_give_the_same_bits(void **state) {
    (void)state;
    Training training = training_of(2, (Cut){2, 6, 1, false}, "not-pinned");
    setenv("CUDA_ON_CPU_DEVICES", "2", 1);
    setenv("CUDA_ON_CPU_PINNED", "33554432", 1);
    begin_on("cuda", DIFFLMM_ON_CPU_BINARY, &training);
    unsetenv("CUDA_ON_CPU_PINNED");
    wait_for(&training);
    char command[512];
    const char *const logs[] = {"gpus-2", "not-pinned"};
    for (int i = 0; i < 2; i++) {
        snprintf(
            command, sizeof command,
            "test \"$(grep -c 'no memory for batches could be page-locked' '%s/%s.log')\" = %d",
            temporary_folder, logs[i], 2 * i);
        assert_int_equal(system(command), 0);
    }
    assert_same_bits(logs[0], logs[1], STEPS);
}

/// Before networks are read: there is none here to be read.
static void more_processes_than_gpus_are_refused_at_once(void **state) {
    (void)state;
    setenv("CUDA_ON_CPU_DEVICES", "2", 1);
    char command[4096];
    snprintf(command, sizeof command,
             "cd '%s' && '%s' train empty.yaml training.device=cuda %s model.llm=nowhere "
             "data.train=nowhere.json data.image_folder=. training.output_dir=crowded "
             "--processes 3 >crowded.log 2>&1",
             temporary_folder, DIFFLMM_ON_CPU_BINARY, SHARED);
    assert_int_equal(WEXITSTATUS(system(command)), 2);
    snprintf(command, sizeof command,
             "grep -q 'ranks 0 and 2 would compute on the same GPU, 0000:01:00.0 of .* 2 GPUs in "
             "all; start one process for each GPU (--processes 2)' '%s/crowded.log'",
             temporary_folder);
    assert_int_equal(system(command), 0);
}
#endif

// ---- the data

/// The world's conversations, and texts without an image.
static void write_conversations(void) {
    char *path = checked_strdup(in_folder("world/train/llava_v1_5_mix665k.json")), *text = NULL;
    FILE *in = fopen(path, "r"), *out = fopen(in_folder("conversations.json"), "w");
    size_t capacity = 0;
    assert_true(in && out);
    ssize_t length = getdelim(&text, &capacity, 0, in);
    assert_true(length > 0);
    *strrchr(text, ']') = 0;
    fputs(text, out);
    for (int i = 0; i < TEXTS; i++)
        fprintf(out,
                ", {\"id\": \"text-%d\", \"conversations\": [{\"from\": \"human\", \"value\": "
                "\"Is there a %s?\"}, {\"from\": \"gpt\", \"value\": \"There are %d.\"}]}",
                i, i % 2 ? "star" : "large blue ring", i);
    fputs("]\n", out);
    fclose(in);
    assert_int_equal(fclose(out), 0);
    free(text);
    free(path);
}

static int make_data(void **state) {
    Error error = {0};
    if (make_temporary_folder(state) != 0) return -1;
    WorldOptions options = {.seed = 5, .num_train = 20, .num_test = 2};
    if (!world_write(in_folder("world"), &options, &error)) {
        print_error("%s\n", error.message);
        return -1;
    }
    write_text("empty.yaml", "{}");
    write_conversations();
    return truncate(in_folder("world/train/images/000000000003.jpg"), 500);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stage_1_is_the_same_on_any_number_of_processes),
        cmocka_unit_test(stage_2_is_the_same_on_any_number_of_processes),
        cmocka_unit_test(rows_of_a_budget_are_the_same_on_any_number_of_processes),
        cmocka_unit_test(the_same_number_of_processes_gives_the_same_bits_sharded_or_not),
        cmocka_unit_test(a_sharded_checkpoint_goes_on_anywhere),
#ifdef DIFFLMM_ON_CPU_BINARY
        cmocka_unit_test(gpus_train_as_one_processor_does),
        cmocka_unit_test(batches_that_cannot_be_pinned_give_the_same_bits),
        cmocka_unit_test(more_processes_than_gpus_are_refused_at_once),
#endif
    };
    return cmocka_run_group_tests(tests, make_data, remove_temporary_folder);
}
