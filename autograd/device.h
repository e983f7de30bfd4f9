/// A device: where tensors live and which kernels work on them.
///
/// Memory is counted per device (bytes in use, the highest ever in use), so that peak memory is a known figure. Freed
/// blocks are kept for the next tensor of the same size class: a training step asks for the same sizes again and again.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct Device Device;
struct Kernels; // ops/kernels.h: the engine carries the table, only ops look inside
struct Tensor;

struct Device {
    const char *name;
    void *(*allocate)(
        Device *device,
        size_t bytes); ///< 64-byte aligned; stops the program with the counts when full
    void (*release)(Device *device, void *pointer, size_t bytes);
    void (*from_host)(Device *device, void *to, const void *from, size_t bytes);
    void (*to_host)(Device *device, void *to, const void *from, size_t bytes);
    void (*fill_zero)(Device *device, void *pointer, size_t bytes);
    void (*synchronize)(Device *device);
    const struct Kernels *kernels;
    /// sum += x elementwise, any floating types: what gathering gradients needs, set together with the kernels.
    void (*accumulate)(const struct Tensor *x, struct Tensor *sum);
    /// Frees what a kernel kept beside a frozen weight (Tensor.prepared); NULL when kernels keep nothing.
    void (*release_prepared)(void *prepared);
    int64_t bytes_in_use;   ///< handed out now
    int64_t bytes_peak;     ///< highest bytes_in_use since device_reset_peak
    int64_t bytes_cached;   ///< freed and kept for the next tensor
    int64_t bytes_prepared; ///< weight copies in a layout that the product library prefers
};

/// The processor's memory. Its `kernels` are set by ops_cpu_open() (ops/kernels.h).
Device *device_cpu(void);

/// Starts a new measurement of bytes_peak.
void device_reset_peak(Device *device);

/// Gives the cached blocks back to the system.
void device_trim(Device *device);

#ifdef __cplusplus
}
#endif
