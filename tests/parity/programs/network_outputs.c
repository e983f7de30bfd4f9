// Runs one network of a published model directory on given inputs and writes what its blocks and
// the whole give, for comparison with the reference implementation (full_size_*.py).
//
//   network_outputs KIND FOLDER INPUTS OUTPUTS [dtype=float32|bfloat16] [device=cpu|cuda]
//   [threads=N] [block=N] [timestep=N] [repeat=N]
//                   [clock=wall|processor]
//
// INPUTS and OUTPUTS are safetensors, images channels last. A block's output is called as the
// reference calls the module; the rest as the kind says. Prints one line of JSON for each
// repetition: seconds of forward and backward; the first also of loading. clock=processor counts
// the seconds of all threads, for a machine that others use as well.
#include "tests/parity/programs/network_outputs.h"

#include "checkpoints/safetensors.h"
#include "models/block_output.h"
#include "ops/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

typedef struct KeptOutput {
    char *name;
    /// its data are float32 and its own
    SafetensorsTensor tensor;
    int64_t shape[MAX_RANK];
} KeptOutput;

struct Run {
    SafetensorsFile *inputs;
    char **options;
    int num_options;
    /// the repetition whose outputs are written
    bool keeps;
    KeptOutput *outputs;
    int64_t num_outputs;
    clockid_t clock;
    double before, seconds[RUN_PHASES];
};

static void stop(const char *message) {
    fprintf(stderr, "network_outputs: %s\n", message);
    exit(1);
}

// ---- what a kind asks for

const char *run_option(const Run *run, const char *key, const char *fallback) {
    size_t length = strlen(key);
    for (int i = 0; i < run->num_options; i++)
        if (!strncmp(run->options[i], key, length) && run->options[i][length] == '=')
            return run->options[i] + length + 1;
    return fallback;
}

int run_option_int(const Run *run, const char *key, int fallback) {
    const char *text = run_option(run, key, NULL);
    return text ? atoi(text) : fallback;
}

bool run_has_input(const Run *run, const char *name) {
    return safetensors_find(run->inputs, name) != NULL;
}

static const StoredTensor *input(const Run *run, const char *name, ElementType type) {
    const StoredTensor *entry = safetensors_find(run->inputs, name);
    if (!entry || entry->type != type || entry->rank > MAX_RANK || !entry->aligned) {
        char message[256];
        snprintf(message, sizeof message, "there is no input '%s' of type %s", name,
                 element_name(type));
        stop(message);
    }
    return entry;
}

Tensor *run_input(const Run *run, Device *device, const char *name) {
    const StoredTensor *entry = input(run, name, ELEMENT_F32);
    return tensor_from_host(device, FLOAT32, entry->rank, entry->shape, entry->data);
}

const int32_t *run_input_ids(const Run *run, const char *name, int64_t *batch, int64_t *length) {
    const StoredTensor *entry = input(run, name, ELEMENT_I32);
    if (entry->rank != 2) stop("token ids are [batch, length]");
    *batch = entry->shape[0];
    *length = entry->shape[1];
    return entry->data;
}

// ---- what it gives

void run_output(Run *run, const char *name, const Tensor *x) {
    if (!run->keeps) return;
    run->outputs =
        checked_realloc(run->outputs, (size_t)(run->num_outputs + 1) * sizeof *run->outputs);
    KeptOutput *output = &run->outputs[run->num_outputs++];
    float *values = checked_malloc((size_t)tensor_numel(x) * sizeof *values);
    tensor_to_host_float(x, values);
    memcpy(output->shape, x->shape, sizeof output->shape);
    output->name = checked_strdup(name);
    output->tensor = (SafetensorsTensor){.type = ELEMENT_F32, .rank = x->rank, .data = values};
}

static void keep_block(const char *name, const Tensor *x, void *context) {
    run_output(context, name, x);
}

static double seconds_now(const Run *run) {
    struct timespec now;
    clock_gettime(run->clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void run_phase(Run *run, Device *device, RunPhase phase) {
    device->synchronize(device);
    double now = seconds_now(run);
    run->seconds[phase] = now - run->before;
    run->before = now;
}

static bool write_outputs(const Run *run, const char *path, Error *error) {
    SafetensorsTensor *tensors = checked_calloc((size_t)run->num_outputs + 1, sizeof *tensors);
    for (int64_t i = 0; i < run->num_outputs; i++) {
        tensors[i] = run->outputs[i].tensor;
        tensors[i].name = run->outputs[i].name;
        tensors[i].shape = run->outputs[i].shape;
    }
    bool written = safetensors_write(path, tensors, run->num_outputs, NULL, 0, error);
    free(tensors);
    return written;
}

static void release_outputs(Run *run) {
    for (int64_t i = 0; i < run->num_outputs; i++) {
        free(run->outputs[i].name);
        free((void *)run->outputs[i].tensor.data);
    }
    free(run->outputs);
}

// ---- running

static const NetworkKind *find_kind(const char *name) {
    static const NetworkKind *const tables[] = {vision_networks, language_networks, sam_networks};
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const NetworkKind *kind = tables[t]; kind->name; kind++)
            if (!strcmp(kind->name, name)) return kind;
    return NULL;
}

static void print_repetition(const Run *run, int repetition) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{");
    if (repetition == 0) printf("\"load\": %.3f, ", run->seconds[RUN_LOAD]);
    printf("\"forward\": %.4f, \"backward\": %.4f, \"resident_mib\": %ld}\n",
           run->seconds[RUN_FORWARD], run->seconds[RUN_BACKWARD], usage.ru_maxrss / 1024);
    fflush(stdout);
}

/// Outputs of the first repetition are kept; the others, to which nothing listens, are the ones to
/// time.
static bool run_network(const NetworkKind *kind, const char *folder, Run *run, Device *device,
                        Error *error) {
    const char *dtype = run_option(run, "dtype", "float32");
    int repetitions = run_option_int(run, "repeat", 1);
    bool processor = !strcmp(run_option(run, "clock", "wall"), "processor");
    run->clock = processor ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
    run->before = seconds_now(run);
    void *network =
        kind->load(run, folder, device, !strcmp(dtype, "bfloat16") ? BFLOAT16 : FLOAT32, error);
    if (!network) return false;
    run_phase(run, device, RUN_LOAD);
    for (int i = 0; i < repetitions; i++) {
        run->keeps = i == 0;
        block_output_listen(run->keeps ? keep_block : NULL, run);
        run->seconds[RUN_BACKWARD] = 0;
        scope_begin();
        run->before = seconds_now(run);
        kind->run(run, network);
        scope_end();
        print_repetition(run, i);
    }
    block_output_listen(NULL, NULL);
    kind->release(network);
    return true;
}

static Device *open_device(const Run *run) {
    const char *name = run_option(run, "device", "cpu");
    Error error = {0};
    Device *device = NULL;
    if (!strcmp(name, "cpu")) device = ops_cpu_open(run_option_int(run, "threads", 0));
    if (!strcmp(name, "cuda")) device = ops_cuda_open(0, &error);
    if (!device) stop(*error.message ? error.message : "the device is cpu or cuda");
    return device;
}

int main(int argc, char **argv) {
    enum { FIXED = 5 };
    const NetworkKind *kind = argc >= FIXED ? find_kind(argv[1]) : NULL;
    if (!kind) {
        fprintf(stderr, "usage: network_outputs KIND FOLDER INPUTS OUTPUTS [key=value ...]\n");
        return 2;
    }
    Run run = {.options = argv + FIXED, .num_options = argc - FIXED};
    Error error = {0};
    run.inputs = safetensors_open(argv[3], &error);
    if (!run.inputs) stop(error.message);
    if (!run_network(kind, argv[2], &run, open_device(&run), &error)) stop(error.message);
    if (!write_outputs(&run, argv[4], &error)) stop(error.message);
    release_outputs(&run);
    safetensors_close(run.inputs);
    return 0;
}
