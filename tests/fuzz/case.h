/// One execution: what is run, with which arguments, over which changed files.
#pragma once
#include "tests/fuzz/bytes.h"
#include "tests/fuzz/random.h"
#include "tests/fuzz/tree.h"

#include <stdio.h>

typedef enum OverlayKind {
    OVERLAY_BYTES,
    OVERLAY_MISSING,
    OVERLAY_FOLDER,
    OVERLAY_UNREADABLE
} OverlayKind;

/// What stands in place of a seed.
typedef struct Overlay {
    OverlayKind kind;
    char *path;
    ByteBuffer bytes;
} Overlay;

enum { MOST_ARGUMENTS = 128, MOST_OVERLAYS = 4 };

typedef struct FuzzCase {
    char target[32];
    /// ends with NULL
    char *arguments[MOST_ARGUMENTS + 1];
    int count;
    Overlay overlays[MOST_OVERLAYS];
    int overlay_count;
    /// ByteBuffer at which writing a file fails, as on a full disk; 0: none.
    size_t file_limit;
} FuzzCase;

void case_free(FuzzCase *fuzz_case);
void case_add_argument(FuzzCase *fuzz_case, const void *text, size_t size);
/// Takes over the bytes.
void case_add_overlay(FuzzCase *fuzz_case, OverlayKind kind, const char *path, ByteBuffer *bytes);

/// Puts the overlays in place, in the current folder.
bool case_place(const FuzzCase *fuzz_case);

/// Prints the case as lines of text: bytes as differences from the seed where there is one.
void case_print(const FuzzCase *fuzz_case, const char *seeds, FILE *out);
bool case_save(const FuzzCase *fuzz_case, const char *seeds, const char *path);
/// False if the file cannot be read or is no case.
bool case_load(FuzzCase *fuzz_case, const char *seeds, const char *path);
