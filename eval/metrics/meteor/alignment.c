#include "eval/metrics/meteor/alignment.h"

#include <stdlib.h>
#include <string.h>

enum { BEAM = 40 };

/// Words covered count by module: integers, so that one word of a stem counts nothing and two one.
static const double WEIGHTS[METEOR_MODULES] = {1.0, 0.5, 0.5, 0.5};

/// A way through the reference's words.
typedef struct Path {
    int32_t candidate_total, reference_total, chunks, distance;
    /// the next word of the reference that no match of the path covers
    int32_t index;
    /// behind the last match in the candidate; -1: the chunk is closed
    int32_t last_end;
    /// place among the paths before they are sorted
    int32_t order;
    int32_t *chosen;
    /// per word: a match of the path covers it
    uint8_t *candidate_used, *reference_used;
    struct Path *next_free;
} Path;

typedef struct Paths {
    Path **items;
    int count, capacity;
} Paths;

typedef struct Search {
    const MeteorMatches *matches;
    int candidate_words, reference_words;
    Paths current, next;
    Path *free;
} Search;

// ---- paths

static size_t path_bytes(const Search *search) {
    return (size_t)search->reference_words * (sizeof(int32_t) + 1) +
           (size_t)search->candidate_words;
}

static Path *new_path(Search *search) {
    Path *path = search->free;
    if (path) {
        search->free = path->next_free;
        return path;
    }
    path = checked_malloc(sizeof *path + path_bytes(search));
    path->chosen = (int32_t *)(path + 1);
    path->reference_used = (uint8_t *)(path->chosen + search->reference_words);
    path->candidate_used = path->reference_used + search->reference_words;
    return path;
}

static void free_path(Search *search, Path *path) {
    path->next_free = search->free;
    search->free = path;
}

static Path *copy_path(Search *search, const Path *from) {
    Path *path = new_path(search);
    int32_t *chosen = path->chosen;
    uint8_t *reference_used = path->reference_used, *candidate_used = path->candidate_used;
    memcpy(chosen, from->chosen, path_bytes(search));
    *path = *from;
    path->chosen = chosen;
    path->reference_used = reference_used;
    path->candidate_used = candidate_used;
    return path;
}

static void append(Paths *paths, Path *path) {
    if (paths->count == paths->capacity) {
        paths->capacity = 2 * paths->capacity + 64;
        paths->items = checked_realloc(paths->items, (size_t)paths->capacity * sizeof(Path *));
    }
    path->order = paths->count;
    paths->items[paths->count++] = path;
}

static int best_first(const void *a, const void *b) {
    const Path *x = *(Path *const *)a, *y = *(Path *const *)b;
    const int32_t x_total = x->candidate_total + x->reference_total,
                  y_total = y->candidate_total + y->reference_total;
    if (x_total != y_total) return x_total > y_total ? -1 : 1;
    if (x->chunks != y->chunks) return x->chunks < y->chunks ? -1 : 1;
    if (x->distance != y->distance) return x->distance < y->distance ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

static void sort(Paths *paths) {
    if (paths->count > 1) qsort(paths->items, (size_t)paths->count, sizeof(Path *), best_first);
}

// ---- matches

static bool is_free(const Path *path, const MeteorMatch *match) {
    return !memchr(path->reference_used + match->start, 1, (size_t)match->length) &&
           !memchr(path->candidate_used + match->candidate_start, 1,
                   (size_t)match->candidate_length);
}

static void choose(Path *path, const MeteorMatches *matches, int index) {
    const MeteorMatch *match = &matches->items[index];
    path->chosen[match->start] = index;
    memset(path->reference_used + match->start, 1, (size_t)match->length);
    memset(path->candidate_used + match->candidate_start, 1, (size_t)match->candidate_length);
}

static int32_t distance_of(const MeteorMatch *match) {
    return abs(match->start - match->candidate_start);
}

/// Goes on behind a match that is chosen.
static void pass(Path *path, const MeteorMatch *match) {
    const double weight = WEIGHTS[match->module];
    path->candidate_total = (int32_t)(path->candidate_total + match->candidate_length * weight);
    path->reference_total = (int32_t)(path->reference_total + match->length * weight);
    if (path->last_end != -1 && match->candidate_start != path->last_end) path->chunks++;
    path->index = match->start + match->length;
    path->last_end = match->candidate_start + match->candidate_length;
}

static void close_chunk(Path *path) {
    path->chunks += path->last_end != -1;
    path->last_end = -1;
}

/// A match that no other overlaps and that is the only one of its start is taken at once.
static Path *begin(Search *search) {
    const MeteorMatches *matches = search->matches;
    Path *path = new_path(search);
    const Path empty = {.last_end = -1,
                        .chosen = path->chosen,
                        .candidate_used = path->candidate_used,
                        .reference_used = path->reference_used};
    *path = empty;
    memset(path->reference_used, 0, (size_t)search->reference_words);
    memset(path->candidate_used, 0, (size_t)search->candidate_words);
    for (int i = 0; i < search->reference_words; i++) path->chosen[i] = -1;
    for (int i = 0; i < search->reference_words; i++) {
        if (matches->first[i + 1] - matches->first[i] != 1) continue;
        const MeteorMatch *match = &matches->items[matches->first[i]];
        bool overlaps = false;
        for (int j = 0; j < match->length; j++) overlaps |= matches->reference_coverage[i + j] != 1;
        for (int j = 0; j < match->candidate_length; j++)
            overlaps |= matches->candidate_coverage[match->candidate_start + j] != 1;
        if (!overlaps) choose(path, matches, matches->first[i]);
    }
    return path;
}

// ---- the search

/// The word is covered by a match of the path, which goes on within it, or passes it if it starts
/// here.
static void advance_covered(Search *search, Path *path, int word) {
    if (word == path->index) {
        const int32_t chosen = path->chosen[word];
        CHECK(chosen >= 0, "word %d is covered by a match that was not passed", word);
        pass(path, &search->matches->items[chosen]);
        path->distance += distance_of(&search->matches->items[chosen]);
    }
    append(&search->next, path);
}

/// A path for each match that starts at the word, and one that leaves the word out. The distance of
/// a match is added to the path that leaves it out, and so to the paths of the matches behind it,
/// and not to its own: METEOR's slip.
static void advance_free(Search *search, Path *path, int word) {
    const MeteorMatches *matches = search->matches;
    for (int i = matches->first[word]; i < matches->first[word + 1]; i++) {
        const MeteorMatch *match = &matches->items[i];
        if (!is_free(path, match)) continue;
        Path *taken = copy_path(search, path);
        choose(taken, matches, i);
        pass(taken, match);
        path->distance += distance_of(match);
        append(&search->next, taken);
    }
    close_chunk(path);
    path->index++;
    append(&search->next, path);
}

/// Paths before the word to paths behind it.
static void advance(Search *search, int word) {
    const Paths current = search->next;
    search->next = search->current;
    search->next.count = 0;
    search->current = current;
    sort(&search->current);
    for (int rank = 0; rank < search->current.count; rank++) {
        Path *path = search->current.items[rank];
        if (rank >= BEAM)
            free_path(search, path);
        else if (path->reference_used[word])
            advance_covered(search, path, word);
        else
            advance_free(search, path, word);
    }
}

void meteor_align(const MeteorMatches *matches, int candidate_words, int reference_words,
                  int32_t *chosen) {
    Search search = {
        .matches = matches, .candidate_words = candidate_words, .reference_words = reference_words};
    append(&search.next, begin(&search));
    for (int word = 0; word < reference_words; word++) advance(&search, word);
    sort(&search.next);
    if (search.next.count > BEAM) {
        for (int i = BEAM; i < search.next.count; i++) free_path(&search, search.next.items[i]);
        search.next.count = BEAM;
    }
    for (int i = 0; i < search.next.count; i++) {
        close_chunk(search.next.items[i]);
        search.next.items[i]->order = i;
    }
    sort(&search.next);
    memcpy(chosen, search.next.items[0]->chosen, (size_t)reference_words * sizeof *chosen);
    for (int i = 0; i < search.next.count; i++) free_path(&search, search.next.items[i]);
    for (Path *path = search.free, *next; path; path = next) {
        next = path->next_free;
        free(path);
    }
    free(search.current.items);
    free(search.next.items);
}
