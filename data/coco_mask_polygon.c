// As pycocotools (maskApi) rasterises polygons: their edges are traced on a grid that is five times
// as fine, and a run changes where the boundary crosses from one column of pixels to the next.
#include "data/coco_mask.h"

#include <math.h>
#include <stdlib.h>

enum { POLYGON_OVERSAMPLING = 5 };

typedef struct Edge {
    int x0, y0, x1, y1;
} Edge;

typedef struct Boundary {
    int *x, *y;
    size_t count, capacity;
} Boundary;

static void add_point(Boundary *boundary, int x, int y) {
    if (boundary->count == boundary->capacity) {
        boundary->capacity = boundary->capacity ? 2 * boundary->capacity : 1024;
        boundary->x = checked_realloc(boundary->x, boundary->capacity * sizeof(int));
        boundary->y = checked_realloc(boundary->y, boundary->capacity * sizeof(int));
    }
    boundary->x[boundary->count] = x;
    boundary->y[boundary->count++] = y;
}

/// The points of an edge on the oversampled grid, along its longer axis, in the edge's own
/// direction.
static void trace_edge(Edge e, Boundary *boundary) {
    int dx = abs(e.x1 - e.x0), dy = abs(e.y1 - e.y0);
    bool flip = (dx >= dy && e.x0 > e.x1) || (dx < dy && e.y0 > e.y1);
    if (flip) e = (Edge){e.x1, e.y1, e.x0, e.y0};
    double slope = dx >= dy ? (dx ? (double)(e.y1 - e.y0) / dx : 0) : (double)(e.x1 - e.x0) / dy;
    int steps = dx >= dy ? dx : dy;
    for (int d = 0; d <= steps; d++) {
        int t = flip ? steps - d : d;
        if (dx >= dy)
            add_point(boundary, t + e.x0, (int)(e.y0 + slope * t + .5));
        else
            add_point(boundary, (int)(e.x0 + slope * t + .5), t + e.y0);
    }
}

static int compare_positions(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/// Where the boundary crosses from one column of pixels to the next: positions at which the run
/// changes. Returns their number.
static size_t column_crossings(const Boundary *boundary, int height, int width,
                               uint32_t *positions) {
    size_t count = 0;
    for (size_t j = 1; j < boundary->count; j++) {
        if (boundary->x[j] == boundary->x[j - 1]) continue;
        double x = boundary->x[j] < boundary->x[j - 1] ? boundary->x[j] : boundary->x[j] - 1;
        x = (x + .5) / POLYGON_OVERSAMPLING - .5;
        if (floor(x) != x || x < 0 || x > width - 1) continue;
        double y = boundary->y[j] < boundary->y[j - 1] ? boundary->y[j] : boundary->y[j - 1];
        y = (y + .5) / POLYGON_OVERSAMPLING - .5;
        y = ceil(y < 0 ? 0 : y > height ? height : y);
        positions[count++] = (uint32_t)((int64_t)x * height + (int64_t)y);
    }
    return count;
}

/// Sorted crossings to run lengths: two crossings at one place cancel.
static void runs_from_crossings(uint32_t *positions, size_t count, CocoMask *mask) {
    positions[count++] = (uint32_t)(mask->height * mask->width);
    qsort(positions, count, sizeof *positions, compare_positions);
    uint32_t previous = 0;
    for (size_t j = 0; j < count; j++) {
        uint32_t t = positions[j];
        positions[j] -= previous;
        previous = t;
    }
    size_t j = 0;
    mask->counts[mask->num_counts++] = positions[j++];
    while (j < count) {
        if (positions[j] > 0) {
            mask->counts[mask->num_counts++] = positions[j++];
        } else if (++j < count) {
            mask->counts[mask->num_counts - 1] += positions[j++];
        }
    }
}

bool coco_mask_from_polygon(const double *points, int num_points, int height, int width,
                            CocoMask *mask, Error *error) {
    if (num_points < 3)
        return error_set(error, "a polygon of %d points, expected at least 3", num_points);
    double limit = 2.0 * (height > width ? height : width) + 16;
    Boundary boundary = {0};
    for (int i = 0; i < 2 * num_points; i++) {
        if (isfinite(points[i]) && fabs(points[i]) <= limit) continue;
        return error_set(error, "a polygon coordinate of %g is outside an image of %d x %d",
                         points[i], width, height);
    }
    for (int i = 0; i < num_points; i++) {
        const double *a = points + 2 * i, *b = points + 2 * ((i + 1) % num_points);
        trace_edge((Edge){(int)(POLYGON_OVERSAMPLING * a[0] + .5),
                          (int)(POLYGON_OVERSAMPLING * a[1] + .5),
                          (int)(POLYGON_OVERSAMPLING * b[0] + .5),
                          (int)(POLYGON_OVERSAMPLING * b[1] + .5)},
                   &boundary);
    }
    uint32_t *positions = checked_malloc((boundary.count + 1) * sizeof *positions);
    size_t count = column_crossings(&boundary, height, width, positions);
    *mask = (CocoMask){height, width, checked_malloc((count + 2) * sizeof *mask->counts), 0};
    runs_from_crossings(positions, count, mask);
    free(positions);
    free(boundary.x);
    free(boundary.y);
    return true;
}
