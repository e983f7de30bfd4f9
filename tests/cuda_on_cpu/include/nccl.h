/// The NCCL calls in use by ops/cuda, for a plain C++ compiler: they move memory by MPI
/// (tests/cuda_on_cpu/nccl.cpp).
///
/// They are as strict as the real ones, and stricter where those would hang, or read or write past
/// memory: ranks, types and counts must agree, buffers lie whole in memory of the communicator's
/// device and are the same or apart, no two ranks share a GPU, and a communicator that does not
/// block queues nothing before it was asked whether it has.
#pragma once
#include "ops/cuda/nccl_api.h"

extern "C" {
#define NCCL_DECLARE(result, name, parameters) result nccl##name parameters;
NCCL_CALLS(NCCL_DECLARE)
#undef NCCL_DECLARE
}
