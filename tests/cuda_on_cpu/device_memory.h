/// Inside the emulator: device memory, an arena that host code cannot touch, and pinned memory.
#pragma once
#include "cuda_runtime.h"

/// While one exists, device memory can be touched. They nest.
class DeviceMemoryOpen {
  public:
    DeviceMemoryOpen();
    ~DeviceMemoryOpen();
    DeviceMemoryOpen(const DeviceMemoryOpen &) = delete;
    DeviceMemoryOpen &operator=(const DeviceMemoryOpen &) = delete;
};
/// While one exists, it cannot again: for the host's functions among a stream's work.
class DeviceMemoryClosed {
  public:
    DeviceMemoryClosed();
    ~DeviceMemoryClosed();
    DeviceMemoryClosed(const DeviceMemoryClosed &) = delete;
    DeviceMemoryClosed &operator=(const DeviceMemoryClosed &) = delete;

  private:
    int depth;
};

/// NULL when the limit or the arena's end is reached. The contents are 0xff bytes.
void *device_memory_take(int device, size_t bytes);
/// False if no block starts there.
bool device_memory_give_back(void *pointer);
/// The device of the block that holds all the bytes, or -1.
int device_memory_owner(const void *pointer, size_t bytes);
/// Whether the address is in the arena, of a block or not.
bool device_memory_has(const void *pointer);
size_t device_memory_in_use(int device);
size_t device_memory_limit();
void device_memory_set_limit(size_t bytes);
/// Stops the program if something was written beside a block.
void device_memory_check_guards();

void pinned_memory_add(void *pointer, size_t bytes);
/// False if none starts there.
bool pinned_memory_remove(void *pointer);
/// In all.
size_t pinned_memory_bytes();
/// Whether any of the bytes are pinned.
bool pinned_memory_overlaps(const void *pointer, size_t bytes);
/// Whether all of the bytes are in one pinned range.
bool pinned_memory_has(const void *pointer, size_t bytes);
