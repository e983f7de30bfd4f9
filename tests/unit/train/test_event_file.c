// rooms: train checkpoints autograd
#include "tests/unit/temporary_folder.h"

#include <float.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "autograd/crc32c.h"
#include "train/log/event_file.h"

/// Red, green, blue over yellow, black, white.
static const unsigned char PICTURE[81] = {
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48,
    0x44, 0x52, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x02, 0x08, 0x02, 0x00, 0x00,
    0x00, 0x12, 0x16, 0xf1, 0x4d, 0x00, 0x00, 0x00, 0x18, 0x49, 0x44, 0x41, 0x54, 0x78,
    0xda, 0x05, 0xc1, 0x01, 0x01, 0x00, 0x00, 0x08, 0xc3, 0x20, 0x6e, 0xff, 0xce, 0x13,
    0x84, 0xd0, 0x89, 0x29, 0x0f, 0x39, 0xf3, 0x05, 0xfe, 0x67, 0x6a, 0x31, 0xca, 0x00,
    0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82};

typedef struct Slice {
    /// NULL: absent
    const unsigned char *data;
    size_t size;
} Slice;

static uint64_t little_endian(const unsigned char *bytes, int size) {
    uint64_t value = 0;
    for (int i = size - 1; i >= 0; i--) value = value << 8 | bytes[i];
    return value;
}

/// The whole file; freed by the next call.
static Slice file_content(const char *path) {
    static unsigned char *content;
    free(content);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    content = malloc(size + 1);
    assert_int_equal(fread(content, 1, size, file), size);
    fclose(file);
    return (Slice){content, size};
}

static uint32_t unmasked(uint64_t stored) {
    uint32_t rotated = (uint32_t)stored - 0xa282ead8u;
    return rotated >> 17 | rotated << 15;
}

/// Takes the first record, whose checksums must be right, off the file; a cut one ends it, as does
/// the end.
static Slice next_record(Slice *file) {
    if (file->size < 12) return (Slice){0};
    uint64_t size = little_endian(file->data, 8);
    assert_int_equal(unmasked(little_endian(file->data + 8, 4)), crc32c(0, file->data, 8));
    if (file->size < 16 + size) return (Slice){0};
    Slice record = {file->data + 12, size};
    assert_int_equal(unmasked(little_endian(record.data + size, 4)), crc32c(0, record.data, size));
    *file = (Slice){file->data + 16 + size, file->size - 16 - size};
    return record;
}

static uint64_t take_varint(Slice *message) {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        assert_true(message->size > 0 && shift < 64);
        unsigned char byte = *message->data++;
        message->size--;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return value;
    }
}

/// The content of that field: the bytes of a string or message, or of the number as it is encoded.
/// Fields are expected once.
static Slice field(Slice message, int number) {
    Slice found = {0};
    while (message.size > 0) {
        uint64_t key = take_varint(&message);
        Slice content = message, rest = message;
        switch (key & 7) {
        case 0:
            take_varint(&rest);
            content.size = (size_t)(rest.data - message.data);
            break;
        case 1:
            content.size = 8;
            break;
        case 5:
            content.size = 4;
            break;
        default:
            assert_int_equal(key & 7, 2);
            content.size = take_varint(&message);
            content.data = message.data;
        }
        assert_true(content.size <= message.size);
        message = (Slice){content.data + content.size, message.size - content.size};
        if ((int)(key >> 3) != number) continue;
        assert_null(found.data);
        found = content;
    }
    return found;
}

static int64_t number(Slice message, int which) {
    Slice content = field(message, which);
    return content.data ? (int64_t)take_varint(&content) : 0;
}

static void assert_bytes(Slice bytes, const void *expected, size_t size) {
    assert_non_null(bytes.data);
    assert_int_equal(bytes.size, size);
    assert_memory_equal(bytes.data, expected, size);
}

static void assert_text(Slice bytes, const char *expected) {
    assert_bytes(bytes, expected, strlen(expected));
}

enum { STEP = 2, SUMMARY = 5, SESSION = 7, VALUE = 1, TAG = 1, SIMPLE = 2, IMAGE = 4, TENSOR = 8 };

/// The value in a record that has one.
static Slice value_of(Slice record) { return field(field(record, SUMMARY), VALUE); }

/// Opens a file in the test's folder.
static EventFile *open_events(int64_t resumed_step) {
    Error error = {0};
    EventFile *file = event_file_open(temporary_folder, resumed_step, &error);
    if (!file) fail_msg("%s", error.message);
    return file;
}

/// What the file holds behind the version and the session.
static Slice values_in(const EventFile *file) {
    Slice content = file_content(event_file_path(file));
    assert_non_null(next_record(&content).data);
    assert_non_null(next_record(&content).data);
    return content;
}

static void the_first_record_is_the_version_in_tensorboards_frame(void **state) {
    (void)state;
    double before = (double)time(NULL);
    EventFile *file = open_events(-1);
    Slice content = file_content(event_file_path(file));
    // Every event file of TensorBoard's own begins so: 24 bytes, the masked checksum of this
    // number, wall_time's key.
    assert_memory_equal(content.data, "\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22\x09", 13);
    Slice version = next_record(&content);
    assert_text(field(version, 3), "brain.Event:2");
    uint64_t bits = little_endian(field(version, 1).data, 8);
    double wall_time;
    memcpy(&wall_time, &bits, sizeof wall_time);
    assert_true(wall_time >= before && wall_time < before + 600);
    event_file_close(file);
}

static void a_run_tells_from_which_step_on_its_values_count(void **state) {
    (void)state;
    const int64_t resumed[] = {-1, 0, 299, INT64_MAX - 1};
    for (int i = 0; i < 4; i++) {
        EventFile *file = open_events(resumed[i]);
        Slice content = file_content(event_file_path(file));
        next_record(&content);
        Slice session = next_record(&content);
        assert_int_equal(number(field(session, SESSION), 1), 1); // START
        assert_true(number(session, STEP) == resumed[i] + 1);
        assert_int_equal(content.size, 0);
        event_file_close(file);
    }
}

static void the_name_is_one_that_tensorboard_looks_for(void **state) {
    (void)state;
    char host[256] = "", expected[600];
    gethostname(host, sizeof host - 1);
    EventFile *file = open_events(-1);
    long long seconds = 0;
    const char *name = event_file_path(file) + strlen(temporary_folder) + 1;
    assert_int_equal(sscanf(name, "events.out.tfevents.%10lld.", &seconds), 1);
    assert_true(seconds <= (long long)time(NULL) && seconds > (long long)time(NULL) - 600);
    snprintf(expected, sizeof expected, "events.out.tfevents.%010lld.%s.%ld.0", seconds, host,
             (long)getpid());
    assert_string_equal(name, expected);
    event_file_close(file);
}

static void a_later_file_sorts_after_all_that_are_there(void **state) {
    (void)state;
    write_text("events.out.tfevents.0000000005.z.1.0", "");
    write_text("events.out.tfevents.what", "");
    char last[512] = "";
    for (int i = 0; i < 3; i++) {
        EventFile *file = open_events(-1);
        assert_true(strcmp(event_file_path(file), last) > 0);
        snprintf(last, sizeof last, "%s", event_file_path(file));
        event_file_close(file);
    }
    write_text("events.out.tfevents.4000000000.z.1.0", ""); // the clock was set back
    EventFile *file = open_events(-1);
    assert_non_null(strstr(event_file_path(file), "tfevents.4000000001."));
    event_file_close(file);
}

static void scalars_come_back_as_they_were(void **state) {
    (void)state;
    const double values[] = {0, -0.0, 2.5, 1e-45, -FLT_MAX, 1.0 / 3, INFINITY, -INFINITY, 1e300};
    enum { COUNT = sizeof values / sizeof *values };
    EventFile *file = open_events(-1);
    for (int i = 0; i < COUNT; i++)
        assert_true(event_file_scalar(file, "train/loss", i, values[i], NULL));
    assert_true(event_file_scalar(file, "train/loss", (int64_t)1 << 40, NAN, NULL));
    Slice content = values_in(file);
    for (int i = 0; i <= COUNT; i++) {
        Slice record = next_record(&content);
        assert_true(number(record, STEP) == (i < COUNT ? i : (int64_t)1 << 40));
        assert_text(field(value_of(record), TAG), "train/loss");
        uint32_t bits = (uint32_t)little_endian(field(value_of(record), SIMPLE).data, 4);
        float value, expected = i < COUNT ? (float)values[i] : NAN;
        memcpy(&value, &bits, sizeof value);
        if (isnan(expected))
            assert_true(isnan(value));
        else
            assert_memory_equal(&value, &expected, sizeof value);
    }
    assert_int_equal(content.size, 0);
    event_file_close(file);
}

/// The text in a record of one, whose plugin and tensor must be as TensorBoard wants them.
static Slice text_of(Slice record) {
    Slice value = value_of(record), tensor = field(value, TENSOR);
    assert_text(field(field(field(value, 9), 1), 1), "text");
    assert_int_equal(number(tensor, 1), 7); // DT_STRING
    assert_non_null(field(tensor, 2).data);
    assert_int_equal(field(tensor, 2).size, 0); // rank 0
    return field(tensor, 8);
}

static void text_comes_back_however_long_and_in_any_script(void **state) {
    (void)state;
    enum { LONG = 3000000 };
    char *long_text = malloc(LONG + 1);
    for (int i = 0; i < LONG; i++) long_text[i] = (char)('a' + i % 26);
    long_text[LONG] = 0;
    const char *texts[] = {"", "two\nlines", "d\xc3\xa9j\xc3\xa0 \xe7\x8c\xab \xf0\x9f\x90\x88",
                           long_text};
    EventFile *file = open_events(-1);
    for (int i = 0; i < 4; i++) assert_true(event_file_text(file, "answer", i, texts[i], NULL));
    Slice content = values_in(file);
    for (int i = 0; i < 4; i++) assert_text(text_of(next_record(&content)), texts[i]);
    assert_int_equal(content.size, 0);
    event_file_close(file);
    free(long_text);
}

static void what_is_not_utf8_is_replaced_in_texts_and_tags(void **state) {
    (void)state;
    const char *cases[][2] = {
        {"cut \xe7\x8c", "cut \xef\xbf\xbd\xef\xbf\xbd"},
        {"\xff \xc0\xaf", "\xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd"}, // overlong
        {"\xed\xa0\x80|\xf4\x8f\xbf\xbf|\xf4\x90\x80\x80",
         "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|\xf4\x8f\xbf\xbf|\xef\xbf\xbd\xef\xbf\xbd\xef\xbf"
         "\xbd\xef\xbf\xbd"},
    };
    EventFile *file = open_events(-1);
    for (int i = 0; i < 3; i++)
        assert_true(event_file_text(file, cases[i][0], 1, cases[i][0], NULL));
    Slice content = values_in(file);
    for (int i = 0; i < 3; i++) {
        Slice record = next_record(&content);
        assert_text(text_of(record), cases[i][1]);
        assert_text(field(value_of(record), TAG), cases[i][1]);
    }
    event_file_close(file);
}

static void an_image_comes_back_with_its_size_and_channels(void **state) {
    (void)state;
    enum { COLOR_TYPE_AT = 25 };
    const int types[][2] = {{0, 1}, {2, 3}, {3, 3}, {4, 2}, {6, 4}};
    unsigned char picture[sizeof PICTURE];
    memcpy(picture, PICTURE, sizeof picture);
    EventFile *file = open_events(-1);
    for (int i = 0; i < 5; i++) {
        picture[COLOR_TYPE_AT] = (unsigned char)types[i][0];
        assert_true(event_file_image_png(file, "attention", i, picture, sizeof picture, NULL));
    }
    Slice content = values_in(file);
    for (int i = 0; i < 5; i++) {
        picture[COLOR_TYPE_AT] = (unsigned char)types[i][0];
        Slice image = field(value_of(next_record(&content)), IMAGE);
        assert_int_equal(number(image, 1), 2);
        assert_int_equal(number(image, 2), 3);
        assert_int_equal(number(image, 3), types[i][1]);
        assert_bytes(field(image, 4), picture, sizeof picture);
    }
    event_file_close(file);
}

static void a_picture_that_is_no_png_is_refused(void **state) {
    (void)state;
    EventFile *file = open_events(-1);
    Error error = {0};
    assert_false(event_file_image_png(file, "attention", 0, PICTURE, 32, &error));
    assert_non_null(strstr(error.message, "'attention' is not a PNG file"));
    unsigned char other[sizeof PICTURE] = {0xff, 0xd8, 0xff};
    assert_false(event_file_image_png(file, "attention", 0, other, sizeof other, &error));
    assert_int_equal(values_in(file).size, 0);
    event_file_close(file);
}

static void without_a_folder_there_is_no_file(void **state) {
    (void)state;
    Error error = {0};
    assert_null(event_file_open(in_folder("absent"), -1, &error));
    assert_non_null(strstr(error.message, in_folder("absent")));
    event_file_close(NULL);
}

static void limit_file_size(rlim_t bytes) {
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(10);
}

/// In a process of its own, for the limit meets all that it writes: the number of what went wrong,
/// or 0.
static int meet_a_full_disk(void) {
    signal(SIGXFSZ, SIG_IGN);
    Error error = {0};
    limit_file_size(20);
    if (event_file_open(temporary_folder, -1, &error)) return 1;
    if (!strstr(error.message, "cannot be written") || files_in_folder() != 0) return 2;
    limit_file_size(500);
    EventFile *file = event_file_open(temporary_folder, -1, &error);
    if (!file) return 3;
    int64_t step = 0;
    while (step < 100 && event_file_scalar(file, "loss", step, 1, &error)) step++;
    if (step == 0 || step == 100) return 4;
    // What is there is whole; and where there is room again, it goes on.
    struct stat status;
    if (stat(event_file_path(file), &status) != 0 || status.st_size == 500) return 5;
    if (event_file_text(file, "answer", 0, "longer than what is left", &error)) return 6;
    limit_file_size(100000);
    for (; step < 100; step++)
        if (!event_file_scalar(file, "loss", step, 1, &error)) return 7;
    Slice content = values_in(file);
    for (step = 0; content.size > 0; step++)
        if (number(next_record(&content), STEP) != step) return 8;
    event_file_close(file);
    return step == 100 ? 0 : 9;
}

static void a_full_disk_is_an_error_and_leaves_whole_records(void **state) {
    (void)state;
    pid_t child = fork();
    if (child == 0) _exit(meet_a_full_disk());
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void write_steps(EventFile *file, int first, int end, double slope) {
    for (int step = first; step < end; step++) {
        char text[64];
        snprintf(text, sizeof text, "**step %d** of a run \xf0\x9f\x90\x88", step);
        assert_true(event_file_scalar(file, "train/loss", step, slope * step, NULL));
        assert_true(event_file_text(file, "samples/answer", step, text, NULL));
        assert_true(
            event_file_image_png(file, "samples/attention", step, PICTURE, sizeof PICTURE, NULL));
    }
}

/// Steps 0 to 5, of which the last one's image is cut, then 3 and 4 anew.
/// tests/parity/check_event_file.py has TensorBoard read what this leaves in the folder named by
/// DIFFLMM_EVENT_FOLDER.
static void a_run_that_was_killed_and_resumed_reads_as_one(void **state) {
    (void)state;
    const char *kept = getenv("DIFFLMM_EVENT_FOLDER");
    const char *folder = kept ? kept : temporary_folder;
    EventFile *file = event_file_open(folder, -1, NULL);
    assert_non_null(file);
    assert_true(event_file_scalar(file, "not finite", 0, NAN, NULL));
    assert_true(event_file_scalar(file, "not finite", 1, -INFINITY, NULL));
    write_steps(file, 0, 6, 1);
    Slice content = file_content(event_file_path(file));
    assert_int_equal(truncate(event_file_path(file), (off_t)content.size - 3), 0);
    event_file_close(file);

    file = event_file_open(folder, 2, NULL);
    assert_non_null(file);
    write_steps(file, 3, 5, 10);
    content = values_in(file);
    int records = 0;
    while (next_record(&content).data) records++;
    assert_int_equal(records, 2 * 3);
    assert_int_equal(content.size, 0);
    event_file_close(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(the_first_record_is_the_version_in_tensorboards_frame),
        IN_FOLDER(a_run_tells_from_which_step_on_its_values_count),
        IN_FOLDER(the_name_is_one_that_tensorboard_looks_for),
        IN_FOLDER(a_later_file_sorts_after_all_that_are_there),
        IN_FOLDER(scalars_come_back_as_they_were),
        IN_FOLDER(text_comes_back_however_long_and_in_any_script),
        IN_FOLDER(what_is_not_utf8_is_replaced_in_texts_and_tags),
        IN_FOLDER(an_image_comes_back_with_its_size_and_channels),
        IN_FOLDER(a_picture_that_is_no_png_is_refused),
        IN_FOLDER(without_a_folder_there_is_no_file),
        IN_FOLDER(a_full_disk_is_an_error_and_leaves_whole_records),
        IN_FOLDER(a_run_that_was_killed_and_resumed_reads_as_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
