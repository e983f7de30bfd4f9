/// The folder that an execution runs in: what is in it, and how it is brought back to what it was.
#pragma once
#include "tests/fuzz/bytes.h"

#include <sys/types.h>
#include <time.h>

typedef struct TreeEntry {
    /// relative to the folder
    char *path;
    mode_t mode;
    off_t size;
    ino_t inode;
    struct timespec changed;
} TreeEntry;

/// Sorted by path.
typedef struct Tree {
    TreeEntry *items;
    int count, capacity;
} Tree;

/// Of the current folder.
Tree tree_list(void);
void tree_free(Tree *tree);

typedef enum TreeChange { TREE_ADDED, TREE_REMOVED, TREE_CHANGED } TreeChange;
typedef void TreeVisitor(void *context, TreeChange change, const char *path);
/// Visits every difference, in the order of paths. A folder differs by being there or not.
void tree_compare(const Tree *before, const Tree *after, TreeVisitor *visit, void *context);

/// Brings the current folder back to `tree`, with files from `seeds`, and `tree` up to date about
/// them.
void tree_restore(Tree *tree, const char *seeds);
