#include "train/features/feature_ahead.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/// Of one image.
typedef struct Waiting {
    int32_t image;
    /// how often it will be taken
    int uses;
    bool is_read;
    /// NULL: being read, or it could not be
    char *bytes;
} Waiting;

struct FeatureAhead {
    FeatureShape shape;
    size_t image_bytes;
    /// over all that follows
    pthread_mutex_t lock;
    /// something was read
    pthread_cond_t changed;
    Waiting **waiting;
    int count, most;
};

FeatureAhead *feature_ahead_new(const FeatureShape *shape) {
    FeatureAhead *ahead = checked_calloc(1, sizeof *ahead);
    ahead->shape = *shape;
    ahead->image_bytes = feature_clip_bytes(shape) + feature_moments_bytes(shape);
    ahead->most = (int)(FEATURE_AHEAD_BYTES / ahead->image_bytes);
    ahead->waiting = checked_calloc((size_t)ahead->most + 1, sizeof *ahead->waiting);
    pthread_mutex_init(&ahead->lock, NULL);
    pthread_cond_init(&ahead->changed, NULL);
    return ahead;
}

void feature_ahead_free(FeatureAhead *ahead) {
    if (!ahead) return;
    for (int i = 0; i < ahead->count; i++) {
        free(ahead->waiting[i]->bytes);
        free(ahead->waiting[i]);
    }
    free(ahead->waiting);
    pthread_cond_destroy(&ahead->changed);
    pthread_mutex_destroy(&ahead->lock);
    free(ahead);
}

static char *read_now(const FeatureAhead *ahead, const FeatureFile *file, int place, Error *error) {
    char *bytes = checked_malloc(ahead->image_bytes);
    if (feature_file_read(file, &ahead->shape, place, bytes,
                          bytes + feature_clip_bytes(&ahead->shape), error))
        return bytes;
    free(bytes);
    return NULL;
}

/// With the lock: where it is among those that wait; -1: nowhere.
static int find(const FeatureAhead *ahead, int32_t image) {
    int i = ahead->count - 1;
    while (i >= 0 && ahead->waiting[i]->image != image) i--;
    return i;
}

/// With the lock: a new one, if there is room.
static Waiting *begin_waiting(FeatureAhead *ahead, int32_t image) {
    if (ahead->count >= ahead->most) return NULL;
    Waiting *waiting = checked_calloc(1, sizeof *waiting);
    *waiting = (Waiting){.image = image, .uses = 1};
    ahead->waiting[ahead->count++] = waiting;
    return waiting;
}

void feature_ahead_expect(FeatureAhead *ahead, int32_t image, const FeatureFile *file, int place) {
    pthread_mutex_lock(&ahead->lock);
    const int found = find(ahead, image);
    if (found >= 0) ahead->waiting[found]->uses++;
    Waiting *waiting = found < 0 ? begin_waiting(ahead, image) : NULL;
    pthread_mutex_unlock(&ahead->lock);
    if (!waiting) return;
    Error again; // when it is taken
    char *bytes = read_now(ahead, file, place, &again);
    pthread_mutex_lock(&ahead->lock);
    waiting->bytes = bytes;
    waiting->is_read = true;
    pthread_cond_broadcast(&ahead->changed);
    pthread_mutex_unlock(&ahead->lock);
}

/// With the lock: its bytes or a copy of them, NULL if they could not be read; then, and after the
/// last use, it waits no more.
static char *take_waiting(FeatureAhead *ahead, int found) {
    Waiting *waiting = ahead->waiting[found];
    while (!waiting->is_read) pthread_cond_wait(&ahead->changed, &ahead->lock);
    if (waiting->bytes && --waiting->uses > 0) {
        char *copy = checked_malloc(ahead->image_bytes);
        return memcpy(copy, waiting->bytes, ahead->image_bytes);
    }
    char *bytes = waiting->bytes;
    const int now = find(ahead, waiting->image); // it may have moved meanwhile
    ahead->waiting[now] = ahead->waiting[--ahead->count];
    free(waiting);
    return bytes;
}

char *feature_ahead_take(FeatureAhead *ahead, int32_t image, const FeatureFile *file, int place,
                         Error *error) {
    pthread_mutex_lock(&ahead->lock);
    const int found = find(ahead, image);
    char *bytes = found >= 0 ? take_waiting(ahead, found) : NULL;
    pthread_mutex_unlock(&ahead->lock);
    return bytes ? bytes : read_now(ahead, file, place, error);
}
