// The NCCL that is installed has every call in use and is new enough; needs neither a GPU nor nvcc.
// Exits with 77 (skipped) where there is none.
#include "ops/cuda/nccl_api.h"

#include <cstdio>
#include <dlfcn.h>

int main() {
    void *handle = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        printf("skipped: %s\n", dlerror());
        return 77;
    }
    NcclCalls nccl;
    int missing = 0;
#define FIND(result, name, parameters)                                              \
    nccl.name = reinterpret_cast<decltype(nccl.name)>(dlsym(handle, "nccl" #name)); \
    if (!nccl.name) missing += printf("nccl" #name " is missing\n");
    NCCL_CALLS(FIND)
#undef FIND
    if (missing) return 1;
    int version = 0;
    ncclUniqueId id = {};
    bool ok = nccl.GetVersion(&version) == ncclSuccess && version >= NCCL_2_14 &&
              nccl.GetUniqueId(&id) == ncclSuccess;
    int filled = 0; // the id is random: any one byte of it may be zero
    for (char byte : id.internal) filled += byte != 0;
    ok = ok && filled > 0;
    printf("NCCL %d: %s\n", version, ok ? "complete" : nccl.GetLastError(nullptr));
    return ok ? 0 : 1;
}
