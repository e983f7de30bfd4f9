#include "train/group/replicas.h"

#include "autograd/crc32c.h"
#include "ops/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

KernelsName replicas_kernels_name(const Device *device) {
    KernelsName name = {{0}};
    const char *model = strchr(device->name, ' '); // of "cuda:3 NVIDIA H200"
    bool is_gpu = !device->shares_host_memory;
    snprintf(name.text, sizeof name.text, "%s%s", device->kernels->name,
             is_gpu && model ? model : "");
    return name;
}

bool replicas_compare_kernels(ProcessGroup *group, const Device *device, Error *error) {
    KernelsName own = replicas_kernels_name(device), other = own;
    RankNames differing;
    if (!process_group_compare(group, "the kernels", &own, sizeof own, &differing, error))
        return false;
    if (!differing.count) return true;
    if (!process_group_broadcast(group, differing.first, &other, sizeof other, error)) return false;
    if (process_rank(group) == 0)
        fprintf(stderr,
                "warning: %s compute%s with other kernels (%s) than rank 0 (%s), which round "
                "otherwise: weights may drift apart. They are compared at every save; "
                "DIFFLMM_CPU_LEVEL chooses kernels that all processors have\n",
                differing.text, differing.count == 1 ? "s" : "", other.text, own.text);
    return true;
}

static uint32_t checksum_of(const Tensor *x) {
    size_t bytes = dtype_size(x->dtype) * (size_t)tensor_numel(x);
    if (x->device->shares_host_memory) return crc32c(0, x->data, bytes);
    void *copy = checked_malloc(bytes);
    x->device->to_host(x->device, copy, x->data, bytes);
    uint32_t checksum = crc32c(0, copy, bytes);
    free(copy);
    return checksum;
}

/// Every rank comes to the same parameter.
static bool refuse(ProcessGroup *group, const ParameterSet *parameters, const uint32_t *checksums,
                   int64_t step, int64_t agreed_step, Error *error) {
    RankNames differing = {0};
    int i = -1;
    while (!differing.count)
        if (!process_group_compare(group, "a weight", &checksums[++i], sizeof *checksums,
                                   &differing, error))
            return false;
    return error_set(error,
                     "after step %lld '%s' of %s is not what it is on rank 0: the ranks have "
                     "drifted apart, because they compute with different kernels, or one has made "
                     "an error. They were the same after step %lld; go on from there with ranks on "
                     "processors (or GPUs) of one kind, or with DIFFLMM_CPU_LEVEL set to kernels "
                     "that all have",
                     (long long)step, parameters->items[i].name, differing.text,
                     (long long)agreed_step);
}

bool replicas_agree(ProcessGroup *group, const ParameterSet *parameters, int64_t step,
                    int64_t *agreed_step, Error *error) {
    if (process_count(group) == 1) return true;
    uint32_t *checksums = checked_calloc((size_t)parameters->count + 1, sizeof *checksums);
    for (int i = 0; i < parameters->count; i++) {
        checksums[i] = checksum_of(parameters->items[i].value);
        process_group_progress(group);
    }
    RankNames differing;
    bool ok =
        process_group_compare(group, "the weights", checksums,
                              (size_t)parameters->count * sizeof *checksums, &differing, error) &&
        (!differing.count || refuse(group, parameters, checksums, step, *agreed_step, error));
    free(checksums);
    if (ok) *agreed_step = step;
    return ok;
}
