// rooms: data checkpoints autograd
// What it gains to decode, resize and normalise a picture row by row, as it is done for training,
// beside decoding it whole first, as it is done where the picture is shown as well: time on the
// processor, both in turns, medians; and what each adds to the process's memory at its peak.
//
//   bench_images make PICTURE FOLDER         a photograph as JPEG (quality 90) and PNG, 640 x 480
//                                            and 4000 x 3000, and as a JPEG of 10000 x 10000
//   bench_images ROUNDS pad|square SIZE FILE...
#include "data/archive/archive_path.h"
#include "data/images/preprocess.h"
#include "data/images/resize.h"
#include "tests/bench/bench.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_ROUNDS = 1000 };

static void stop(const Error *error) {
    fprintf(stderr, "%s\n", error->message);
    exit(1);
}

static int make_files(const char *picture, const char *folder) {
    static const struct {
        int width, height;
        bool is_png;
    } files[] = {{640, 480, false},
                 {640, 480, true},
                 {4000, 3000, false},
                 {4000, 3000, true},
                 {10000, 10000, false}};
    Error error = {0};
    Image image;
    if (!image_read(picture, &image, &error)) stop(&error);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[1024];
        Image resized = image_resize(&image, files[i].width, files[i].height, RESIZE_BICUBIC);
        snprintf(path, sizeof path, "%s/%dx%d.%s", folder, files[i].width, files[i].height,
                 files[i].is_png ? "png" : "jpg");
        if (!(files[i].is_png ? image_write_png(path, &resized, &error)
                              : image_write_jpeg(path, &resized, 90, &error)))
            stop(&error);
        image_free(&resized);
    }
    image_free(&image);
    return 0;
}

/// A file in memory, and its square.
typedef struct Case {
    const char *path;
    ByteBuffer bytes;
    ImageView view;
    float *out;
} Case;

typedef void (*Way)(const Case *of);

static void by_rows(const Case *of) {
    ImageGeometry geometry;
    Error error = {0};
    if (!image_decode_preprocess(of->bytes.data, of->bytes.size, of->path, &of->view, of->out,
                                 &geometry, &error))
        stop(&error);
}

static void whole_first(const Case *of) {
    Image image;
    ImageGeometry geometry;
    Error error = {0};
    if (!image_decode(of->bytes.data, of->bytes.size, of->path, &image, &error) ||
        !image_preprocess(&image, &of->view, of->out, &geometry, &error))
        stop(&error);
    image_free(&image);
}

static void nothing(const Case *of) { (void)of; }

/// MiB at the peak of a process that does this and nothing else.
static double peak_of(Way way, const Case *of) {
    const pid_t child = fork();
    struct rusage usage;
    int status;
    if (child == 0) {
        way(of);
        _exit(0);
    }
    if (child < 0 || wait4(child, &status, 0, &usage) != child || status != 0) {
        fprintf(stderr, "%s: no process to measure its memory\n", of->path);
        exit(1);
    }
    return (double)usage.ru_maxrss / 1024;
}

static double seconds_of(Way way, const Case *of) {
    const double begin = bench_now();
    way(of);
    return bench_now() - begin;
}

static void measure(const Case *of, int rounds) {
    static double rows[MOST_ROUNDS], whole[MOST_ROUNDS], ratios[MOST_ROUNDS];
    const double before = peak_of(nothing, of), memory_rows = peak_of(by_rows, of) - before,
                 memory_whole = peak_of(whole_first, of) - before;
    by_rows(of);
    for (int i = 0; i < rounds; i++) {
        rows[i] = seconds_of(by_rows, of);
        whole[i] = seconds_of(whole_first, of);
        ratios[i] = whole[i] / rows[i];
    }
    const double median = bench_median(ratios, rounds);
    printf("%s, %s %d: by rows %.2f ms, whole first %.2f ms, %.2f times as fast (quartiles %.2f to "
           "%.2f); memory %.1f and %.1f MiB\n",
           of->path, of->view.aspect == IMAGE_PAD ? "pad" : "square", of->view.size,
           1e3 * bench_median(rows, rounds), 1e3 * bench_median(whole, rounds), median,
           ratios[rounds / 4], ratios[3 * rounds / 4], memory_rows, memory_whole);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc == 4 && !strcmp(argv[1], "make")) return make_files(argv[2], argv[3]);
    const int rounds = argc > 4 ? atoi(argv[1]) : 0, size = argc > 4 ? atoi(argv[3]) : 0;
    if (rounds < 1 || rounds > MOST_ROUNDS || size < 1 ||
        (strcmp(argv[2], "pad") && strcmp(argv[2], "square"))) {
        fprintf(stderr, "bench_images make PICTURE FOLDER\n"
                        "bench_images ROUNDS pad|square SIZE FILE...\n");
        return 2;
    }
    bench_clock = CLOCK_PROCESS_CPUTIME_ID;
    for (int i = 4; i < argc; i++) {
        Error error = {0};
        Case of = {.path = argv[i],
                   .view = {*argv[2] == 'p' ? IMAGE_PAD : IMAGE_CENTER_CROP,
                            IMAGE_NORMALIZATION_CLIP_TWICE, size},
                   .out = checked_calloc((size_t)size * (size_t)size * 3, sizeof(float))};
        if (!archive_path_read(argv[i], SIZE_MAX, &of.bytes, &error)) stop(&error);
        measure(&of, rounds);
        byte_buffer_free(&of.bytes);
        free(of.out);
    }
    return 0;
}
