// The few messages in use are encoded here by hand, by TensorFlow's event.proto, summary.proto,
// tensor.proto and tensor_shape.proto; the field numbers below are theirs. Scalars are
// `simple_value` without metadata and images are `image`: the oldest forms, which every TensorBoard
// shows. Text has no such form: it is a string tensor of rank 0 that names the plugin.
#include "train/log/event_file.h"

#include "autograd/crc32c.h"
#include "autograd/text/byte_buffer.h"
#include "autograd/text/utf8.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { EVENT_WALL_TIME = 1, EVENT_STEP, EVENT_FILE_VERSION, EVENT_SUMMARY = 5, EVENT_SESSION = 7 };
enum { SESSION_STATUS = 1, SESSION_START = 1 };
enum { SUMMARY_VALUE = 1 };
enum { VALUE_TAG = 1, VALUE_SIMPLE = 2, VALUE_IMAGE = 4, VALUE_TENSOR = 8, VALUE_METADATA = 9 };
enum { METADATA_PLUGIN = 1, PLUGIN_NAME = 1 };
enum { TENSOR_DTYPE = 1, TENSOR_SHAPE = 2, TENSOR_STRINGS = 8, DT_STRING = 7 };
enum { IMAGE_HEIGHT = 1, IMAGE_WIDTH, IMAGE_CHANNELS, IMAGE_ENCODED };

static const char FILE_NAME_BEGIN[] = "events.out.tfevents.";
/// What a value may have, so that its event stays below the 2 GiB of a protocol buffer.
static const size_t LARGEST_VALUE = ((size_t)1 << 31) - 1024;

struct EventFile {
    char *path;
    int descriptor;
    /// of the whole records
    off_t length;
    /// of a record that could be neither finished nor taken back
    bool has_part_left;
};

static void put_varint(ByteBuffer *bytes, uint64_t value) {
    for (; value >= 0x80; value >>= 7) byte_buffer_put_byte(bytes, (int)(value & 0x7f) | 0x80);
    byte_buffer_put_byte(bytes, (int)value);
}

/// Wire types of protocol buffers.
typedef enum Wire { WIRE_VARINT = 0, WIRE_64_BITS = 1, WIRE_BYTES = 2, WIRE_32_BITS = 5 } Wire;

static void put_key(ByteBuffer *message, int field, Wire wire) {
    put_varint(message, (uint64_t)field << 3 | wire);
}

/// A field that is absent is read as 0.
static void put_integer(ByteBuffer *message, int field, int64_t value) {
    if (value == 0) return;
    put_key(message, field, WIRE_VARINT);
    put_varint(message, (uint64_t)value);
}

static void put_double(ByteBuffer *message, int field, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(message, field, WIRE_64_BITS);
    byte_buffer_put_little_endian(message, bits, sizeof bits);
}

static void put_float(ByteBuffer *message, int field, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(message, field, WIRE_32_BITS);
    byte_buffer_put_little_endian(message, bits, sizeof bits);
}

static void put_bytes(ByteBuffer *message, int field, const void *data, size_t size) {
    put_key(message, field, WIRE_BYTES);
    put_varint(message, size);
    byte_buffer_put(message, data, size);
}

/// Puts a message into another and frees it.
static void put_message(ByteBuffer *message, int field, ByteBuffer inner) {
    put_bytes(message, field, inner.data, inner.size);
    byte_buffer_free(&inner);
}

static void put_text(ByteBuffer *message, int field, const char *text) {
    ByteBuffer valid = {0};
    for (size_t left = strlen(text); left > 0;) {
        size_t length = utf8_character_length(text, left);
        if (length > 0)
            byte_buffer_put(&valid, text, length);
        else
            byte_buffer_put_text(&valid, UTF8_REPLACEMENT);
        text += length ? length : 1;
        left -= length ? length : 1;
    }
    put_message(message, field, valid);
}

static double wall_time(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/// The checksum of a TFRecord: a CRC of data that holds CRCs would be weak, so they are stored in
/// disguise.
static uint32_t masked_crc32c(const void *data, size_t size) {
    uint32_t crc = crc32c(0, data, size);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/// Takes back what a failed write left of its record: behind it no reader would find the next one.
static bool drop_part(EventFile *file, Error *error) {
    file->has_part_left = ftruncate(file->descriptor, file->length) != 0;
    return !file->has_part_left ||
           error_set(error, "%s: cannot be cut back to its whole records: %s", file->path,
                     strerror(errno));
}

static bool append(EventFile *file, const ByteBuffer *record, Error *error) {
    if (file->has_part_left && !drop_part(file, error)) return false;
    for (size_t done = 0; done < record->size;) {
        ssize_t written = write(file->descriptor, record->data + done, record->size - done);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) {
            error_set(error, "%s: cannot be written: %s", file->path,
                      written < 0 ? strerror(errno) : "the disk is full");
            if (done > 0) drop_part(file, NULL);
            return false;
        }
        done += (size_t)written;
    }
    file->length += (off_t)record->size;
    return true;
}

/// Writes an event that has that one field, and frees the field's content.
static bool write_event(EventFile *file, int64_t step, int field, ByteBuffer content,
                        Error *error) {
    ByteBuffer event = {0}, record = {0};
    put_double(&event, EVENT_WALL_TIME, wall_time());
    put_integer(&event, EVENT_STEP, step);
    put_message(&event, field, content);
    byte_buffer_put_little_endian(&record, event.size, 8);
    byte_buffer_put_little_endian(&record, masked_crc32c(record.data, 8), 4);
    byte_buffer_put(&record, event.data, event.size);
    byte_buffer_put_little_endian(&record, masked_crc32c(event.data, event.size), 4);
    bool is_written = append(file, &record, error);
    byte_buffer_free(&event);
    byte_buffer_free(&record);
    return is_written;
}

/// Writes one value of a summary and frees it.
static bool write_value(EventFile *file, int64_t step, ByteBuffer value, Error *error) {
    CHECK(step >= 0, "event file: step %lld", (long long)step);
    if (value.size > LARGEST_VALUE) {
        byte_buffer_free(&value);
        return error_set(error, "%s: a text or picture of %zu bytes; an event file takes %zu",
                         file->path, value.size, LARGEST_VALUE);
    }
    ByteBuffer summary = {0};
    put_message(&summary, SUMMARY_VALUE, value);
    return write_event(file, step, EVENT_SUMMARY, summary, error);
}

/// The seconds in an event file's name, or -1.
static long long seconds_of_name(const char *name) {
    enum { DIGITS = 10 };
    size_t begin = strlen(FILE_NAME_BEGIN);
    if (strncmp(name, FILE_NAME_BEGIN, begin) != 0) return -1;
    name += begin;
    return strspn(name, "0123456789") == DIGITS && name[DIGITS] == '.' ? atoll(name) : -1;
}

/// The time, or a later one where event files have it already: of a run that ended within this
/// second, or before the clock was set back. -1 on failure.
static long long choose_seconds(const char *folder, Error *error) {
    DIR *directory = opendir(folder);
    if (!directory) {
        error_set(error, "%s: cannot be read: %s", folder, strerror(errno));
        return -1;
    }
    long long seconds = (long long)time(NULL);
    for (struct dirent *entry; (entry = readdir(directory));) {
        long long taken = seconds_of_name(entry->d_name);
        if (taken >= seconds) seconds = taken + 1;
    }
    closedir(directory);
    return seconds;
}

static bool create_file(EventFile *file, const char *folder, Error *error) {
    long long seconds = choose_seconds(folder, error);
    if (seconds < 0) return false;
    char host[256] = "";
    if (gethostname(host, sizeof host - 1) != 0 || !*host) strcpy(host, "localhost");
    for (int n = 0; file->descriptor < 0; n++) {
        free(file->path);
        file->path = format_string("%s/%s%010lld.%s.%ld.%d", folder, FILE_NAME_BEGIN, seconds, host,
                                   (long)getpid(), n);
        file->descriptor =
            open(file->path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file->descriptor < 0 && errno != EEXIST)
            return error_set(error, "%s: cannot be created: %s", file->path, strerror(errno));
    }
    return true;
}

/// The version first, for it decides how the rest is read. Then the beginning of a session:
/// TensorBoard forgets the steps from its own on, at the second one that it finds in a run and at
/// later ones; so the first file must have one as well.
static bool write_beginning(EventFile *file, int64_t first_step, Error *error) {
    static const char VERSION[] = "brain.Event:2";
    ByteBuffer version = {0};
    byte_buffer_put_text(&version, VERSION);
    if (!write_event(file, 0, EVENT_FILE_VERSION, version, error)) return false;
    ByteBuffer session = {0};
    put_integer(&session, SESSION_STATUS, SESSION_START);
    return write_event(file, first_step, EVENT_SESSION, session, error);
}

EventFile *event_file_open(const char *folder, int64_t resumed_step, Error *error) {
    CHECK(resumed_step >= -1, "event_file_open: step %lld", (long long)resumed_step);
    EventFile *file = checked_calloc(1, sizeof *file);
    file->descriptor = -1;
    if (create_file(file, folder, error)) {
        if (write_beginning(file, resumed_step + 1, error)) return file;
        unlink(file->path);
    }
    event_file_close(file);
    return NULL;
}

const char *event_file_path(const EventFile *file) { return file->path; }

bool event_file_scalar(EventFile *file, const char *tag, int64_t step, double value, Error *error) {
    ByteBuffer message = {0};
    put_text(&message, VALUE_TAG, tag);
    put_float(&message, VALUE_SIMPLE, (float)value);
    return write_value(file, step, message, error);
}

bool event_file_text(EventFile *file, const char *tag, int64_t step, const char *text,
                     Error *error) {
    static const char TEXT_PLUGIN[] = "text";
    ByteBuffer message = {0}, metadata = {0}, plugin = {0}, tensor = {0};
    put_bytes(&plugin, PLUGIN_NAME, TEXT_PLUGIN, strlen(TEXT_PLUGIN));
    put_message(&metadata, METADATA_PLUGIN, plugin);
    put_integer(&tensor, TENSOR_DTYPE, DT_STRING);
    put_message(&tensor, TENSOR_SHAPE, (ByteBuffer){0}); // no dimensions
    put_text(&tensor, TENSOR_STRINGS, text);
    put_text(&message, VALUE_TAG, tag);
    put_message(&message, VALUE_METADATA, metadata);
    put_message(&message, VALUE_TENSOR, tensor);
    return write_value(file, step, message, error);
}

static int64_t big_endian_32(const unsigned char *bytes) {
    return (int64_t)bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
}

/// TensorBoard's colour space is the number of channels.
static int64_t channels_of_color_type(int type) {
    switch (type) {
    case 0: // grey
        return 1;
    case 4: // grey and alpha
        return 2;
    case 6: // red, green, blue and alpha
        return 4;
    default: // red, green and blue, or of a palette
        return 3;
    }
}

bool event_file_image_png(EventFile *file, const char *tag, int64_t step, const void *png,
                          size_t size, Error *error) {
    // The signature and the beginning of the first chunk [PNG specification, 3rd edition, 5.2
    // and 11.2.1].
    static const unsigned char BEGIN[] = "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR";
    enum { WIDTH_AT = 16, HEIGHT_AT = 20, COLOR_TYPE_AT = 25, HEADER_END = 33 };
    const unsigned char *bytes = png;
    if (size < HEADER_END || memcmp(bytes, BEGIN, WIDTH_AT) != 0)
        return error_set(error, "%s: the picture for '%s' is not a PNG file", file->path, tag);
    ByteBuffer message = {0}, image = {0};
    put_integer(&image, IMAGE_HEIGHT, big_endian_32(bytes + HEIGHT_AT));
    put_integer(&image, IMAGE_WIDTH, big_endian_32(bytes + WIDTH_AT));
    put_integer(&image, IMAGE_CHANNELS, channels_of_color_type(bytes[COLOR_TYPE_AT]));
    put_bytes(&image, IMAGE_ENCODED, png, size);
    put_text(&message, VALUE_TAG, tag);
    put_message(&message, VALUE_IMAGE, image);
    return write_value(file, step, message, error);
}

void event_file_close(EventFile *file) {
    if (!file) return;
    if (file->descriptor >= 0) close(file->descriptor);
    free(file->path);
    free(file);
}
