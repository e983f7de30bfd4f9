// Parsers of bytes by themselves, a million executions in minutes: images and configurations in
// memory, archives, packs and samples of conversations in a file of memory. fuzz_verbs.c judges
// more, at a hundredth of the speed.
//
//   fuzz_bytes KIND EXECUTIONS SEED FILE...      KIND: image, archive, samples, config, pack,
//                                                pack_arrays, answers, answers_hdf5, parts,
//                                                features; files to begin with
//   fuzz_bytes KIND NUMBER SEED --once FILE...   one execution again
//
// Executions run in a process of their own, BATCH at a time, within MOST_MEMORY (not under the
// sanitizers, whose shadow is larger) and MOST_SECONDS of the processor each. What ends one is
// printed with its number; the next begins behind it. Exit codes: 0 nothing was found, 1 something
// was.
#include "tests/fuzz/mutate.h"
#include "tests/fuzz/parsers_of_bytes.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BATCH = 20000, MOST_SECONDS = 30, MOST_FILES = 1024 };
#ifndef __SANITIZE_ADDRESS__
static const rlim_t MOST_MEMORY = (rlim_t)3 << 30;
#endif

/// Asked for by the address sanitizer: HDF5 1.10 loses what it has read of an object header that
/// turns out damaged.
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libhdf5"; }

/// Of the address sanitizer, half of whose time went into what tells nothing here; $ASAN_OPTIONS
/// goes before: short stacks of allocations, less of freed memory kept than L2 caches hold.
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "malloc_context_size=3:quarantine_size_mb=4:max_malloc_fill_size=0";
}

/// Shared by the processes.
typedef struct Progress {
    int64_t number;
    int64_t read, refused;
} Progress;

typedef struct Fuzz {
    ByteParser *run;
    const char *kind;
    uint64_t seed;
    SeedFile files[MOST_FILES];
    int count;
    Progress *progress;
} Fuzz;

static void execute(const Fuzz *fuzz, int64_t number) {
    Random random = random_for(fuzz->kind, fuzz->seed, (uint64_t)number);
    const SeedFile *seed = &fuzz->files[random_below(&random, (size_t)fuzz->count)],
                   *donor = &fuzz->files[random_below(&random, (size_t)fuzz->count)];
    ByteBuffer bytes = bytes_copy(seed->bytes.data, seed->bytes.size);
    Error error = {0};
    if (seed->pack)
        mutate_pack(seed->pack, !strcmp(fuzz->kind, "pack"), &bytes, &random);
    else if (seed->hdf5)
        mutate_hdf5(seed->hdf5, &bytes, &random);
    else
        mutate_file(&bytes, seed->path, &donor->bytes, &random);
    fuzz->progress->number = number;
    setitimer(ITIMER_PROF, &(struct itimerval){.it_value.tv_sec = MOST_SECONDS}, NULL);
    const bool ok = fuzz->run(&bytes, seed, &error);
    CHECK(ok || error.message[0], "refused without a message");
    (*(ok ? &fuzz->progress->read : &fuzz->progress->refused))++;
    byte_buffer_free(&bytes);
}

static void limit_memory(void) {
#ifndef __SANITIZE_ADDRESS__
    setrlimit(RLIMIT_AS, &(struct rlimit){MOST_MEMORY, MOST_MEMORY});
#endif
}

/// Returns how many executions ended otherwise than by returning.
static int64_t run_all(const Fuzz *fuzz, int64_t executions) {
    int64_t found = 0;
    for (int64_t first = 0; first < executions;) {
        const int64_t end = first + BATCH < executions ? first + BATCH : executions;
        int status;
        fflush(NULL);
        const pid_t child = fork();
        if (child == 0) {
            limit_memory();
            for (int64_t i = first; i < end; i++) execute(fuzz, i);
            exit(0);
        }
        if (child < 0 || waitpid(child, &status, 0) != child) return found + 1;
        first = end;
        byte_parser_clean_up(child);
        if (status == 0) continue;
        printf("%s %lld: %s %d\n", fuzz->kind, (long long)fuzz->progress->number,
               WIFSIGNALED(status) ? "signal" : "exit code",
               WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        first = fuzz->progress->number + 1;
        found++;
    }
    printf("%s: %lld executions, seed %llu: %lld read, %lld refused, %lld found\n", fuzz->kind,
           (long long)executions, (unsigned long long)fuzz->seed, (long long)fuzz->progress->read,
           (long long)fuzz->progress->refused, (long long)found);
    return found;
}

static Hdf5Layout *hdf5_layout(const SeedFile *seed) {
    static const char *const names[] = {"readable", "count"}, *const texts[] = {"made_of",
                                                                                "asked_with"};
    Error error;
    int64_t value;
    char *text;
    Hdf5Layout *layout = checked_malloc(sizeof *layout);
    StateFile *state = state_open(seed->path, &error);
    CHECK(state && hdf5_layout_read(state, &seed->bytes, NULL, 0, layout, &error), "%s",
          error.message);
    for (int i = 0; i < 2; i++) {
        if (state_has_attribute(state, names[i]) &&
            state_read_attribute_int(state, names[i], &value, &error))
            hdf5_layout_add_number(layout, &seed->bytes, names[i], value);
        if (state_has_attribute(state, texts[i]) &&
            state_read_attribute_string(state, texts[i], &text, &error)) {
            hdf5_layout_add_text(layout, &seed->bytes, text);
            free(text);
        }
    }
    state_close(state);
    return layout;
}

static void add_file(Fuzz *fuzz, const char *path) {
    Error error = {0};
    SeedFile *seed = &fuzz->files[fuzz->count];
    if (!bytes_read(&seed->bytes, path)) return;
    seed->path = path;
    fuzz->count++;
    if (!strncmp(fuzz->kind, "pack", 4)) {
        seed->pack = checked_malloc(sizeof *seed->pack);
        CHECK(pack_layout_read(path, &seed->bytes, seed->pack, &error), "%s", error.message);
    } else if (!strcmp(fuzz->kind, "features") || !strcmp(fuzz->kind, "answers_hdf5")) {
        seed->hdf5 = hdf5_layout(seed);
    }
}

int main(int argc, char **argv) {
    static Fuzz fuzz;
    const bool once = argc > 4 && !strcmp(argv[4], "--once");
    fuzz.run = argc < 5 + once ? NULL : byte_parser_named(argv[1]);
    if (!fuzz.run) {
        fputs(
            "usage: fuzz_bytes image|archive|samples|config|pack|pack_arrays|answers|answers_hdf5|"
            "parts|features EXECUTIONS SEED [--once] FILE...\n",
            stderr);
        return 2;
    }
    fuzz.kind = argv[1];
    fuzz.seed = strtoull(argv[3], NULL, 10);
    for (int i = 4 + once; i < argc && fuzz.count < MOST_FILES; i++) add_file(&fuzz, argv[i]);
    if (!fuzz.count) return 2;
    fuzz.progress = mmap(NULL, sizeof *fuzz.progress, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const int64_t number = strtoll(argv[2], NULL, 10);
    bool found = false;
    if (once)
        execute(&fuzz, number);
    else
        found = run_all(&fuzz, number) > 0;
    byte_parser_clean_up(getpid());
    for (int i = 0; i < fuzz.count; i++) {
        byte_buffer_free(&fuzz.files[i].bytes);
        pack_layout_free(fuzz.files[i].pack);
        free(fuzz.files[i].hdf5);
    }
    return found;
}
