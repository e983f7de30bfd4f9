#include "eval/metrics/meteor/alignment.h"

#include <stdlib.h>
#include <string.h>

enum { BEAM = 40, NONE = -1 };

/// Words covered count by module: integers, so that one word of a stem counts nothing and two one.
static const double WEIGHTS[METEOR_MODULES] = {1.0, 0.5, 0.5, 0.5};

/// What a path has chosen. Nothing of it changes once the path is in the beam.
typedef struct Choice {
    /// per word of the reference: the match that starts there, or NONE
    int32_t *chosen;
    /// per word: a match covers it
    uint8_t *reference_used, *candidate_used;
    bool is_kept;
} Choice;

/// A way through the reference's words.
typedef struct Path {
    int32_t candidate_total, reference_total, chunks, distance;
    /// the next word of the reference that no match of the path covers
    int32_t index;
    /// behind the last match in the candidate; NONE: the chunk is closed
    int32_t last_end;
    /// place among all that were offered to the beam
    int32_t order;
    /// the path's choice, but for `taken`, a match that was added to it; NONE: none was
    Choice *choice;
    int32_t taken;
} Path;

/// The best of the paths offered, as a heap with the worst of them first.
typedef struct Beam {
    Path paths[BEAM];
    int count;
    int32_t offered;
} Beam;

typedef struct Search {
    const MeteorMatches *matches;
    int candidate_words, reference_words;
    Beam current, next;
    /// Of all paths in both beams, and those that no path has.
    Choice choices[2 * BEAM], *free[2 * BEAM];
    int free_count;
    char *memory;
} Search;

// ---- the beam

static bool is_better(const Path *x, const Path *y) {
    const int32_t x_total = x->candidate_total + x->reference_total,
                  y_total = y->candidate_total + y->reference_total;
    if (x_total != y_total) return x_total > y_total;
    if (x->chunks != y->chunks) return x->chunks < y->chunks;
    if (x->distance != y->distance) return x->distance < y->distance;
    return x->order < y->order;
}

static int best_first(const void *a, const void *b) { return is_better(a, b) ? -1 : 1; }

static void swap(Path *x, Path *y) {
    const Path kept = *x;
    *x = *y;
    *y = kept;
}

static void sink(Beam *beam) {
    for (int at = 0, child; (child = 2 * at + 1) < beam->count; at = child) {
        if (child + 1 < beam->count && is_better(&beam->paths[child], &beam->paths[child + 1]))
            child++;
        if (!is_better(&beam->paths[at], &beam->paths[child])) return;
        swap(&beam->paths[at], &beam->paths[child]);
    }
}

static void rise(Beam *beam) {
    for (int at = beam->count - 1, parent; at > 0; at = parent) {
        parent = (at - 1) / 2;
        if (!is_better(&beam->paths[parent], &beam->paths[at])) return;
        swap(&beam->paths[at], &beam->paths[parent]);
    }
}

static void offer(Beam *beam, const Path *path) {
    Path offered = *path;
    offered.order = beam->offered++;
    if (beam->count < BEAM) {
        beam->paths[beam->count++] = offered;
        rise(beam);
    } else if (is_better(&offered, &beam->paths[0])) {
        beam->paths[0] = offered;
        sink(beam);
    }
}

static void sort(Beam *beam) {
    qsort(beam->paths, (size_t)beam->count, sizeof *beam->paths, best_first);
}

// ---- choices

static size_t choice_bytes(const Search *search) {
    return (size_t)search->reference_words * (sizeof(int32_t) + 1) +
           (size_t)search->candidate_words;
}

/// A choice of nothing, of the free ones.
static Choice *empty_choice(Search *search) {
    Choice *choice = search->free[--search->free_count];
    memset(choice->chosen, 0xff, (size_t)search->reference_words * sizeof(int32_t));
    memset(choice->reference_used, 0, (size_t)search->reference_words);
    memset(choice->candidate_used, 0, (size_t)search->candidate_words);
    return choice;
}

static void make_choices(Search *search) {
    const size_t bytes = (choice_bytes(search) + 7) / 8 * 8;
    search->memory = checked_malloc(2 * BEAM * bytes + 1);
    for (int i = 0; i < 2 * BEAM; i++) {
        Choice *choice = search->free[i] = &search->choices[i];
        choice->chosen = (int32_t *)(search->memory + (size_t)i * bytes);
        choice->reference_used = (uint8_t *)(choice->chosen + search->reference_words);
        choice->candidate_used = choice->reference_used + search->reference_words;
        choice->is_kept = false;
    }
    search->free_count = 2 * BEAM;
}

static bool is_free(const Choice *choice, const MeteorMatch *match) {
    return !memchr(choice->reference_used + match->start, 1, (size_t)match->length) &&
           !memchr(choice->candidate_used + match->candidate_start, 1,
                   (size_t)match->candidate_length);
}

static void choose(Choice *choice, const MeteorMatches *matches, int index) {
    const MeteorMatch *match = &matches->items[index];
    choice->chosen[match->start] = index;
    memset(choice->reference_used + match->start, 1, (size_t)match->length);
    memset(choice->candidate_used + match->candidate_start, 1, (size_t)match->candidate_length);
}

/// Gives each path of the next beam a choice of its own; those of the current one are free then.
static void settle(Search *search) {
    for (int i = 0; i < search->next.count; i++) {
        Path *path = &search->next.paths[i];
        if (path->taken == NONE) {
            path->choice->is_kept = true;
            continue;
        }
        const Choice *from = path->choice;
        path->choice = search->free[--search->free_count];
        memcpy(path->choice->chosen, from->chosen, choice_bytes(search));
        choose(path->choice, search->matches, path->taken);
        path->taken = NONE;
    }
    for (int i = 0; i < search->current.count; i++) {
        Choice *choice = search->current.paths[i].choice;
        if (!choice->is_kept) search->free[search->free_count++] = choice;
        choice->is_kept = false;
    }
}

// ---- matches

static int32_t distance_of(const MeteorMatch *match) {
    return abs(match->start - match->candidate_start);
}

/// Goes on behind a match that is chosen.
static void pass(Path *path, const MeteorMatch *match) {
    const double weight = WEIGHTS[match->module];
    path->candidate_total = (int32_t)(path->candidate_total + match->candidate_length * weight);
    path->reference_total = (int32_t)(path->reference_total + match->length * weight);
    if (path->last_end != NONE && match->candidate_start != path->last_end) path->chunks++;
    path->index = match->start + match->length;
    path->last_end = match->candidate_start + match->candidate_length;
}

static void close_chunk(Path *path) {
    path->chunks += path->last_end != NONE;
    path->last_end = NONE;
}

/// A match that no other overlaps and that is the only one of its start is taken at once.
static Path first_path(Search *search) {
    const MeteorMatches *matches = search->matches;
    const Path path = {.last_end = NONE, .choice = empty_choice(search), .taken = NONE};
    for (int i = 0; i < search->reference_words; i++) {
        if (matches->first[i + 1] - matches->first[i] != 1) continue;
        const MeteorMatch *match = &matches->items[matches->first[i]];
        bool overlaps = false;
        for (int j = 0; j < match->length; j++) overlaps |= matches->reference_coverage[i + j] != 1;
        for (int j = 0; j < match->candidate_length; j++)
            overlaps |= matches->candidate_coverage[match->candidate_start + j] != 1;
        if (!overlaps) choose(path.choice, matches, matches->first[i]);
    }
    return path;
}

// ---- the search

/// The word is covered by a match of the path, which goes on within it, or passes it if it starts
/// here.
static void advance_covered(Search *search, Path path, int word) {
    if (word == path.index) {
        const int32_t chosen = path.choice->chosen[word];
        CHECK(chosen >= 0, "word %d is covered by a match that was not passed", word);
        pass(&path, &search->matches->items[chosen]);
        path.distance += distance_of(&search->matches->items[chosen]);
    }
    offer(&search->next, &path);
}

/// A path for each match that starts at the word, and one that leaves the word out. The distance of
/// a match is added to the path that leaves it out, and so to the paths of the matches behind it,
/// and not to its own: METEOR's slip.
static void advance_free(Search *search, Path path, int word) {
    const MeteorMatches *matches = search->matches;
    for (int i = matches->first[word]; i < matches->first[word + 1]; i++) {
        const MeteorMatch *match = &matches->items[i];
        if (!is_free(path.choice, match)) continue;
        Path taking = path;
        taking.taken = i;
        pass(&taking, match);
        path.distance += distance_of(match);
        offer(&search->next, &taking);
    }
    close_chunk(&path);
    path.index++;
    offer(&search->next, &path);
}

/// Paths before the word to paths behind it.
static void advance(Search *search, int word) {
    search->next.count = search->next.offered = 0;
    for (int i = 0; i < search->current.count; i++) {
        const Path *path = &search->current.paths[i];
        if (path->choice->reference_used[word])
            advance_covered(search, *path, word);
        else
            advance_free(search, *path, word);
    }
    sort(&search->next);
    settle(search);
    search->current = search->next;
}

void meteor_align(const MeteorMatches *matches, int candidate_words, int reference_words,
                  int32_t *chosen) {
    if (reference_words == 0) return;
    Search *search = checked_calloc(1, sizeof *search);
    search->matches = matches;
    search->candidate_words = candidate_words;
    search->reference_words = reference_words;
    make_choices(search);
    const Path first = first_path(search);
    offer(&search->current, &first);
    for (int word = 0; word < reference_words; word++) advance(search, word);
    for (int i = 0; i < search->current.count; i++) {
        close_chunk(&search->current.paths[i]);
        search->current.paths[i].order = i;
    }
    sort(&search->current);
    memcpy(chosen, search->current.paths[0].choice->chosen,
           (size_t)reference_words * sizeof *chosen);
    free(search->memory);
    free(search);
}
