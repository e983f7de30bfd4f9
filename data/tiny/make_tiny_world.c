/// make_tiny_world: writes the tiny world (see data/tiny/world.h for the layout).
#include "data/tiny/world.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char USAGE[] =
    "usage: make_tiny_world OUT [--seed N] [--train N] [--test N] [--documents N] [--crowded | "
    "--iconic]\n"
    "                       [--quiet]\n"
    "\n"
    "Draws scenes of coloured shapes (128 x 128 pixels) and writes images and annotations in the "
    "published formats:\n"
    "LLaVA (both stages), COCO instances, GranD-f GCG, RefCOCO, PNG with panoptic masks, POPE, "
    "GQA. The "
    "same seed gives\n"
    "the same files.\n"
    "\n"
    "  OUT            folder to make; must not exist or be empty\n"
    "  --seed N       seed of the world (default 0)\n"
    "  --train N      training scenes (default 4000)\n"
    "  --test N       test scenes (default 250)\n"
    "  --documents N  also write N texts to train a language model on (default 0)\n"
    "  --crowded      the second world: three to nine objects, small ones, hidden ones, several "
    "of\n"
    "                 a kind, some that are hard to see\n"
    "  --iconic       one or two objects, mostly large, that look as the second world's do\n"
    "  --quiet        no progress\n";

enum { EXIT_USAGE = 2 };

static bool parse_count(const char *text, long long limit, long long *value) {
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == 0 && *value >= 0 && *value <= limit;
}

static void show_progress(void *context, const char *what, int done, int total) {
    (void)context;
    int step = total / 50 + 1;
    if (done % step && done != total) return;
    fprintf(stderr, "\r%-9s %d / %d%s", what, done, total, done == total ? "\n" : "");
}

static int refuse(const char *option, const char *text, long long limit) {
    fprintf(stderr, "make_tiny_world: %s %s: expected a whole number from 0 to %lld\n", option,
            text, limit);
    return EXIT_USAGE;
}

int main(int argc, char **argv) {
    static const struct option OPTIONS[] = {{"seed", required_argument, NULL, 's'},
                                            {"train", required_argument, NULL, 't'},
                                            {"test", required_argument, NULL, 'e'},
                                            {"documents", required_argument, NULL, 'd'},
                                            {"crowded", no_argument, NULL, 'c'},
                                            {"iconic", no_argument, NULL, 'i'},
                                            {"quiet", no_argument, NULL, 'q'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    WorldOptions world = {.num_train = 4000, .num_test = 250};
    bool quiet = !isatty(STDERR_FILENO);
    long long value = 0, max_seed = INT64_MAX, max_documents = 10000000;
    for (int option; (option = getopt_long(argc, argv, "h", OPTIONS, NULL)) != -1;) {
        switch (option) {
        case 's':
            if (!parse_count(optarg, max_seed, &value)) return refuse("--seed", optarg, max_seed);
            world.seed = (uint64_t)value;
            break;
        case 't':
            if (!parse_count(optarg, MAX_SCENES, &value))
                return refuse("--train", optarg, MAX_SCENES);
            world.num_train = (int)value;
            break;
        case 'e':
            if (!parse_count(optarg, MAX_SCENES, &value))
                return refuse("--test", optarg, MAX_SCENES);
            world.num_test = (int)value;
            break;
        case 'd':
            if (!parse_count(optarg, max_documents, &value))
                return refuse("--documents", optarg, max_documents);
            world.num_documents = (int)value;
            break;
        case 'c':
            world.kind = WORLD_CROWDED;
            break;
        case 'i':
            world.kind = WORLD_ICONIC;
            break;
        case 'q':
            quiet = true;
            break;
        case 'h':
            fputs(USAGE, stdout);
            return EXIT_SUCCESS;
        default:
            fputs(USAGE, stderr);
            return EXIT_USAGE;
        }
    }
    if (argc - optind != 1) {
        fputs(USAGE, stderr);
        return EXIT_USAGE;
    }
    if (!quiet) world.progress = show_progress;
    Error error;
    if (!world_write(argv[optind], &world, &error)) {
        fprintf(stderr, "%smake_tiny_world: %s\n", quiet ? "" : "\n", error.message);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
