// A queue of names between whoever reads them and threads that wait for disks: more threads than
// cores, as a file on a network costs a journey and no work.
#include "data/images/image_check.h"
#include "data/archive/archive_path.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    THREADS = 16,
    WAITING = 4096,
    /// taken by a thread at a time
    AT_ONCE = 32
};

typedef struct Waiting {
    int64_t key;
    char *path;
} Waiting;

struct ImageCheck {
    /// which share of the files this is, of how many
    int share, shares;
    pthread_mutex_t lock;
    /// something waits, or nothing more will come
    pthread_cond_t come;
    /// there is room
    pthread_cond_t room;
    Waiting waiting[WAITING];
    int64_t put, taken;
    bool is_complete;
    pthread_t threads[THREADS];
    int thread_count;
    ImageFindings findings;
    int64_t capacity;
};

int image_look(const char *path, Error *error) {
    ByteBuffer bytes = {0};
    int format = -1;
    if (archive_path_read(path, IMAGE_START, &bytes, error)) {
        format = image_format(bytes.data, bytes.size);
        if (format < 0) image_refuse(bytes.data, bytes.size, path, error);
    }
    byte_buffer_free(&bytes);
    return format;
}

/// With the lock.
static void add_problem(ImageCheck *check, int64_t key, const char *message) {
    ImageFindings *findings = &check->findings;
    if (findings->problem_count == check->capacity) {
        check->capacity = check->capacity ? 2 * check->capacity : 16;
        findings->problems = checked_realloc(findings->problems,
                                             (size_t)check->capacity * sizeof *findings->problems);
    }
    findings->problems[findings->problem_count++] = (ImageProblem){key, checked_strdup(message)};
}

static void work_on(ImageCheck *check, const Waiting *files, int count) {
    for (int i = 0; i < count; i++) {
        Error error = {0};
        const int format = image_look(files[i].path, &error);
        pthread_mutex_lock(&check->lock);
        if (format < 0)
            add_problem(check, files[i].key, error.message);
        else
            check->findings.formats[format]++;
        pthread_mutex_unlock(&check->lock);
        free(files[i].path);
    }
}

/// Waits for files; 0 when there are no more.
static int take(ImageCheck *check, Waiting *files) {
    int count = 0;
    pthread_mutex_lock(&check->lock);
    while (check->taken == check->put && !check->is_complete)
        pthread_cond_wait(&check->come, &check->lock);
    while (count < AT_ONCE && check->taken < check->put)
        files[count++] = check->waiting[check->taken++ % WAITING];
    pthread_cond_signal(&check->room);
    pthread_mutex_unlock(&check->lock);
    return count;
}

static void *work(void *context) {
    Waiting files[AT_ONCE];
    int count;
    while ((count = take(context, files)) > 0) work_on(context, files, count);
    return NULL;
}

ImageCheck *image_check_start(const ImageSharers *sharers) {
    ImageCheck *check = checked_calloc(1, sizeof *check);
    check->share = sharers ? sharers->index : 0;
    check->shares = sharers ? sharers->count : 1;
    pthread_mutex_init(&check->lock, NULL);
    pthread_cond_init(&check->come, NULL);
    pthread_cond_init(&check->room, NULL);
    return check;
}

/// A thread for every AT_ONCE files, up to THREADS: few files need few.
static void start_thread(ImageCheck *check) {
    if (check->thread_count < THREADS && check->put >= (int64_t)AT_ONCE * check->thread_count &&
        pthread_create(&check->threads[check->thread_count], NULL, work, check) == 0)
        check->thread_count++;
}

/// Files that lie together are one process's.
bool image_check_is_own(const ImageCheck *check, int64_t key) {
    return key / AT_ONCE % check->shares == check->share;
}

void image_check_put(ImageCheck *check, int64_t key, const char *path) {
    if (!image_check_is_own(check, key)) return;
    const Waiting file = {key, checked_strdup(path)};
    start_thread(check);
    if (check->thread_count == 0) { // none can be had
        work_on(check, &file, 1);
        return;
    }
    pthread_mutex_lock(&check->lock);
    while (check->put - check->taken == WAITING) pthread_cond_wait(&check->room, &check->lock);
    check->waiting[check->put++ % WAITING] = file;
    pthread_cond_signal(&check->come);
    pthread_mutex_unlock(&check->lock);
}

static int compare_keys(const void *a, const void *b) {
    const int64_t x = ((const ImageProblem *)a)->key, y = ((const ImageProblem *)b)->key;
    return (x > y) - (x < y);
}

static void sort_problems(ImageFindings *findings) {
    if (findings->problem_count)
        qsort(findings->problems, (size_t)findings->problem_count, sizeof *findings->problems,
              compare_keys);
}

void image_check_finish(ImageCheck *check, ImageFindings *findings) {
    pthread_mutex_lock(&check->lock);
    check->is_complete = true;
    pthread_cond_broadcast(&check->come);
    pthread_mutex_unlock(&check->lock);
    for (int i = 0; i < check->thread_count; i++) pthread_join(check->threads[i], NULL);
    sort_problems(&check->findings);
    if (findings)
        *findings = check->findings;
    else
        image_findings_free(&check->findings);
    pthread_cond_destroy(&check->room);
    pthread_cond_destroy(&check->come);
    pthread_mutex_destroy(&check->lock);
    free(check);
}

void image_findings_add(ImageFindings *findings, ImageFindings *from) {
    const int64_t own = findings->problem_count, all = own + from->problem_count;
    int64_t kept = 0;
    ImageProblem *problems = checked_malloc((size_t)(all + 1) * sizeof *problems);
    for (int64_t i = 0, k = 0; i + k < all;) {
        const bool is_own = k == from->problem_count ||
                            (i < own && findings->problems[i].key <= from->problems[k].key);
        const ImageProblem problem = is_own ? findings->problems[i++] : from->problems[k++];
        if (kept && problems[kept - 1].key == problem.key)
            free(problem.message);
        else
            problems[kept++] = problem;
    }
    free(findings->problems);
    free(from->problems);
    findings->problems = problems;
    findings->problem_count = kept;
    *from = (ImageFindings){0};
}

void image_findings_free(ImageFindings *findings) {
    for (int64_t i = 0; i < findings->problem_count; i++) free(findings->problems[i].message);
    free(findings->problems);
    *findings = (ImageFindings){0};
}

char *image_formats_text(const int64_t *formats) {
    ByteBuffer text = {0};
    for (int i = 0; i < IMAGE_FORMAT_COUNT; i++)
        if (formats[i])
            byte_buffer_print(&text, "%s%lld %s", text.size ? ", " : "", (long long)formats[i],
                              image_format_name(i));
    if (!text.size) byte_buffer_put_text(&text, "none");
    return byte_buffer_take(&text);
}
