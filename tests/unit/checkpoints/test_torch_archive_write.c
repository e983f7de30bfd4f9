/// PyTorch archives as torch.save() writes them. Recorded by tests/parity/record_adapters.py.
#include "tests/unit/recorded_adapters.h"

#include "checkpoints/torch/torch_archive_write.h"

enum { MOST_TENSORS = 16 };

/// What there is in an archive, to be written into another. The memory stays the archive's.
static int list_tensors(const TorchArchive *archive, SafetensorsTensor *tensors) {
    int count = (int)torch_archive_count(archive);
    assert_in_range(count, 1, MOST_TENSORS);
    for (int i = 0; i < count; i++) {
        const StoredTensor *stored = torch_archive_tensor(archive, i);
        assert_true(stored->data || !stored->numel);
        tensors[i] = (SafetensorsTensor){stored->name, stored->type, stored->rank, stored->shape,
                                         stored->data ? stored->data : ""};
    }
    return count;
}

static void expect_same_tensors(const TorchArchive *a, const TorchArchive *b) {
    assert_int_equal(torch_archive_count(a), torch_archive_count(b));
    for (int64_t i = 0; i < torch_archive_count(a); i++) {
        const StoredTensor *x = torch_archive_tensor(a, i), *y = torch_archive_tensor(b, i);
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->type, y->type);
        assert_int_equal(x->rank, y->rank);
        assert_memory_equal(x->shape, y->shape, (size_t)x->rank * sizeof *x->shape);
        if (x->numel) assert_memory_equal(x->data, y->data, x->bytes);
    }
}

static void an_archive_holds_every_type_of_pytorchs_as_pytorch_wrote_it(void **state) {
    (void)state;
    Error error = {0};
    SafetensorsTensor tensors[MOST_TENSORS];
    TorchArchive *theirs = open_archive(ADAPTERS "types.bin");
    int count = list_tensors(theirs, tensors);
    const char *path = in_folder("types.bin");
    if (!torch_archive_write(path, tensors, count, &error)) fail_msg("%s", error.message);
    TorchArchive *ours = open_archive(path);
    assert_int_equal(count, 12);
    expect_same_tensors(ours, theirs);
    torch_archive_close(ours);
    torch_archive_close(theirs);
}

static unsigned little_endian(const char *bytes, int size) {
    unsigned value = 0;
    for (int i = 0; i < size; i++) value |= (unsigned)(unsigned char)bytes[i] << (8 * i);
    return value;
}

/// Walks over the local headers: names of the records without their folder, and whether tensors lie
/// where they can be mapped.
static int list_records(const char *path, char names[][64]) {
    size_t size;
    char *bytes = read_file(path, &size), *at = bytes;
    int count = 0;
    while (memcmp(at, "PK\x03\x04", 4) == 0) {
        unsigned length = little_endian(at + 22, 4), name = little_endian(at + 26, 2),
                 extra = little_endian(at + 28, 2);
        char *data = at + 30 + name + extra;
        assert_int_equal(little_endian(at + 8, 2), 0); // stored
        assert_int_equal((data - bytes) % 64, 0);
        assert_memory_equal(at + 30, "weights/", 8);
        snprintf(names[count++], 64, "%.*s", (int)name - 8, at + 38);
        at = data + length;
    }
    assert_memory_equal(at, "PK\x01\x02", 4);
    assert_memory_equal(bytes + size - 22, "PK\x05\x06", 4);
    free(bytes);
    return count;
}

static void an_archive_has_pytorchs_records_aligned_for_mapping(void **state) {
    (void)state;
    Error error = {0};
    const float values[] = {1, 2, 3};
    const int64_t shape[] = {3};
    const SafetensorsTensor tensors[] = {{"a", ELEMENT_F32, 1, shape, values},
                                         {"b", ELEMENT_F32, 1, shape, values}};
    char names[8][64];
    assert_true(torch_archive_write(in_folder("weights.bin"), tensors, 2, &error));
    assert_int_equal(list_records(in_folder("weights.bin"), names), 5);
    const char *const expected[] = {"data.pkl", "byteorder", "data/0", "data/1", "version"};
    for (int i = 0; i < 5; i++) assert_string_equal(names[i], expected[i]);
}
int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(an_archive_holds_every_type_of_pytorchs_as_pytorch_wrote_it),
        IN_FOLDER(an_archive_has_pytorchs_records_aligned_for_mapping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
