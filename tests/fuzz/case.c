#include "tests/fuzz/case.h"

#include "autograd/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const KINDS[] = {"bytes", "missing", "folder", "unreadable"};

void case_free(FuzzCase *fuzz_case) {
    for (int i = 0; i < fuzz_case->count; i++) free(fuzz_case->arguments[i]);
    for (int i = 0; i < fuzz_case->overlay_count; i++) {
        free(fuzz_case->overlays[i].path);
        byte_buffer_free(&fuzz_case->overlays[i].bytes);
    }
    *fuzz_case = (FuzzCase){0};
}

void case_add_argument(FuzzCase *fuzz_case, const void *text, size_t size) {
    if (fuzz_case->count == MOST_ARGUMENTS) return;
    // Arguments of a program end at the first NUL.
    fuzz_case->arguments[fuzz_case->count++] = strndup(size ? text : "", size);
}

void case_add_overlay(FuzzCase *fuzz_case, OverlayKind kind, const char *path, ByteBuffer *bytes) {
    if (fuzz_case->overlay_count < MOST_OVERLAYS)
        fuzz_case->overlays[fuzz_case->overlay_count++] =
            (Overlay){kind, checked_strdup(path), *bytes};
    else
        byte_buffer_free(bytes);
    *bytes = (ByteBuffer){0};
}

bool case_place(const FuzzCase *fuzz_case) {
    for (int i = 0; i < fuzz_case->overlay_count; i++) {
        const Overlay *overlay = &fuzz_case->overlays[i];
        unlink(overlay->path);
        bool ok = true;
        if (overlay->kind == OVERLAY_BYTES) ok = bytes_write(&overlay->bytes, overlay->path);
        if (overlay->kind == OVERLAY_FOLDER) ok = mkdir(overlay->path, 0777) == 0;
        if (overlay->kind == OVERLAY_UNREADABLE)
            ok = bytes_write(&overlay->bytes, overlay->path) && chmod(overlay->path, 0) == 0;
        if (!ok) return false;
    }
    return true;
}

// ---- as text

/// "edit AT REMOVED" and lines of content, for each range that differs.
static void write_edits(FILE *out, const ByteBuffer *from, const ByteBuffer *to) {
    size_t begin = 0, limit = from->size < to->size ? from->size : to->size, end = 0;
    while (begin < limit && from->data[begin] == to->data[begin]) begin++;
    while (end < limit - begin && from->data[from->size - 1 - end] == to->data[to->size - 1 - end])
        end++;
    if (from->size != to->size) {
        fprintf(out, "edit %zu %zu\n", begin, from->size - begin - end);
        for (size_t at = begin, count; at < to->size - end; at += count) {
            const char *newline = memchr(to->data + at, '\n', to->size - end - at);
            count = newline ? (size_t)(newline - to->data) + 1 - at : to->size - end - at;
            if (count > 80) count = 80;
            char *text = escape(to->data + at, count);
            fprintf(out, "content %s\n", text);
            free(text);
        }
        return;
    }
    for (size_t at = begin, count; at + end < to->size; at += count) {
        for (count = 0;
             count < 64 && at + count < to->size && from->data[at + count] != to->data[at + count];)
            count++;
        if (count) {
            char *text = escape(to->data + at, count);
            fprintf(out, "edit %zu %zu\ncontent %s\n", at, count, text);
            free(text);
        } else {
            count = 1;
        }
    }
}

void case_print(const FuzzCase *fuzz_case, const char *seeds, FILE *out) {
    fprintf(out, "target %s\n", fuzz_case->target);
    if (fuzz_case->file_limit) fprintf(out, "file_limit %zu\n", fuzz_case->file_limit);
    for (int i = 0; i < fuzz_case->count; i++) {
        char *text = escape(fuzz_case->arguments[i], strlen(fuzz_case->arguments[i]));
        fprintf(out, "argument %s\n", text);
        free(text);
    }
    for (int i = 0; i < fuzz_case->overlay_count; i++) {
        const Overlay *overlay = &fuzz_case->overlays[i];
        char *name = escape(overlay->path, strlen(overlay->path)),
             *seed = format_string("%s/%s", seeds, overlay->path);
        ByteBuffer from = {0};
        fprintf(out, "%s %s\n", KINDS[overlay->kind], name);
        if (overlay->kind == OVERLAY_BYTES) {
            bytes_read(&from, seed);
            write_edits(out, &from, &overlay->bytes);
        }
        byte_buffer_free(&from);
        free(name);
        free(seed);
    }
}

bool case_save(const FuzzCase *fuzz_case, const char *seeds, const char *path) {
    FILE *out = fopen(path, "w");
    if (!out) return false;
    case_print(fuzz_case, seeds, out);
    return fclose(out) == 0;
}

typedef struct Reading {
    FuzzCase *fuzz_case;
    const char *seeds;
    /// of the edit
    size_t at;
} Reading;

static bool read_overlay(Reading *reading, OverlayKind kind, char *rest) {
    unescape(rest);
    ByteBuffer bytes = {0};
    char *seed = format_string("%s/%s", reading->seeds, rest);
    if (kind == OVERLAY_BYTES) bytes_read(&bytes, seed);
    free(seed);
    case_add_overlay(reading->fuzz_case, kind, rest, &bytes);
    return true;
}

static bool read_line(Reading *reading, const char *word, char *rest) {
    FuzzCase *fuzz_case = reading->fuzz_case;
    size_t removed, size;
    if (!strcmp(word, "target")) {
        snprintf(fuzz_case->target, sizeof fuzz_case->target, "%s", rest);
        return true;
    }
    if (!strcmp(word, "file_limit")) return sscanf(rest, "%zu", &fuzz_case->file_limit) == 1;
    if (!strcmp(word, "argument")) {
        size = unescape(rest);
        case_add_argument(fuzz_case, rest, size);
        return true;
    }
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
        if (!strcmp(word, KINDS[i])) return read_overlay(reading, (OverlayKind)i, rest);
    if (!fuzz_case->overlay_count) return false;
    ByteBuffer *bytes = &fuzz_case->overlays[fuzz_case->overlay_count - 1].bytes;
    if (!strcmp(word, "edit") && sscanf(rest, "%zu %zu", &reading->at, &removed) == 2) {
        bytes_replace(bytes, reading->at, removed, NULL, 0);
        return true;
    }
    if (strcmp(word, "content") != 0) return false;
    size = unescape(rest);
    bytes_replace(bytes, reading->at, 0, rest, size);
    reading->at += size;
    return true;
}

bool case_load(FuzzCase *fuzz_case, const char *seeds, const char *path) {
    *fuzz_case = (FuzzCase){0};
    FILE *file = fopen(path, "r");
    if (!file) return false;
    Reading reading = {fuzz_case, seeds, 0};
    char *line = NULL;
    size_t room = 0;
    bool ok = true;
    for (ssize_t length; ok && (length = getline(&line, &room, file)) > 0;) {
        if (line[length - 1] == '\n') line[--length] = 0;
        if (!length || line[0] == '#') continue;
        char *space = strchr(line, ' ');
        if (space) *space = 0;
        ok = read_line(&reading, line, space ? space + 1 : line + length);
    }
    free(line);
    fclose(file);
    return ok && fuzz_case->target[0];
}
