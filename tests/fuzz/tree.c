#include "tests/fuzz/tree.h"

#include "autograd/error.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int by_path(const void *a, const void *b) {
    return strcmp(((const TreeEntry *)a)->path, ((const TreeEntry *)b)->path);
}

static void note(TreeEntry *entry, const struct stat *status) {
    entry->mode = status->st_mode;
    entry->size = status->st_size;
    entry->inode = status->st_ino;
    entry->changed = status->st_mtim;
}

Tree tree_list(void) {
    Tree tree = {0};
    char *roots[] = {(char[]){"."}, NULL};
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    CHECK(walk, "the current folder cannot be read: %s", strerror(errno));
    for (FTSENT *entry; (entry = fts_read(walk));) {
        if (entry->fts_info == FTS_DP || entry->fts_level == 0) continue;
        if (tree.count == tree.capacity) {
            tree.capacity = 2 * tree.capacity + 64;
            tree.items = checked_realloc(tree.items, (size_t)tree.capacity * sizeof *tree.items);
        }
        tree.items[tree.count].path = checked_strdup(entry->fts_path + 2);
        note(&tree.items[tree.count++], entry->fts_statp);
    }
    fts_close(walk);
    if (tree.count) qsort(tree.items, (size_t)tree.count, sizeof *tree.items, by_path);
    return tree;
}

void tree_free(Tree *tree) {
    for (int i = 0; i < tree->count; i++) free(tree->items[i].path);
    free(tree->items);
    *tree = (Tree){0};
}

static bool same(const TreeEntry *a, const TreeEntry *b) {
    if (a->mode != b->mode) return false;
    if (S_ISDIR(a->mode)) return true;
    return a->size == b->size && a->inode == b->inode && a->changed.tv_sec == b->changed.tv_sec &&
           a->changed.tv_nsec == b->changed.tv_nsec;
}

void tree_compare(const Tree *before, const Tree *after, TreeVisitor *visit, void *context) {
    int i = 0, j = 0;
    while (i < before->count || j < after->count) {
        int order = i == before->count  ? 1
                    : j == after->count ? -1
                                        : by_path(&before->items[i], &after->items[j]);
        if (order < 0)
            visit(context, TREE_REMOVED, before->items[i++].path);
        else if (order > 0)
            visit(context, TREE_ADDED, after->items[j++].path);
        else if (same(&before->items[i++], &after->items[j++]) == false)
            visit(context, TREE_CHANGED, after->items[j - 1].path);
    }
}

/// A folder that was locked is opened on the way down, then all goes on the way up.
static void remove_tree(const char *path) {
    char *roots[] = {(char *)path, NULL};
    struct stat status;
    if (lstat(path, &status)) return;
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    for (FTSENT *entry; walk && (entry = fts_read(walk));) {
        if (entry->fts_info == FTS_D || entry->fts_info == FTS_DNR) chmod(entry->fts_accpath, 0777);
        if (entry->fts_info != FTS_D) remove(entry->fts_accpath);
    }
    if (walk) fts_close(walk);
    remove(path);
}

typedef struct Restoring {
    const char *seeds;
} Restoring;

static void restore_one(void *context, TreeChange change, const char *path) {
    Restoring *restoring = context;
    if (change == TREE_ADDED || change == TREE_CHANGED) remove_tree(path);
    if (change == TREE_ADDED) return;
    char *from = format_string("%s/%s", restoring->seeds, path);
    struct stat status;
    ByteBuffer bytes = {0};
    if (stat(from, &status)) {
        CHECK(false, "%s is gone", from);
    } else if (S_ISDIR(status.st_mode)) {
        mkdir(path, 0777);
    } else {
        CHECK(bytes_read(&bytes, from) && bytes_write(&bytes, path), "%s: %s", path,
              strerror(errno));
    }
    byte_buffer_free(&bytes);
    free(from);
}

void tree_restore(Tree *tree, const char *seeds) {
    Restoring restoring = {.seeds = seeds};
    Tree now = tree_list();
    tree_compare(tree, &now, restore_one, &restoring);
    tree_free(&now);
    // A folder in place of a file took what was below it along; the order of paths brings it back
    // first.
    for (int i = 0; i < tree->count; i++) {
        struct stat status;
        if (lstat(tree->items[i].path, &status))
            restore_one(&restoring, TREE_REMOVED, tree->items[i].path);
        if (lstat(tree->items[i].path, &status) == 0) note(&tree->items[i], &status);
    }
}
