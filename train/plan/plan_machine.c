// What a job needs beside what the machine has.
#include "train/plan/plan_parts.h"

#include "ops/kernels.h"
#include "train/log/progress.h"
#include "train/plan/plan_device.h"

#include <dlfcn.h>
#include <stdlib.h>

/// what the driver and the product library keep for themselves, about
static const int64_t GPU_CONTEXT_BYTES = 600 << 20;
/// the program, its libraries and their own memory, about
static const int64_t PROGRAM_BYTES = 64 << 20;

/// A number in a file, or -1.
static int64_t read_number(const char *path, const char *format) {
    FILE *file = fopen(path, "r");
    char line[256];
    long long value = -1;
    while (file && fgets(line, sizeof line, file) && sscanf(line, format, &value) != 1) {}
    if (file) fclose(file);
    return value;
}

/// What this process could still get: of the machine, and of the container that it may be in.
static int64_t available_memory(void) {
    int64_t kibibytes = read_number("/proc/meminfo", "MemAvailable: %lld kB");
    int64_t available = kibibytes > 0 ? kibibytes << 10 : 0;
    int64_t limit = read_number("/sys/fs/cgroup/memory.max", "%lld"),
            used = read_number("/sys/fs/cgroup/memory.current", "%lld");
    if (limit > 0 && used >= 0 && limit - used < available) available = limit - used;
    return available;
}

/// The memory of the first GPU, asked of the driver without making use of the GPU; 0 if there is
/// none.
static int64_t gpu_memory(void) {
    void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    if (!driver) return 0;
    int (*initialize)(unsigned) = NULL, (*get)(int *, int) = NULL, (*total)(size_t *, int) = NULL;
    *(void **)&initialize = dlsym(driver, "cuInit");
    *(void **)&get = dlsym(driver, "cuDeviceGet");
    *(void **)&total = dlsym(driver, "cuDeviceTotalMem_v2");
    int gpu;
    size_t bytes = 0;
    bool ok = initialize && get && total && !initialize(0) && !get(&gpu, 0) && !total(&bytes, gpu);
    dlclose(driver);
    return ok ? (int64_t)bytes : 0;
}

void plan_machine(Plan *plan) {
    PlanMemory *memory = &plan->memory;
    memory->cuda = plan_wants_cuda(plan->config);
    memory->machine = available_memory();
    memory->gpu = gpu_memory();
    memory->processes_here = plan->options.processes;
    if (memory->cuda && ops_cuda_count() > 0 && memory->processes_here > ops_cuda_count())
        memory->processes_here = ops_cuda_count();
}

void plan_sum_memory(Plan *plan, Device *device) {
    PlanMemory *memory = &plan->memory;
    memory->known = true;
    memory->program = PROGRAM_BYTES;
    memory->prepared = device->bytes_prepared;
    // on a GPU given back when memory is short
    memory->kept = memory->cuda ? 0 : plan_device_held_peak(device) - memory->peak;
    memory->host = memory->program + memory->feature_cache + memory->loader + memory->snapshot +
                   memory->data_index + memory->answers;
    if (!memory->cuda) memory->host += memory->peak + memory->kept + memory->prepared;
}

void plan_check_fit(Plan *plan, const char *device_key, const char *host_key, const char *advice) {
    const PlanMemory *memory = &plan->memory;
    char *needed = format_bytes(memory->peak + GPU_CONTEXT_BYTES),
         *there = format_bytes(memory->gpu);
    if (memory->cuda && memory->gpu && memory->peak + GPU_CONTEXT_BYTES > memory->gpu)
        plan_refuse(plan, device_key, "a process needs %s of GPU memory, and a GPU has %s; %s",
                    needed, there, advice);
    free(needed);
    free(there);
    needed = format_bytes(memory->host * memory->processes_here);
    there = format_bytes(memory->machine);
    if (memory->machine && memory->host * memory->processes_here > memory->machine)
        plan_refuse(plan, host_key,
                    "%lld process%s on this machine need%s %s of its memory, and %s are available; "
                    "%s",
                    (long long)memory->processes_here, memory->processes_here == 1 ? "" : "es",
                    memory->processes_here == 1 ? "s" : "", needed, there, advice);
    free(needed);
    free(there);
}
