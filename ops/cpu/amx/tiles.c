// Whether there is AMX. Linux gives a process the state of tiles, 8 KiB a thread, when it asks for
// it: arch_prctl(2), ARCH_REQ_XCOMP_PERM. It holds for all threads, also for those that are there.
#include "ops/cpu/amx/tiles.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool processor_has_amx(void) {
    enum { BFLOAT16_BIT = 1 << 22, TILE_BIT = 1 << 24 }; // leaf 7, edx
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
    return (edx & BFLOAT16_BIT) && (edx & TILE_BIT);
}

static bool system_gives_tiles(void) {
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

static bool available;
static void ask(void) { available = processor_has_amx() && system_gives_tiles(); }

bool amx_is_available(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, ask);
    return available;
}
#else
bool amx_is_available(void) { return false; }
#endif

const TileShapes whole_tiles = {.palette = 1,
                                .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
                                .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
