/// A device: where tensors live and which kernels work on them.
///
/// Memory is counted per device and by kind (bytes in use, the highest ever in use), so that peak
/// memory is a known figure and a full device can be explained. Freed blocks are kept for the next
/// tensor of the same size class (autograd/block_cache.h).
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct Device Device;
struct Kernels; // ops/kernels.h: the engine carries the table, only ops look inside
struct Tensor;
struct BlockCache;   // autograd/block_cache.h
struct PinnedMemory; // autograd/transfer_buffer.h

/// What memory is for.
typedef enum MemoryKind {
    /// tensors outside of scopes: frozen weights and parameters
    MEMORY_WEIGHTS,
    /// of parameters
    MEMORY_GRADIENTS,
    /// moments
    MEMORY_OPTIMIZER,
    /// tensors of scopes: activations, their gradients, a batch
    MEMORY_ACTIVATIONS,
    /// kernels' scratch
    MEMORY_WORKSPACE,
    MEMORY_KINDS
} MemoryKind;

struct Device {
    const char *name;
    /// 64-byte aligned, counted as MEMORY_WORKSPACE; stops the program with device_out_of_memory()
    /// when full. Any thread may call it.
    void *(*allocate)(Device *device, size_t bytes);
    void (*release)(Device *device, void *pointer, size_t bytes);
    /// Ordered with what is computed before and after; `from` may be changed at once. Any thread
    /// may call it and to_host.
    void (*from_host)(Device *device, void *to, const void *from, size_t bytes);
    /// Waits until what was queued before is computed and copied.
    void (*to_host)(Device *device, void *to, const void *from, size_t bytes);
    void (*fill_zero)(Device *device, void *pointer, size_t bytes);
    void (*synchronize)(Device *device);
    const struct Kernels *kernels;
    /// sum += x elementwise, any floating types: what gathering gradients needs, set together with
    /// the kernels.
    void (*accumulate)(const struct Tensor *x, struct Tensor *sum);
    /// Frees what a kernel kept beside a frozen weight (Tensor.prepared); NULL when kernels keep
    /// nothing.
    void (*release_prepared)(void *prepared);
    /// of allocate and release
    struct BlockCache *cache;
    /// The host's memory that it copies from without staging; NULL: any serves as well.
    const struct PinnedMemory *pinned_memory;
    /// kernels read the host's memory where it is, a mapped file too
    bool shares_host_memory;
    /// Tensors have no content, so that what would fill them need not be read or drawn
    /// (train/plan/plan_device.h).
    bool counts_only;
    /// handed out now
    int64_t bytes_in_use;
    /// highest bytes_in_use since device_reset_peak
    int64_t bytes_peak;
    /// freed and kept for the next tensor
    int64_t bytes_cached;
    /// weight copies in a layout that the product library prefers
    int64_t bytes_prepared;
    /// of bytes_in_use
    int64_t bytes_by_kind[MEMORY_KINDS];
    /// of bytes_peak
    int64_t bytes_by_kind_at_peak[MEMORY_KINDS];
};

/// The processor's memory. Its `kernels` are set by ops_cpu_open() (ops/kernels.h).
Device *device_cpu(void);

/// Starts a new measurement of bytes_peak.
void device_reset_peak(Device *device);

/// Gives the cached blocks back to the system.
void device_trim(Device *device);

/// "weights 13024 MiB, gradients 12 MiB, ...", of counts by kind. The caller frees it.
char *device_describe_memory(const int64_t bytes_by_kind[MEMORY_KINDS]);

/// Stops the program with exit code 1 and one message: `bytes` could not be had, what memory is in
/// use for, what the device has
/// (`capacity`, a sentence), and what to change.
void device_out_of_memory(const Device *device, size_t bytes, const char *capacity)
    __attribute__((noreturn));

#ifdef __cplusplus
}
#endif
