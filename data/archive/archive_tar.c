// Headers of 512 bytes, each before its member's data; long names and sizes come as members of
// their own, before the one that they are about.
#include "autograd/stop_request.h"
#include "data/archive/archive_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    BLOCK = 512,
    NAME = 0,
    NAME_BYTES = 100,
    SIZE = 124,
    SIZE_BYTES = 12,
    CHECKSUM = 148,
    CHECKSUM_BYTES = 8,
    TYPE = 156,
    LINK = 157,
    MAGIC = 257,
    PREFIX = 345,
    PREFIX_BYTES = 155,
    /// GNU's sparse files: whether a block of more places follows
    SPARSE_MORE = 482,
    SPARSE_EVEN_MORE = 504,
    /// of a name, or of a set of pax records
    MOST_EXTENSION = 1 << 20,
    BLOCKS_BETWEEN_LOOKS = 4096
};

/// What the members before it say of the next.
typedef struct Extensions {
    ByteBuffer name, link;
    bool has_size, is_sparse;
    uint64_t size;
} Extensions;

typedef struct Walk {
    Archive *archive;
    int descriptor;
    uint64_t at;
    Extensions next;
    Error *error;
} Walk;

static bool damaged(const Walk *walk) {
    return error_set(walk->error,
                     "%s: the tar archive is damaged at byte %llu: there is no header. Fetch it "
                     "again",
                     walk->archive->path, (unsigned long long)walk->at);
}

/// Octal text, or GNU's binary numbers, whose first bit is set. False if it is neither.
static bool read_number(const unsigned char *field, size_t size, uint64_t *value) {
    size_t at = 0;
    *value = 0;
    if (field[0] & 0x80) {
        if (field[0] & 0x7f) return false; // negative, or more than 88 bits
        for (at = 1; at < size; at++) {
            if (*value >> 55) return false;
            *value = *value << 8 | field[at];
        }
        return true;
    }
    while (at < size && field[at] == ' ') at++;
    for (; at < size && field[at] >= '0' && field[at] <= '7'; at++)
        *value = *value * 8 + (uint64_t)(field[at] - '0');
    return at == size || field[at] == 0 || field[at] == ' ';
}

/// Sums of the bytes, signed or not: both were written. The field counts as spaces.
static bool is_header(const unsigned char *block) {
    uint64_t stored;
    int64_t sum = 0, signed_sum = 0;
    if (!read_number(block + CHECKSUM, CHECKSUM_BYTES, &stored)) return false;
    for (int i = 0; i < BLOCK; i++) {
        const bool is_field = i >= CHECKSUM && i < CHECKSUM + CHECKSUM_BYTES;
        sum += is_field ? ' ' : block[i];
        signed_sum += is_field ? ' ' : (signed char)block[i];
    }
    return (int64_t)stored == sum || (int64_t)stored == signed_sum;
}

static bool is_zero(const unsigned char *block) {
    for (int i = 0; i < BLOCK; i++)
        if (block[i]) return false;
    return true;
}

// ---- extensions

static void forget(Extensions *next) {
    byte_buffer_clear(&next->name);
    byte_buffer_clear(&next->link);
    next->has_size = next->is_sparse = false;
}

static void take(ByteBuffer *target, const char *text, size_t length) {
    byte_buffer_clear(target);
    byte_buffer_put(target, text, strnlen(text, length));
}

static bool is_key(const char *key, size_t length, const char *word) {
    return length == strlen(word) && memcmp(key, word, length) == 0;
}

/// One record: "LENGTH KEY=VALUE\n", of which the length counts all.
static bool take_record(Extensions *next, const char *record, size_t length) {
    const char *key = memchr(record, ' ', length), *equals;
    if (!key++) return false;
    equals = memchr(key, '=', length - (size_t)(key - record));
    if (!equals) return false;
    const size_t key_length = (size_t)(equals - key);
    const char *value = equals + 1;
    const size_t bytes = length - (size_t)(value - record) - 1; // without the line's end
    if (is_key(key, key_length, "path")) take(&next->name, value, bytes);
    if (is_key(key, key_length, "linkpath")) take(&next->link, value, bytes);
    if (key_length > 10 && memcmp(key, "GNU.sparse", 10) == 0) next->is_sparse = true;
    if (!is_key(key, key_length, "size")) return true;
    next->has_size = true;
    next->size = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (value[i] < '0' || value[i] > '9' || next->size > UINT64_MAX / 16) return false;
        next->size = next->size * 10 + (uint64_t)(value[i] - '0');
    }
    return true;
}

static bool take_records(Extensions *next, const char *text, size_t size) {
    for (size_t at = 0; at < size && text[at];) {
        size_t length = 0, digits = at;
        for (; digits < size && text[digits] >= '0' && text[digits] <= '9'; digits++)
            if ((length = length * 10 + (size_t)(text[digits] - '0')) > MOST_EXTENSION)
                return false;
        if (length < 5 || length > size - at || text[at + length - 1] != '\n' ||
            !take_record(next, text + at, length))
            return false;
        at += length;
    }
    return true;
}

/// Reads the data of a member that is about the next one.
static bool read_extension(Walk *walk, int type, uint64_t size) {
    if (size > MOST_EXTENSION) return damaged(walk);
    char *text = checked_malloc((size_t)size + 1);
    bool done = archive_read_at(walk->archive, walk->descriptor, walk->at + BLOCK, text,
                                (size_t)size, walk->error);
    text[size] = 0;
    if (done && type == 'L') take(&walk->next.name, text, (size_t)size);
    if (done && type == 'K') take(&walk->next.link, text, (size_t)size);
    if (done && type == 'x' && !take_records(&walk->next, text, (size_t)size)) done = damaged(walk);
    free(text);
    return done;
}

// ---- members

/// Puts prefix and name of the header.
static void header_name(const unsigned char *block, ByteBuffer *name) {
    const char *text = (const char *)block;
    // GNU's own form has times where POSIX has the prefix.
    if (memcmp(text + MAGIC, "ustar\0", 6) == 0 && text[PREFIX]) {
        byte_buffer_put(name, text + PREFIX, strnlen(text + PREFIX, PREFIX_BYTES));
        byte_buffer_put_byte(name, '/');
    }
    byte_buffer_put(name, text + NAME, strnlen(text + NAME, NAME_BYTES));
}

/// Adds a file or link; what is neither makes no file that could be read.
static void add_member(Walk *walk, const unsigned char *block, uint64_t size) {
    const int type = block[TYPE];
    ByteBuffer name = {0};
    ArchiveMember member = {.offset = walk->at + BLOCK, .bytes = size, .packed = size};
    const char *link = (const char *)block + LINK;
    size_t link_length = strnlen(link, NAME_BYTES);
    if (walk->next.name.size)
        byte_buffer_put(&name, walk->next.name.data, walk->next.name.size);
    else
        header_name(block, &name);
    if (walk->next.link.size) {
        link = walk->next.link.data;
        link_length = walk->next.link.size;
    }
    const bool is_file = type == '0' || type == 0 || type == '7',
               is_folder = name.size && name.data[name.size - 1] == '/'; // of the oldest form
    member.kind = type == '1'                           ? MEMBER_HARD_LINK
                  : type == '2'                         ? MEMBER_SYMBOLIC_LINK
                  : type == 'S' || walk->next.is_sparse ? MEMBER_SPARSE
                                                        : MEMBER_STORED;
    if ((is_file && !is_folder) || type == '1' || type == '2' || type == 'S')
        archive_add(walk->archive, member, name.data, name.size, link, link_length);
    byte_buffer_free(&name);
}

/// The places of a sparse file's parts may go on in blocks of their own.
static bool skip_places(Walk *walk, const unsigned char *header) {
    unsigned char block[BLOCK];
    bool more = header[SPARSE_MORE] != 0;
    while (more) {
        if (!archive_read_at(walk->archive, walk->descriptor, walk->at + BLOCK, block, BLOCK,
                             walk->error))
            return false;
        walk->at += BLOCK;
        more = block[SPARSE_EVEN_MORE] != 0;
    }
    return true;
}

static bool read_member(Walk *walk, const unsigned char *block) {
    const int type = block[TYPE];
    uint64_t size;
    if (!is_header(block) || !read_number(block + SIZE, SIZE_BYTES, &size)) return damaged(walk);
    const bool is_extension = type == 'L' || type == 'K' || type == 'x' || type == 'g';
    if (type == 'M')
        return error_set(walk->error, "%s: tar archives in several parts are not read",
                         walk->archive->path);
    if (walk->next.has_size && !is_extension) size = walk->next.size;
    if (type >= '1' && type <= '6') size = 0; // links, devices and folders have no data
    if (type == 'S' && !skip_places(walk, block)) return false;
    const uint64_t left = walk->archive->size - walk->at - BLOCK;
    if (size > left)
        return error_set(walk->error,
                         "%s: the tar archive is cut off: a member needs %llu bytes at byte %llu, "
                         "and the file ends at %llu. Fetch it again",
                         walk->archive->path, (unsigned long long)size,
                         (unsigned long long)walk->at + BLOCK,
                         (unsigned long long)walk->archive->size);
    if (is_extension && type != 'g' && !read_extension(walk, type, size)) return false;
    if (!is_extension) {
        add_member(walk, block, size);
        forget(&walk->next);
    }
    walk->at += BLOCK + (size + BLOCK - 1) / BLOCK * BLOCK;
    return true;
}

/// Goes on to the block of zeros that ends an archive, or the end of the file.
static bool walk_members(Walk *walk) {
    unsigned char block[BLOCK];
    for (int64_t count = 1; walk->at < walk->archive->size; count++) {
        if (count % BLOCKS_BETWEEN_LOOKS == 0 && stop_requested())
            return stop_request_error(walk->error);
        if (walk->archive->size - walk->at < BLOCK)
            return error_set(walk->error, "%s: the tar archive is cut off; fetch it again",
                             walk->archive->path);
        if (!archive_read_at(walk->archive, walk->descriptor, walk->at, block, BLOCK, walk->error))
            return false;
        if (is_zero(block)) return true;
        if (!read_member(walk, block)) return false;
    }
    return true;
}

bool archive_list_tar(Archive *archive, int descriptor, Error *error) {
    Walk walk = {.archive = archive, .descriptor = descriptor, .error = error};
    const bool done = walk_members(&walk);
    byte_buffer_free(&walk.next.name);
    byte_buffer_free(&walk.next.link);
    return done;
}
