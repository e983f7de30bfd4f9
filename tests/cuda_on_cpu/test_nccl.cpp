// The emulated NCCL with one rank: what it refuses, and that nothing is queued before it says so.
// tests/mpi has several ranks.
#include "emulator.h"

#include <nccl.h>

#include <csetjmp>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <vector>

extern "C" {
#include <cmocka.h>
}

#define assert_success(call) assert_int_equal((call), 0)

/// Until what was begun is done; its result.
static ncclResult_t settle(ncclComm_t communicator) {
    ncclResult_t state;
    do {
        assert_success(ncclCommGetAsyncError(communicator, &state));
    } while (state == ncclInProgress);
    return state;
}

/// A communicator of one rank, a stream, and device memory of COUNT + 1 elements.
struct Job {
    static constexpr size_t COUNT = 5;
    ncclConfig_t config = {};
    ncclUniqueId id;
    ncclComm_t communicator;
    cudaStream_t stream;
    float *x;

    Job() {
        config.size = sizeof config;
        config.magic = NCCL_CONFIG_MAGIC;
        config.version = NCCL_2_14;
        assert_success(ncclGetUniqueId(&id));
        assert_success(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
        assert_success(cudaMalloc(&x, (COUNT + 1) * sizeof(float)));
        std::vector<float> values(COUNT + 1, 3);
        assert_success(cudaMemcpyAsync(x, values.data(), (COUNT + 1) * sizeof(float),
                                       cudaMemcpyHostToDevice, stream));
        assert_int_equal(ncclCommInitRankConfig(&communicator, 1, id, 0, &config), ncclInProgress);
        assert_success(settle(communicator));
    }

    ~Job() {
        cudaStreamDestroy(stream);
        cudaFree(x);
    }

    ncclResult_t sum(const float *from, float *to, size_t count) {
        return ncclAllReduce(from, to, count, ncclFloat32, ncclSum, communicator, stream);
    }

    /// Refused, for a reason that has `text` in it.
    void expect_refusal(ncclResult_t result, const char *text) {
        assert_true(result != ncclSuccess && result != ncclInProgress);
        if (!strstr(ncclGetLastError(communicator), text))
            fail_msg("expected \"%s\", not: %s", text, ncclGetLastError(communicator));
    }
};

static void one_rank_sums_to_itself(void **) {
    Job job;
    assert_int_equal(job.sum(job.x, job.x, job.COUNT), ncclInProgress);
    assert_success(settle(job.communicator));
    float y[Job::COUNT];
    assert_success(cudaMemcpyAsync(y, job.x, sizeof y, cudaMemcpyDeviceToHost, job.stream));
    for (float value : y) assert_true(value == 3);
    assert_int_equal(ncclCommFinalize(job.communicator), ncclInProgress);
    assert_success(settle(job.communicator));
    assert_success(ncclCommDestroy(job.communicator));
    job.expect_refusal(ncclCommDestroy(job.communicator), "no such communicator");
}

static void a_call_before_the_last_one_was_queued_is_refused(void **) {
    Job job;
    assert_int_equal(job.sum(job.x, job.x, job.COUNT), ncclInProgress);
    // a caller who does not ask has its event before the sum
    assert_success(cudaStreamSynchronize(job.stream));
    job.expect_refusal(job.sum(job.x, job.x, job.COUNT), "before the call before it was done");
    assert_success(settle(job.communicator));
    assert_int_equal(cudaStreamQuery(job.stream), cudaErrorNotReady);
}

static void buffers_must_be_whole_and_the_same_or_apart(void **) {
    Job job;
    float host[Job::COUNT] = {};
    job.expect_refusal(job.sum(job.x, job.x, job.COUNT + 2), "memory of GPU 0");
    job.expect_refusal(job.sum(host, job.x, job.COUNT), "memory of GPU 0");
    job.expect_refusal(job.sum(job.x, job.x + 1, job.COUNT), "overlap");
    float *between = reinterpret_cast<float *>(reinterpret_cast<char *>(job.x) + 2);
    job.expect_refusal(job.sum(between, between, job.COUNT), "aligned");
}

static void types_streams_and_devices_must_fit(void **) {
    Job job;
    job.expect_refusal(
        ncclAllReduce(job.x, job.x, job.COUNT, ncclBfloat16, ncclSum, job.communicator, job.stream),
        "not in use");
    cuda_on_cpu_devices(2);
    assert_success(cudaSetDevice(1));
    cudaStream_t elsewhere;
    assert_success(cudaStreamCreateWithFlags(&elsewhere, cudaStreamNonBlocking));
    job.expect_refusal(
        ncclAllReduce(job.x, job.x, job.COUNT, ncclFloat32, ncclSum, job.communicator, elsewhere),
        "no stream of GPU 0");
    assert_success(cudaStreamDestroy(elsewhere));
    assert_success(cudaSetDevice(0));
    cuda_on_cpu_devices(1);
}

static void nothing_can_be_done_with_an_aborted_communicator(void **) {
    Job job;
    assert_int_equal(job.sum(job.x, job.x, job.COUNT), ncclInProgress);
    assert_success(settle(job.communicator));
    assert_success(ncclCommAbort(job.communicator));
    assert_success(cudaStreamSynchronize(job.stream)); // what was queued ends
    job.expect_refusal(job.sum(job.x, job.x, job.COUNT), "no such communicator");
}

static void a_made_up_configuration_or_id_is_refused(void **) {
    Job job;
    ncclComm_t communicator;
    ncclUniqueId id = {};
    job.expect_refusal(ncclCommInitRankConfig(&communicator, 1, id, 0, &job.config), "id");
    job.expect_refusal(ncclCommInitRankConfig(&communicator, 1, job.id, 1, &job.config), "rank 1");
    job.config.magic = 0;
    job.expect_refusal(ncclCommInitRankConfig(&communicator, 1, job.id, 0, &job.config),
                       "configuration");
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(one_rank_sums_to_itself),
        cmocka_unit_test(a_call_before_the_last_one_was_queued_is_refused),
        cmocka_unit_test(buffers_must_be_whole_and_the_same_or_apart),
        cmocka_unit_test(types_streams_and_devices_must_fit),
        cmocka_unit_test(nothing_can_be_done_with_an_aborted_communicator),
        cmocka_unit_test(a_made_up_configuration_or_id_is_refused),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
