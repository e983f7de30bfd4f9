#include "train/log/run_record.h"

#include "autograd/output/output_file.h"
#include "autograd/text/byte_buffer.h"
#include "train/log/json_text.h"
#include "train/version.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/// The arguments of this process, each ended by a zero. The kernel allows some megabytes of them.
static ByteBuffer read_arguments(void) {
    enum { PIECE = 1 << 16 };
    ByteBuffer arguments = {0};
    int file = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t count = 1;
    while (file >= 0 && count > 0) {
        char *place = byte_buffer_reserve(&arguments, PIECE);
        count = read(file, place, PIECE);
        if (count > 0) arguments.size += (size_t)count;
    }
    if (file >= 0) close(file);
    byte_buffer_put(&arguments, "", 0); // a zero behind all
    return arguments;
}

/// Appends an argument as a shell reads it back, whatever its bytes.
static void put_quoted(ByteBuffer *command, const char *argument) {
    static const char PLAIN[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_./=:,+@%[]";
    if (*argument && strspn(argument, PLAIN) == strlen(argument)) {
        byte_buffer_put_text(command, argument);
        return;
    }
    byte_buffer_put_byte(command, '\'');
    for (size_t length; *argument; argument += length) {
        length = strcspn(argument, "'");
        if (length > 0)
            byte_buffer_put(command, argument, length);
        else
            byte_buffer_put_text(command, "'\\''");
        if (length == 0) length = 1;
    }
    byte_buffer_put_byte(command, '\'');
}

/// "mpirun -n 2 build/difflmm train configs/a.yaml": the caller frees it.
static char *command_line(const ProcessGroup *group) {
    ByteBuffer arguments = read_arguments(), command = {0};
    if (process_count(group) > 1)
        byte_buffer_print(&command, "%s -n %d", getenv("SLURM_JOB_ID") ? "srun" : "mpirun",
                          process_count(group));
    for (size_t i = 0; i < arguments.size; i += strlen(arguments.data + i) + 1) {
        if (command.size > 0) byte_buffer_put_byte(&command, ' ');
        put_quoted(&command, arguments.data + i);
    }
    byte_buffer_free(&arguments);
    return byte_buffer_take(&command);
}

static json_t *environment(void) {
    static const char *const PREFIXES[] = {"OMP_", "GOMP_", "SLURM_", "CUDA_", "NCCL_", "DIFFLMM_"};
    json_t *object = json_object();
    for (char **entry = environ; *entry; entry++) {
        const char *equals = strchr(*entry, '=');
        bool matters = false;
        for (size_t i = 0; i < sizeof PREFIXES / sizeof *PREFIXES; i++)
            matters = matters || !strncmp(*entry, PREFIXES[i], strlen(PREFIXES[i]));
        if (!equals || !matters) continue;
        char *name = format_string("%.*s", (int)(equals - *entry), *entry);
        json_set_outside(object, name, json_text(equals + 1));
        free(name);
    }
    return object;
}

/// "model name" of /proc/cpuinfo, or what the system calls the machine.
static void processor_name(char *name, size_t size, const char *fallback) {
    snprintf(name, size, "%s", fallback);
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[512];
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        snprintf(name, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    if (file) fclose(file);
}

static json_t *describe(const ProcessGroup *group, const Device *device, const char *command,
                        const char *folder, int64_t first_step) {
    char started[64], processor[256];
    time_t now = time(NULL);
    struct tm parts;
    struct utsname machine = {0};
    strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
    uname(&machine);
    processor_name(processor, sizeof processor, machine.machine);
    json_t *record = json_pack(
        "{s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:i, s:o}", "started", started,
        "version", DIFFLMM_REVISION, "first_step", (json_int_t)first_step, "command",
        json_text(command), "folder", json_text(folder), "host", json_text(machine.nodename),
        "system", json_text(machine.release), "processor", json_text(processor), "device",
        json_text(device->name), "processes", process_count(group), "cores",
        (int)sysconf(_SC_NPROCESSORS_ONLN), "environment", environment());
    CHECK(record, "a run cannot be described");
    return record;
}

static bool append_record(const char *path, const json_t *record, Error *error) {
    char *text = json_dumps(record, JSON_COMPACT), *line = format_string("%s\n", text);
    bool ok = output_append(path, line, strlen(line), error);
    free(line);
    free(text);
    return ok;
}

static bool write_script(const char *path, const char *command, const char *folder, Error *error) {
    ByteBuffer script = {0};
    byte_buffer_print(&script, "#!/bin/sh\n# difflmm %s\ncd ", DIFFLMM_REVISION);
    put_quoted(&script, folder);
    byte_buffer_print(&script, " && exec %s\n", command);
    bool ok = output_whole_file(path, script.data, script.size, error) && (chmod(path, 0755), true);
    byte_buffer_free(&script);
    return ok;
}

bool run_record_write(const char *folder, const ProcessGroup *group, const Device *device,
                      int64_t first_step, Error *error) {
    char *command = command_line(group), *runs = format_string("%s/runs.jsonl", folder),
         *script = format_string("%s/command.sh", folder), *here = getcwd(NULL, 0);
    if (!here) here = checked_strdup("?"); // removed, or not to be looked at
    json_t *record = describe(group, device, command, here, first_step);
    bool ok = append_record(runs, record, error) && write_script(script, command, here, error);
    json_decref(record);
    free(here);
    free(command);
    free(runs);
    free(script);
    return ok;
}
