// What ops/cuda/nccl_api.h says of NCCL against NCCL's own header, where that is installed. Only
// compiled.
#include <nccl.h>

#include "ops/cuda/nccl_api.h" // takes the types of <nccl.h>; its assertions are about those

#include <type_traits>

#define SAME_AS_DECLARED(result, name, parameters)                                  \
    static_assert(std::is_same_v<decltype(NcclCalls::name), decltype(&nccl##name)>, \
                  "nccl" #name " is declared otherwise");
NCCL_CALLS(SAME_AS_DECLARED)
