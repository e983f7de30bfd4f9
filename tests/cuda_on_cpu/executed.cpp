// One file for each build of each program, named by the program and the time it was built at: a
// later build's addresses are others. Several processes (a test program forks) append whole lines.
#include "executed.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <link.h>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <unordered_set>

namespace {

/// How far the program is from where its symbol table says; the first object is the program itself.
uintptr_t load_address() {
    uintptr_t address = 0;
    dl_iterate_phdr(
        [](dl_phdr_info *info, size_t, void *to) {
            *static_cast<uintptr_t *>(to) = info->dlpi_addr;
            return 1;
        },
        &address);
    return address;
}

/// The program's path, "" if it cannot be told.
std::string program_path() {
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path);
    return length > 0 && length < (ssize_t)sizeof path ? std::string(path, (size_t)length) : "";
}

/// A descriptor of the program's file, or -1.
int open_file(const char *folder, const std::string &program) {
    struct stat built;
    if (stat("/proc/self/exe", &built) != 0) return -1;
    mkdir(folder, 0777);
    std::string name = program.substr(program.rfind('/') + 1);
    std::string path =
        std::string(folder) + "/" + name + "." + std::to_string((long long)built.st_mtime);
    return open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
}

} // namespace

void executed_record(const void *kernel) {
    static const char *folder = getenv("CUDA_ON_CPU_EXECUTED");
    if (!folder) return;
    static std::unordered_set<const void *> seen;
    if (!seen.insert(kernel).second) return;
    static const std::string program = program_path();
    static const int file = open_file(folder, program);
    char address[32];
    snprintf(address, sizeof address, "%016jx ",
             (uintmax_t)(reinterpret_cast<uintptr_t>(kernel) - load_address()));
    std::string line = address + program + "\n";
    if (file < 0 || write(file, line.data(), line.size()) != (ssize_t)line.size()) {
        fprintf(stderr, "cannot write to %s\n", folder);
        abort();
    }
}
