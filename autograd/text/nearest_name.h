/// The name that somebody who misspelt one most likely meant.
#pragma once

/// Insertions, deletions, substitutions and swaps of neighbours that lead from `a` to `b` (optimal
/// string alignment). Names longer than 128 bytes are compared by their first 128.
int edit_distance(const char *a, const char *b);

/// Index of the nearest of `count` names, the first among equals; -1 if even that one is further
/// away than half its length.
int nearest_name(const char *name, const char *const *names, int count);
