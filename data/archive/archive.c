#include "data/archive/archive.h"
#include "autograd/file_content.h"
#include "data/archive/archive_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TAR_BLOCK = 512, TAR_MAGIC = 257 };

// ---- names

/// Puts the name as a path within the folder: without ".", empty parts and a leading slash.
/// False for one that leads out, and for none.
static bool put_path(ByteBuffer *out, const char *name, size_t length) {
    const size_t begin = out->size;
    const bool has_slash = memchr(name, '/', length) != NULL;
    for (size_t at = 0; at < length;) {
        size_t end = at;
        // Some programs of Windows write its separators.
        while (end < length && name[end] != '/' && (has_slash || name[end] != '\\')) end++;
        const size_t part = end - at;
        if (part == 2 && memcmp(name + at, "..", 2) == 0) return false;
        if (part > 0 && !(part == 1 && name[at] == '.')) {
            if (out->size > begin) byte_buffer_put_byte(out, '/');
            byte_buffer_put(out, name + at, part);
        }
        at = end + 1;
    }
    return out->size > begin;
}

/// Adds it to the names; returns where, or 0.
static size_t add_name(Archive *archive, const char *name, size_t length) {
    if (!archive->names.size) byte_buffer_put_byte(&archive->names, 0);
    const size_t begin = archive->names.size;
    static const char of_macos[] =
        "__MACOSX/"; // beside the files, what its file system says of them
    const bool is_path = put_path(&archive->names, name, length);
    if (!is_path || !strncmp(archive->names.data + begin, of_macos, sizeof of_macos - 1)) {
        archive->names.size = begin;
        return 0;
    }
    byte_buffer_put_byte(&archive->names, 0);
    return begin;
}

void archive_add(Archive *archive, ArchiveMember member, const char *name, size_t name_length,
                 const char *link, size_t link_length) {
    member.name = add_name(archive, name, name_length);
    if (!member.name) return;
    if (link_length) member.link = add_name(archive, link, link_length);
    if (archive->count == archive->capacity) {
        archive->capacity = archive->capacity ? 2 * archive->capacity : 1024;
        archive->members =
            checked_realloc(archive->members, (size_t)archive->capacity * sizeof *archive->members);
    }
    archive->members[archive->count++] = member;
}

static const char *name_of(const Archive *archive, const ArchiveMember *member) {
    return archive->names.data + member->name;
}

/// Names, and what came first before what came later.
static int compare_members(const void *a, const void *b, void *names) {
    const ArchiveMember *x = a, *y = b;
    const int order = strcmp((const char *)names + x->name, (const char *)names + y->name);
    return order ? order : (x->name > y->name) - (x->name < y->name);
}

/// "folder/" if every name begins with it.
static char *common_folder(const Archive *archive) {
    const char *first = archive->count ? name_of(archive, archive->members) : "";
    const char *slash = strchr(first, '/');
    if (!slash) return NULL;
    const size_t length = (size_t)(slash - first) + 1;
    // They are sorted: if the last has it, all have.
    const char *last = name_of(archive, &archive->members[archive->count - 1]);
    if (strncmp(first, last, length) != 0) return NULL;
    return format_string("%.*s", (int)length, first);
}

/// Of members of one name the last stays.
static void sort(Archive *archive) {
    int64_t kept = 0;
    if (archive->count)
        qsort_r(archive->members, (size_t)archive->count, sizeof *archive->members, compare_members,
                archive->names.data);
    for (int64_t i = 0; i < archive->count; i++) {
        const ArchiveMember *next = &archive->members[i + 1];
        if (i + 1 < archive->count &&
            strcmp(name_of(archive, &archive->members[i]), name_of(archive, next)) == 0)
            continue;
        archive->members[kept++] = archive->members[i];
    }
    archive->count = kept;
    archive->folder = common_folder(archive);
}

static const ArchiveMember *find_exactly(const Archive *archive, const char *name) {
    int64_t low = 0, high = archive->count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const int order = strcmp(name_of(archive, &archive->members[middle]), name);
        if (order == 0) return &archive->members[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const ArchiveMember *archive_find(const Archive *archive, const char *name) {
    ByteBuffer path = {0};
    const ArchiveMember *found = NULL;
    if (archive->folder) byte_buffer_put_text(&path, archive->folder);
    const size_t below = path.size;
    ByteBuffer plain = {0};
    if (put_path(&plain, name, strlen(name))) {
        byte_buffer_put(&path, plain.data, plain.size);
        found = find_exactly(archive, path.data + below);
        if (!found && below) found = find_exactly(archive, path.data);
    }
    byte_buffer_free(&plain);
    byte_buffer_free(&path);
    return found;
}

const char *archive_member_name(const Archive *archive, const ArchiveMember *member) {
    return name_of(archive, member);
}

const ArchiveMember *archive_member(const Archive *archive, int64_t index) {
    CHECK(index >= 0 && index < archive->count, "archive: member %lld of %lld", (long long)index,
          (long long)archive->count);
    return &archive->members[index];
}

int64_t archive_count(const Archive *archive) { return archive->count; }

// ---- the file

static bool is_zip(const unsigned char *bytes, size_t size) {
    return size >= 4 && (!memcmp(bytes, "PK\3\4", 4) || !memcmp(bytes, "PK\5\6", 4));
}

/// "ustar" is in all but the oldest.
static bool is_tar(const unsigned char *bytes, size_t size) {
    return size >= TAR_MAGIC + 5 && !memcmp(bytes + TAR_MAGIC, "ustar", 5);
}

bool archive_begins(const void *bytes, size_t size) {
    return is_zip(bytes, size) || is_tar(bytes, size);
}

static bool refuse(const char *path, const unsigned char *bytes, size_t size, Error *error) {
    const char *content = size ? file_content(bytes, size) : "an empty file";
    if (!file_is_fetched(path, bytes, size, error)) return false;
    const bool is_packed =
        size >= 6 && (!memcmp(bytes, "\x1f\x8b", 2) || !memcmp(bytes, "\x28\xb5\x2f\xfd", 4) ||
                      !memcmp(bytes, "BZh", 3) ||
                      !memcmp(bytes,
                              "\xfd"
                              "7zXZ",
                              5));
    if (is_packed)
        return error_set(error,
                         "%s: packed as a whole, so that no picture can be read without all before "
                         "it; unpack it: the .tar or the folder is read",
                         path);
    return error_set(error, "%s: neither a folder nor a zip or tar archive%s%s", path,
                     content ? ", but " : "", content ? content : "");
}

bool archive_read_at(const Archive *archive, int descriptor, uint64_t offset, void *bytes,
                     size_t size, Error *error) {
    for (size_t done = 0; done < size;) {
        const ssize_t count =
            pread(descriptor, (char *)bytes + done, size - done, (off_t)(offset + done));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0)
            return error_set(error, "%s: cannot be read: %s", archive->path, strerror(errno));
        if (count == 0)
            return error_set(error, "%s: the archive is cut off; fetch it again", archive->path);
        done += (size_t)count;
    }
    return true;
}

/// Opens the file; whoever calls closes it. -1 on failure.
static int open_file(const char *path, struct stat *status, Error *error) {
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0 || fstat(descriptor, status) != 0)
        error_set(error, "%s: cannot be read: %s", path, strerror(errno));
    else if (!S_ISREG(status->st_mode))
        error_set(error, "%s: not a file", path);
    else
        return descriptor;
    if (descriptor >= 0) close(descriptor);
    return -1;
}

static bool list(Archive *archive, int descriptor, Error *error) {
    unsigned char start[TAR_BLOCK] = {0};
    const size_t size = archive->size < TAR_BLOCK ? (size_t)archive->size : TAR_BLOCK;
    if (!archive_read_at(archive, descriptor, 0, start, size, error)) return false;
    archive->is_zip = is_zip(start, size);
    if (!archive->is_zip && !is_tar(start, size)) return refuse(archive->path, start, size, error);
    if (archive->is_zip ? !archive_list_zip(archive, error)
                        : !archive_list_tar(archive, descriptor, error))
        return false;
    sort(archive);
    return archive->count > 0 ||
           error_set(error, "%s: there is no file in the archive", archive->path);
}

Archive *archive_open(const char *path, Error *error) {
    struct stat status;
    const int descriptor = open_file(path, &status, error);
    if (descriptor < 0) return NULL;
    Archive *archive = checked_calloc(1, sizeof *archive);
    archive->path = checked_strdup(path);
    archive->size = (uint64_t)status.st_size;
    archive->changed = status.st_mtim;
    const bool done = list(archive, descriptor, error);
    close(descriptor);
    if (done) return archive;
    archive_close(archive);
    return NULL;
}

void archive_close(Archive *archive) {
    if (!archive) return;
    byte_buffer_free(&archive->names);
    free(archive->members);
    free(archive->folder);
    free(archive->path);
    free(archive);
}

// ---- members

static bool check_kind(const Archive *archive, const ArchiveMember *member, Error *error) {
    const char *path = archive->path;
    const Quoted quoted = quote(name_of(archive, member));
    const char *name = quoted.text;
    switch ((MemberKind)member->kind) {
    case MEMBER_SYMBOLIC_LINK:
        return error_set(error,
                         "%s: '%s' is a symbolic link, which is not followed; unpack the "
                         "archive",
                         path, name);
    case MEMBER_SPARSE:
        return error_set(error, "%s: '%s' is stored with holes (a sparse file); unpack the archive",
                         path, name);
    case MEMBER_ENCRYPTED:
        return error_set(error, "%s: '%s' is encrypted; unpack the archive with its password", path,
                         name);
    case MEMBER_OTHER_METHOD:
        return error_set(error,
                         "%s: '%s' is packed by method %d, which is not read; unpack the "
                         "archive",
                         path, name, member->method);
    default:
        break;
    }
    return member->bytes <= ARCHIVE_MOST_BYTES ||
           error_set(error, "%s: '%s' has %llu bytes, more than the limit of %d", path, name,
                     (unsigned long long)member->bytes, ARCHIVE_MOST_BYTES);
}

static bool is_unchanged(const Archive *archive, const struct stat *status, Error *error) {
    return ((uint64_t)status->st_size == archive->size &&
            status->st_mtim.tv_sec == archive->changed.tv_sec &&
            status->st_mtim.tv_nsec == archive->changed.tv_nsec) ||
           error_set(error, "%s: the archive was changed while it is in use; start again",
                     archive->path);
}

bool archive_read(const Archive *archive, const ArchiveMember *member, size_t most,
                  ByteBuffer *bytes, Error *error) {
    struct stat status;
    if (member->kind == MEMBER_HARD_LINK) {
        const ArchiveMember *target =
            member->link ? find_exactly(archive, archive->names.data + member->link) : NULL;
        if (!target || target->kind == MEMBER_HARD_LINK)
            return error_set(error, "%s: '%s' is a link to a file that is not there", archive->path,
                             quote(name_of(archive, member)).text);
        member = target;
    }
    if (!check_kind(archive, member, error)) return false;
    const int descriptor = open_file(archive->path, &status, error);
    if (descriptor < 0) return false;
    bool done = is_unchanged(archive, &status, error);
    if (done && archive->is_zip) {
        done = archive_read_zip(archive, descriptor, member, most, bytes, error);
    } else if (done) {
        const size_t size = member->bytes < most ? (size_t)member->bytes : most;
        char *place = byte_buffer_reserve(bytes, size + 1);
        done = archive_read_at(archive, descriptor, member->offset, place, size, error);
        bytes->size += done ? size : 0;
    }
    close(descriptor);
    return done;
}
