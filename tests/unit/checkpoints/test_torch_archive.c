// rooms: checkpoints autograd
// Files of torch.save() against what PyTorch reads from them (tests/parity/record_archives.py); zip
// archives and pickles that lie.
#include "tests/unit/temporary_folder.h"

#include <math.h>
#include <unistd.h>

#include "autograd/crc32c.h"
#include "checkpoints/safetensors.h"
#include "checkpoints/torch/torch_archive.h"
#include "checkpoints/torch/torch_archive_write.h"
#include "checkpoints/weight_file.h"
#include "tests/unit/file_bytes.h"

#define ARCHIVES SOURCE_DIR "/tests/parity/data/archives/"

static TorchArchive *open_archive(const char *path) {
    Error error = {0};
    TorchArchive *archive = torch_archive_open(path, &error);
    if (!archive) fail_msg("%s", error.message);
    return archive;
}

static void expect_refusal(const char *path, const char *part) {
    Error error = {0};
    TorchArchive *archive = torch_archive_open(path, &error);
    if (archive) fail_msg("%s was accepted; expected: %s", path, part);
    if (!strstr(error.message, path) || !strstr(error.message, part))
        fail_msg("'%s' not in: %s", part, error.message);
}

// ---- what PyTorch reads

static void *elements_of(const StoredTensor *tensor) {
    void *bytes = checked_malloc(tensor->bytes + 1);
    stored_tensor_read(tensor, 0, tensor->numel, bytes);
    return bytes;
}

static void expect_same(const char *file, const StoredTensor *found, const StoredTensor *expected) {
    if (!found) fail_msg("%s: '%s' is missing", file, expected->name);
    if (found->type != expected->type || found->rank != expected->rank ||
        found->numel != expected->numel ||
        memcmp(found->shape, expected->shape, sizeof found->shape) != 0)
        fail_msg("%s: '%s' has another type or shape", file, expected->name);
    void *bytes = elements_of(found);
    if (memcmp(bytes, expected->data, expected->bytes) != 0)
        fail_msg("%s: '%s' has other values", file, expected->name);
    free(bytes);
}

static TorchArchive *expect_recorded(const char *name) {
    char path[512], expected_path[512];
    snprintf(path, sizeof path, ARCHIVES "%s.pt", name);
    snprintf(expected_path, sizeof expected_path, ARCHIVES "%s.safetensors", name);
    Error error = {0};
    TorchArchive *archive = open_archive(path);
    SafetensorsFile *expected = safetensors_open(expected_path, &error);
    if (!expected) fail_msg("%s", error.message);
    assert_int_equal(torch_archive_count(archive), safetensors_count(expected));
    for (int64_t i = 0; i < safetensors_count(expected); i++) {
        const StoredTensor *tensor = safetensors_entry(expected, i);
        expect_same(path, torch_archive_find(archive, tensor->name), tensor);
    }
    if (!torch_archive_verify(archive, &error)) fail_msg("%s", error.message);
    safetensors_close(expected);
    return archive;
}

static void every_recorded_file_holds_what_pytorch_reads(void **state) {
    (void)state;
    static const char *const names[] = {"dtypes",   "dtypes_legacy",   "views",    "views_legacy",
                                        "training", "nested",          "nested_3", "nested_4",
                                        "nested_5", "nested_legacy_4", "newer",    "list"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        TorchArchive *archive = expect_recorded(names[i]);
        assert_int_equal(torch_archive_is_legacy(archive), strstr(names[i], "legacy") != NULL);
        torch_archive_close(archive);
    }
}

static void contiguous_tensors_stay_where_they_are_in_the_file(void **state) {
    (void)state;
    TorchArchive *archive = expect_recorded("views");
    static const char *const in_place[] = {"whole",  "offset", "tied_a",
                                           "tied_b", "tied_c", "parameter"};
    for (size_t i = 0; i < sizeof in_place / sizeof *in_place; i++) {
        const StoredTensor *tensor = torch_archive_find(archive, in_place[i]);
        assert_non_null(tensor->data);
        assert_true(tensor->aligned);
    }
    assert_ptr_equal(torch_archive_find(archive, "tied_a")->data,
                     torch_archive_find(archive, "tied_b")->data);
    assert_ptr_equal(torch_archive_find(archive, "tied_c")->data,
                     (const float *)torch_archive_find(archive, "tied_a")->data + 8);
    static const char *const elsewhere[] = {"transposed", "inner", "channels_last", "expanded"};
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++)
        assert_null(torch_archive_find(archive, elsewhere[i])->data);
    torch_archive_close(archive);
}

static void any_part_of_a_view_is_read_and_converted(void **state) {
    (void)state;
    TorchArchive *archive = expect_recorded("views");
    const StoredTensor *view = torch_archive_find(archive, "half_transposed");
    assert_null(view->data);
    float *whole = checked_malloc((size_t)view->numel * sizeof *whole);
    uint16_t *rounded = checked_malloc((size_t)view->numel * sizeof *rounded);
    stored_tensor_read_float32(view, 0, view->numel, whole);
    stored_tensor_read_bfloat16(view, 0, view->numel, rounded);
    for (int64_t first = 0; first < view->numel; first += 611) {
        float part[700];
        uint16_t part_rounded[700];
        int64_t count = view->numel - first < 700 ? view->numel - first : 700;
        stored_tensor_read_float32(view, first, count, part);
        stored_tensor_read_bfloat16(view, first, count, part_rounded);
        assert_memory_equal(part, whole + first, (size_t)count * sizeof *part);
        assert_memory_equal(part_rounded, rounded + first, (size_t)count * sizeof *part_rounded);
    }
    free(whole);
    free(rounded);
    torch_archive_close(archive);
}

static void a_training_scripts_file_is_unwrapped(void **state) {
    (void)state;
    TorchArchive *archive = expect_recorded("training");
    assert_string_equal(torch_archive_wrapper(archive), "state_dict");
    const PickleValue *root = torch_archive_root(archive);
    assert_int_equal(pickle_get(root, "epoch")->integer, 3);
    assert_true(pickle_get(root, "lr")->number == 1e-5);
    assert_string_equal(pickle_text(pickle_get(root, "note")), "größer");
    assert_non_null(pickle_get(root, "optimizer"));
    torch_archive_close(archive);
}

static void eight_bit_floats_have_their_values(void **state) {
    (void)state;
    TorchArchive *archive = expect_recorded("newer");
    float values[4];
    stored_tensor_read_float32(torch_archive_find(archive, "e4m3"), 0, 4, values);
    assert_true(values[0] == 1.5f && values[1] == -448 && values[2] == 0x1p-9f && isnan(values[3]));
    stored_tensor_read_float32(torch_archive_find(archive, "e5m2"), 0, 3, values);
    assert_true(values[0] == 1.5f && values[1] == -57344 && isinf(values[2]));
    torch_archive_close(archive);
}

static void what_we_write_is_read_back(void **state) {
    (void)state;
    const float matrix[6] = {1, 2, 3, 4, 5, 6};
    const int64_t shape[2] = {2, 3};
    const uint8_t flag = 1;
    const SafetensorsTensor tensors[] = {
        {"model.mm_projector.0.weight", ELEMENT_F32, 2, shape, matrix},
        {"flag", ELEMENT_BOOL, 0, NULL, &flag}};
    Error error = {0};
    const char *path = in_folder("mm_projector.bin");
    if (!torch_archive_write(path, tensors, 2, &error)) fail_msg("%s", error.message);
    TorchArchive *archive = open_archive(path);
    assert_int_equal(torch_archive_count(archive), 2);
    const StoredTensor *found = torch_archive_find(archive, "model.mm_projector.0.weight");
    assert_memory_equal(found->data, matrix, sizeof matrix);
    assert_true(found->aligned);
    assert_true(torch_archive_verify(archive, &error));
    torch_archive_close(archive);
}

// ---- hostile files: pickles in a zip archive of our own

typedef struct Zip {
    FileBytes bytes, directory;
    int records;
} Zip;

enum { STORED = 0, DEFLATED = 8 };

static void put_header(FileBytes *bytes, int method, uint64_t size, size_t name, size_t extra) {
    file_bytes_number(bytes, 0, 2);
    file_bytes_number(bytes, 0, 2);
    file_bytes_number(bytes, (uint64_t)method, 2);
    file_bytes_number(bytes, 0, 4); // time, date
    file_bytes_number(bytes, 0, 4); // CRC-32
    file_bytes_number(bytes, size, 4);
    file_bytes_number(bytes, size, 4);
    file_bytes_number(bytes, name, 2);
    file_bytes_number(bytes, extra, 2);
}

/// Adds a record whose directory entry announces `announced` bytes (its own size if < 0) of that
/// method at `shift` bytes behind its header. With zip64 the sizes and the place are in the extra
/// field.
static void zip_add(Zip *zip, const char *name, const void *data, size_t size, int64_t announced,
                    int method, int64_t shift, bool zip64) {
    uint64_t header = zip->bytes.size + (uint64_t)shift;
    uint64_t told = announced < 0 ? size : (uint64_t)announced;
    file_bytes_put(&zip->bytes, "PK\3\4", 4);
    put_header(&zip->bytes, method, told, strlen(name), 0);
    file_bytes_put(&zip->bytes, name, strlen(name));
    file_bytes_put(&zip->bytes, data, size);
    file_bytes_put(&zip->directory, "PK\1\2\0\0", 6);
    put_header(&zip->directory, method, zip64 ? 0xffffffff : told, strlen(name), zip64 ? 28 : 0);
    file_bytes_number(&zip->directory, 0, 2);
    file_bytes_number(&zip->directory, 0, 8);
    file_bytes_number(&zip->directory, zip64 ? 0xffffffff : header, 4);
    file_bytes_put(&zip->directory, name, strlen(name));
    if (zip64) {
        file_bytes_number(&zip->directory, 1, 2);
        file_bytes_number(&zip->directory, 24, 2);
        file_bytes_number(&zip->directory, told, 8);
        file_bytes_number(&zip->directory, told, 8);
        file_bytes_number(&zip->directory, header, 8);
    }
    zip->records++;
}

static void zip_write(Zip *zip, const char *path, int records, bool zip64) {
    size_t start = zip->bytes.size, size = zip->directory.size;
    file_bytes_put(&zip->bytes, zip->directory.data, size);
    if (zip64) {
        size_t end = zip->bytes.size;
        file_bytes_put(&zip->bytes, "PK\6\6", 4);
        file_bytes_number(&zip->bytes, 44, 8);
        file_bytes_number(&zip->bytes, 0, 4);
        file_bytes_number(&zip->bytes, 0, 8);
        file_bytes_number(&zip->bytes, (uint64_t)records, 8);
        file_bytes_number(&zip->bytes, (uint64_t)records, 8);
        file_bytes_number(&zip->bytes, size, 8);
        file_bytes_number(&zip->bytes, start, 8);
        file_bytes_put(&zip->bytes, "PK\6\7", 4);
        file_bytes_number(&zip->bytes, 0, 4);
        file_bytes_number(&zip->bytes, end, 8);
        file_bytes_number(&zip->bytes, 1, 4);
    }
    file_bytes_put(&zip->bytes, "PK\5\6", 4);
    file_bytes_number(&zip->bytes, 0, 4);
    file_bytes_number(&zip->bytes, zip64 ? 0xffff : (uint64_t)records, 2);
    file_bytes_number(&zip->bytes, zip64 ? 0xffff : (uint64_t)records, 2);
    file_bytes_number(&zip->bytes, zip64 ? 0xffffffff : size, 4);
    file_bytes_number(&zip->bytes, zip64 ? 0xffffffff : start, 4);
    file_bytes_number(&zip->bytes, 0, 2);
    file_bytes_write(&zip->bytes, path);
    file_bytes_free(&zip->bytes);
    file_bytes_free(&zip->directory);
    zip->records = 0;
}

/// A storage of 4 floats with key 0, as its persistent id.
#define STORAGE                                         \
    "((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0" \
    "0X\3\0\0\0cpuK\4tQ"
/// {"w": a tensor of that storage}, with its offset, shape and strides.
#define ONE_TENSOR(view)                                                       \
    "\x80\2}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n" STORAGE view "\x89" \
    "ccollections\nOrderedDict\n)RtRs."
#define PLAIN_VIEW "K\0K\4\x85K\1\x85"

static const float storage[4] = {1, 2, 3, 4};

/// An archive with that pickle and the storage "0".
static const char *write_pickle(const char *pickle, size_t size) {
    Zip zip = {0};
    zip_add(&zip, "a/data.pkl", pickle, size, -1, STORED, 0, false);
    zip_add(&zip, "a/data/0", storage, sizeof storage, -1, STORED, 0, false);
    const char *path = in_folder("hostile.pt");
    zip_write(&zip, path, 2, false);
    return path;
}

typedef struct Case {
    const char *pickle;
    size_t size;
    const char *says;
} Case;
#define CASE(pickle, says) \
    { pickle, sizeof pickle - 1, says }

static const Case hostile[] = {
    CASE("\x80\2cos\nsystem\nX\4\0\0\0true\x85R.", "os.system"),
    CASE("\x80\2cposix\nsystem\nX\4\0\0\0true\x85R.", "posix.system"),
    CASE("\x80\2c__builtin__\neval\nX\1\0\0\0"
         "1\x85R.",
         "builtins.eval"),
    CASE("\x80\4\x8c\10builtins\x8c\4exec\x93\x8c\1"
         "1\x85R.",
         "builtins.exec"),
    CASE("\x80\2ctorch._utils\n_rebuild_qtensor\n)R.", "torch._utils._rebuild_qtensor"),
    CASE("\x80\2(ios\nsystem\n.", "0x69"),
    CASE("\x80\2}X\1\0\0\0wctorch.nn.parameter\nParameter\n)\x81}bs.",
         "torch.nn.parameter.Parameter"),
    CASE(ONE_TENSOR("K\1K\4\x85K\1\x85"), "tensor 'w': it reaches out"),
    CASE(ONE_TENSOR("K\0K\5\x85K\1\x85"), "tensor 'w': it reaches out"),
    CASE(ONE_TENSOR("K\0K\2\x85K\4\x85"), "tensor 'w': it reaches out"),
    CASE(ONE_TENSOR("J\xff\xff\xff\xffK\1\x85K\1\x85"), "tensor 'w': its offset"),
    CASE(ONE_TENSOR("K\0J\xff\xff\xff\xff\x85K\1\x85"), "tensor 'w': its offset"),
    CASE(ONE_TENSOR("K\0K\2\x85J\xff\xff\xff\xff\x85"), "tensor 'w': its offset"),
    CASE(ONE_TENSOR("K\0K\2K\2\x86K\1\x85"), "tensor 'w': its offset"),
    CASE(ONE_TENSOR("K\0(K\1K\1K\1K\1K\1K\1K\1K\1K\1t(K\1K\1K\1K\1K\1K\1K\1K\1K\1t"),
         "tensor 'w': its offset"),
    CASE(ONE_TENSOR("K\0\x8a\10\0\0\0\0\0\0\0\x7f\x85K\0\x85"), "tensor 'w': it"),
    CASE(ONE_TENSOR("K\0\x8a\6\0\0\0\0\0\1\x85K\0\x85"), "tensor 'w': it repeats"),
    CASE(ONE_TENSOR("K\0K\2\x85\x8a\10\xff\xff\xff\xff\xff\xff\xff\x7f\x85"),
         "tensor 'w': it reaches out"),
    CASE("\x80\2}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n)Rs.", "tensor 'w'"),
    CASE("\x80\2}X\1\0\0\0wctorch._utils\n_rebuild_parameter\nK\1\x85Rs.", "tensor 'w'"),
    CASE("\x80\2}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(("
         "X\7\0\0\0storagectorch\nFloatStorage\n"
         "X\1\0\0\0"
         "9X\3\0\0\0cpuK\4tQ" PLAIN_VIEW "\x89)tRs.",
         "storage '9' is missing"),
    CASE("\x80\2}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(("
         "X\7\0\0\0storagectorch\nFloatStorage\n"
         "X\1\0\0\0"
         "0X\3\0\0\0cpuM\0\1tQ" PLAIN_VIEW "\x89)tRs.",
         "storage '0' has 16 bytes"),
    CASE("\x80\2}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(("
         "X\6\0\0\0modulectorch\nFloatStorage\n"
         "X\1\0\0\0"
         "0X\3\0\0\0cpuK\4tQ" PLAIN_VIEW "\x89)tRs.",
         "no storage"),
    // {"a": {"b": w}, "a.b": w}
    CASE("\x80\2}X\1\0\0\0a}X\1\0\0\0bctorch._utils\n_rebuild_tensor_v2\n" STORAGE PLAIN_VIEW
         "\x89)tRq\1ssX\3\0\0\0a.bh\1s.",
         "two tensors have the name 'a.b'"),
    CASE("\x80\2}X\1\0\0\0wK\1sX\1\0\0\0wK\2s.", "'w' comes twice"),
    CASE("\x80\2]q\0h\0a.", "contains itself"),
    CASE("\x80\2}X\1\0\0\0wK\1s.x", "follow the end"),
};

static void hostile_pickles_are_refused_by_name(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++)
        expect_refusal(write_pickle(hostile[i].pickle, hostile[i].size), hostile[i].says);
    static const char plain[] = ONE_TENSOR(PLAIN_VIEW);
    TorchArchive *archive = open_archive(write_pickle(plain, sizeof plain - 1));
    assert_memory_equal(torch_archive_find(archive, "w")->data, storage, sizeof storage);
    torch_archive_close(archive);
}

typedef struct Lie {
    int64_t announced;
    int method;
    int64_t shift;
    int records;
    const char *name, *says;
} Lie;

static void zip_archives_that_lie_are_refused(void **state) {
    (void)state;
    static const char pickle[] = ONE_TENSOR(PLAIN_VIEW);
    static const Lie lies[] = {
        {1000, STORED, 0, 2, "a/data/0", "more than the file holds"},
        {0xfffffff0, STORED, 0, 2, "a/data/0", "more than the file holds"},
        {12, STORED, 0, 2, "a/data/0", "has 12 bytes"},
        {-1, DEFLATED, 0, 2, "a/data/0", "compressed"},
        {-1, STORED, 1, 2, "a/data/0", "does not begin where"},
        {-1, STORED, 1 << 30, 2, "a/data/0", "does not begin where"},
        {-1, STORED, 0, 2, "a/data.pkl", "two records 'a/data.pkl'"},
        {-1, STORED, 0, 1, "a/data/0", "another number of records"},
        {-1, STORED, 0, 3, "a/data/0", "directory"},
        {-1, STORED, 0, 60000, "a/data/0", "does not fit the file"},
        {-1, STORED, 0, 2, "a/data/1", "storage '0' is missing"},
        {-1, STORED, 0, 2, "a/data/\xff", "not UTF-8"},
    };
    const char *path = in_folder("lie.pt");
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
        for (int zip64 = 0; zip64 < 2; zip64++) {
            Zip zip = {0};
            zip_add(&zip, "a/data.pkl", pickle, sizeof pickle - 1, -1, STORED, 0, zip64);
            zip_add(&zip, lies[i].name, storage, sizeof storage, lies[i].announced, lies[i].method,
                    lies[i].shift, zip64);
            zip_write(&zip, path, lies[i].records, zip64);
            expect_refusal(path, lies[i].says);
        }
}

static void zip64_archives_are_read(void **state) {
    (void)state;
    static const char pickle[] = ONE_TENSOR(PLAIN_VIEW);
    Zip zip = {0};
    zip_add(&zip, "a/data.pkl", pickle, sizeof pickle - 1, -1, STORED, 0, true);
    zip_add(&zip, "a/data/0", storage, sizeof storage, -1, STORED, 0, true);
    zip_write(&zip, in_folder("zip64.pt"), 2, true);
    TorchArchive *archive = open_archive(in_folder("zip64.pt"));
    assert_memory_equal(torch_archive_find(archive, "w")->data, storage, sizeof storage);
    Error error = {0};
    assert_false(torch_archive_verify(archive, &error)); // its CRC-32 sums are 0
    assert_non_null(strstr(error.message, "'a/data.pkl' is damaged"));
    torch_archive_close(archive);
}

static void files_of_another_kind_say_so(void **state) {
    (void)state;
    static const char pickle[] = "\x80\2}.";
    Zip zip = {0};
    zip_add(&zip, "word/document.xml", "<x/>", 4, -1, STORED, 0, false);
    zip_write(&zip, in_folder("text.pt"), 1, false);
    expect_refusal(in_folder("text.pt"), "no data.pkl");
    zip_add(&zip, "a/data.pkl", pickle, sizeof pickle - 1, -1, STORED, 0, false);
    zip_add(&zip, "a/constants.pkl", pickle, sizeof pickle - 1, -1, STORED, 0, false);
    zip_write(&zip, in_folder("script.pt"), 2, false);
    expect_refusal(in_folder("script.pt"), "TorchScript");
    zip_add(&zip, "a/data.pkl", pickle, sizeof pickle - 1, -1, STORED, 0, false);
    zip_add(&zip, "a/byteorder", "big", 3, -1, STORED, 0, false);
    zip_write(&zip, in_folder("big.pt"), 2, false);
    expect_refusal(in_folder("big.pt"), "big-endian");
    write_text("plain.pt", "\x80\2}.");
    expect_refusal(in_folder("plain.pt"), "not a file of torch.save()");
    write_text("empty.pt", "");
    expect_refusal(in_folder("empty.pt"), "not a file of torch.save()");
    expect_refusal(in_folder("absent.pt"), "cannot be read");
    expect_refusal(temporary_folder, "not a file");
}

static void files_cut_off_anywhere_are_refused(void **state) {
    (void)state;
    static const char *const names[] = {"dtypes.pt", "dtypes_legacy.pt", "nested_legacy_4.pt"};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        char path[512];
        snprintf(path, sizeof path, ARCHIVES "%s", names[n]);
        FileBytes bytes = file_bytes_read(path);
        for (size_t length = 0; length < bytes.size; length++) {
            FileBytes start = {bytes.data, length, length};
            const char *cut = file_bytes_in_memory(&start);
            Error error = {0};
            TorchArchive *archive = torch_archive_open(cut, &error);
            if (archive)
                fail_msg("%s: %zu of %zu bytes were accepted", names[n], length, bytes.size);
            if (!strstr(error.message, cut)) fail_msg("no file name in: %s", error.message);
        }
        file_bytes_free(&bytes);
    }
}

/// Reads all that a file offers.
static void read_all(const TorchArchive *archive) {
    float values[64];
    for (int64_t i = 0; i < torch_archive_count(archive); i++) {
        const StoredTensor *tensor = torch_archive_tensor(archive, i);
        for (int64_t first = 0; first < tensor->numel; first += 64) {
            int64_t count = tensor->numel - first < 64 ? tensor->numel - first : 64;
            stored_tensor_read_float32(tensor, first, count, values);
        }
    }
}

static void mutated_files_never_do_harm(void **state) {
    (void)state;
    static const char *const names[] = {"nested.pt", "nested_legacy_4.pt", "dtypes_legacy.pt"};
    uint32_t random = 1;
    int accepted = 0;
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        char path[512];
        snprintf(path, sizeof path, ARCHIVES "%s", names[n]);
        FileBytes bytes = file_bytes_read(path);
        for (int i = 0; i < 1500; i++) {
            FileBytes copy = {0};
            file_bytes_put(&copy, bytes.data, bytes.size);
            file_bytes_mutate(&copy, &random);
            TorchArchive *archive = torch_archive_open(file_bytes_in_memory(&copy), NULL);
            file_bytes_free(&copy);
            accepted += archive != NULL;
            if (archive) read_all(archive);
            torch_archive_close(archive);
        }
        file_bytes_free(&bytes);
    }
    assert_true(accepted > 0); // the mutations do reach what comes behind the first checks
}

// ---- files of others

typedef struct Published {
    const char *name;
    int tensors;
    /// over all tensors, of the CRC-32C of name and bytes: record_archives.py --published
    uint32_t sum;
} Published;

static const Published published[] = {
    {"lora_disney.safetensors", 386, 0x1796475f},
    {"lora_text_encoder.pt", 96, 0x858cb272},
    {"taesana_encoder.pth", 69, 0xbfdbb836},
};

static void published_files_have_the_values_that_pytorch_reads(void **state) {
    (void)state;
    const char *shared = getenv("DIFFLMM_SHARED_DATA");
    char path[1024];
    for (size_t f = 0; f < sizeof published / sizeof *published; f++) {
        snprintf(path, sizeof path, "%s/public/torch_archives/%s",
                 shared ? shared : SOURCE_DIR "/../shared/data", published[f].name);
        if (access(path, R_OK) != 0) {
            printf("# skipped: %s is not there\n", path);
            skip();
        }
        Error error = {0};
        WeightFile *file = weight_file_open(path, &error);
        if (!file) fail_msg("%s", error.message);
        assert_int_equal(weight_file_count(file), published[f].tensors);
        uint32_t sum = 0;
        for (int64_t t = 0; t < weight_file_count(file); t++) {
            const StoredTensor *tensor = weight_file_tensor(file, t);
            void *bytes = elements_of(tensor);
            sum += crc32c(crc32c(0, tensor->name, strlen(tensor->name)), bytes, tensor->bytes);
            free(bytes);
        }
        assert_int_equal(sum, published[f].sum);
        weight_file_close(file);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recorded_file_holds_what_pytorch_reads),
        cmocka_unit_test(contiguous_tensors_stay_where_they_are_in_the_file),
        cmocka_unit_test(any_part_of_a_view_is_read_and_converted),
        cmocka_unit_test(a_training_scripts_file_is_unwrapped),
        cmocka_unit_test(eight_bit_floats_have_their_values),
        IN_FOLDER(what_we_write_is_read_back),
        IN_FOLDER(hostile_pickles_are_refused_by_name),
        IN_FOLDER(zip_archives_that_lie_are_refused),
        IN_FOLDER(zip64_archives_are_read),
        IN_FOLDER(files_of_another_kind_say_so),
        cmocka_unit_test(files_cut_off_anywhere_are_refused),
        cmocka_unit_test(mutated_files_never_do_harm),
        cmocka_unit_test(published_files_have_the_values_that_pytorch_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
