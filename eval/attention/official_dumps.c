#include "eval/attention/official_dumps.h"

#include "autograd/crc32c.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char ENDING[] = ".pth";

struct OfficialDumps {
    char *folder;
    DumpOptions options;
    Tokenizer *tokenizer;
    /// [count] sorted
    char **names;
    int64_t count;
    json_t *asked_with;
};

static int is_dump(const struct dirent *entry) {
    size_t length = strlen(entry->d_name), ending = sizeof ENDING - 1;
    return length > ending && !strcmp(entry->d_name + length - ending, ENDING);
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool official_dumps_are_in(const char *folder) {
    DIR *directory = opendir(folder);
    bool found = false;
    if (!directory) return false;
    for (struct dirent *entry; !found && (entry = readdir(directory));) found = is_dump(entry);
    closedir(directory);
    return found;
}

static char *path_of(const OfficialDumps *dumps, const char *name) {
    return format_string("%s/%s%s", dumps->folder, name, ENDING);
}

static bool list_names(OfficialDumps *dumps, Error *error) {
    struct dirent **entries = NULL;
    int count = scandir(dumps->folder, &entries, is_dump, NULL);
    if (count < 0)
        return error_set(error, "%s: cannot be listed: %s", dumps->folder, strerror(errno));
    dumps->names = checked_calloc((size_t)count + 1, sizeof *dumps->names);
    dumps->count = count;
    for (int i = 0; i < count; i++) {
        size_t length = strlen(entries[i]->d_name) - (sizeof ENDING - 1);
        dumps->names[i] = format_string("%.*s", (int)length, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    qsort(dumps->names, (size_t)count, sizeof *dumps->names, compare_names);
    return true;
}

/// Not their content, which is read once only: gigabytes.
static bool describe(OfficialDumps *dumps, Error *error) {
    uint32_t checksum = 0;
    int64_t bytes = 0;
    for (int64_t i = 0; i < dumps->count; i++) {
        struct stat about;
        char *path = path_of(dumps, dumps->names[i]);
        bool ok = stat(path, &about) == 0 ||
                  error_set(error, "%s: cannot be opened: %s", path, strerror(errno));
        free(path);
        if (!ok) return false;
        int64_t numbers[] = {about.st_size, about.st_mtim.tv_sec, about.st_mtim.tv_nsec};
        checksum = crc32c(checksum, dumps->names[i], strlen(dumps->names[i]) + 1);
        checksum = crc32c(checksum, numbers, sizeof numbers);
        bytes += about.st_size;
    }
    dumps->asked_with =
        json_pack("{s:s, s:s, s:s, s:i, s:o}", "dumps", "groundLMM", "eval.tokenizer",
                  dumps->options.tokenizer, "eval.geometry",
                  dumps->options.geometry == PICTURE_PADDED ? "pad" : "original", "eval.offset",
                  dumps->options.offset, "files",
                  json_sprintf("%lld, %lld bytes, CRC-32C of names, sizes and times %08x",
                               (long long)dumps->count, (long long)bytes, checksum));
    return true;
}

OfficialDumps *official_dumps_open(const char *folder, const DumpOptions *options, Error *error) {
    OfficialDumps *dumps = checked_calloc(1, sizeof *dumps);
    *dumps = (OfficialDumps){.folder = checked_strdup(folder), .options = *options};
    dumps->options.tokenizer = checked_strdup(options->tokenizer);
    if (list_names(dumps, error) && describe(dumps, error) &&
        (dumps->tokenizer = tokenizer_open(options->tokenizer, error)))
        return dumps;
    official_dumps_close(dumps);
    return NULL;
}

void official_dumps_close(OfficialDumps *dumps) {
    if (!dumps) return;
    tokenizer_close(dumps->tokenizer);
    for (int64_t i = 0; i < dumps->count; i++) free(dumps->names[i]);
    free(dumps->names);
    free((char *)dumps->options.tokenizer);
    free(dumps->folder);
    json_decref(dumps->asked_with);
    free(dumps);
}

const json_t *official_dumps_asked_with(const OfficialDumps *dumps) { return dumps->asked_with; }

int64_t official_dumps_count(const OfficialDumps *dumps) { return dumps->count; }

bool official_dumps_have(const OfficialDumps *dumps, const char *name) {
    return bsearch(&name, dumps->names, (size_t)dumps->count, sizeof *dumps->names,
                   compare_names) != NULL;
}

bool official_dumps_read(const OfficialDumps *dumps, const char *name, const DumpSubject *subject,
                         Answer *answer, Error *error) {
    *answer = (Answer){0};
    if (!official_dumps_have(dumps, name))
        return error_set(error, "%s: there is no %s%s", dumps->folder, name, ENDING);
    char *path = path_of(dumps, name);
    bool ok =
        official_dump_read(path, dumps->tokenizer, dumps->options.offset, subject, answer, error);
    free(path);
    return ok;
}

void official_dumps_place(const OfficialDumps *dumps, int height, int width, Answer *answer) {
    answer->image_height = height;
    answer->image_width = width;
    answer->frame = token_frame_of_picture(dumps->options.geometry, height, width);
}
