#include "autograd/text/nearest_name.h"

#include <string.h>

enum { LONGEST = 128 };

static int smallest(int a, int b) { return a < b ? a : b; }

int edit_distance(const char *a, const char *b) {
    int length_a = (int)strnlen(a, LONGEST), length_b = (int)strnlen(b, LONGEST);
    int rows[3][LONGEST + 1];
    int *before = rows[0], *above = rows[1], *row = rows[2];
    for (int j = 0; j <= length_b; j++) above[j] = j;
    for (int i = 1; i <= length_a; i++) {
        row[0] = i;
        for (int j = 1; j <= length_b; j++) {
            int substituted = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = smallest(substituted, smallest(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = smallest(row[j], before[j - 2] + 1);
        }
        int *unused = before;
        before = above;
        above = row;
        row = unused;
    }
    return above[length_b];
}

int nearest_name(const char *name, const char *const *names, int count) {
    int nearest = -1, distance = 0;
    for (int i = 0; i < count; i++) {
        int d = edit_distance(name, names[i]);
        if (nearest < 0 || d < distance) {
            nearest = i;
            distance = d;
        }
    }
    if (nearest >= 0 && 2 * distance > (int)strnlen(names[nearest], LONGEST)) return -1;
    return nearest;
}
