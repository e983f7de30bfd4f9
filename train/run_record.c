#include "train/run_record.h"

#include "autograd/output_file.h"
#include "train/version.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { MAX_COMMAND = 1 << 16 };

/// The arguments of this process, each ended by a zero; returns their length.
static size_t read_arguments(char *arguments, size_t size) {
    int file = open("/proc/self/cmdline", O_RDONLY);
    ssize_t length = file < 0 ? 0 : read(file, arguments, size - 1);
    if (file >= 0) close(file);
    arguments[length > 0 ? length : 0] = 0;
    return length > 0 ? (size_t)length : 0;
}

/// Appends an argument as a shell reads it back.
static void append_quoted(char *command, size_t size, const char *argument) {
    static const char PLAIN[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_./=:,+@%[]";
    size_t used = strlen(command);
    if (*argument && strspn(argument, PLAIN) == strlen(argument)) {
        snprintf(command + used, size - used, " %s", argument);
        return;
    }
    used += (size_t)snprintf(command + used, size - used, " '");
    for (; *argument && used + 8 < size; argument++)
        used += (size_t)snprintf(command + used, size - used, *argument == '\'' ? "'\\''" : "%c",
                                 *argument);
    snprintf(command + used, size - used, "'");
}

/// "mpirun -n 2 build/difflmm train configs/a.yaml": the caller frees it.
static char *command_line(const ProcessGroup *group) {
    char *arguments = checked_malloc(MAX_COMMAND), *command = checked_calloc(MAX_COMMAND, 1);
    size_t length = read_arguments(arguments, MAX_COMMAND);
    if (process_count(group) > 1)
        snprintf(command, MAX_COMMAND, " %s -n %d", getenv("SLURM_JOB_ID") ? "srun" : "mpirun",
                 process_count(group));
    for (size_t i = 0; i < length; i += strlen(arguments + i) + 1)
        append_quoted(command, MAX_COMMAND, arguments + i);
    char *result = checked_strdup(command[0] == ' ' ? command + 1 : command);
    free(arguments);
    free(command);
    return result;
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
        json_object_set_new(object, name, json_string(equals + 1));
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
                        int64_t first_step) {
    char started[64], folder[4096] = "?", processor[256];
    time_t now = time(NULL);
    struct tm parts;
    struct utsname machine = {0};
    strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
    if (!getcwd(folder, sizeof folder)) snprintf(folder, sizeof folder, "?");
    uname(&machine);
    processor_name(processor, sizeof processor, machine.machine);
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:o}", "started",
                     started, "version", DIFFLMM_REVISION, "first_step", (json_int_t)first_step,
                     "command", command, "folder", folder, "host", machine.nodename, "system",
                     machine.release, "processor", processor, "device", device->name, "processes",
                     process_count(group), "cores", (int)sysconf(_SC_NPROCESSORS_ONLN),
                     "environment", environment());
}

static bool append_line(const char *path, json_t *object, Error *error) {
    FILE *file = fopen(path, "a");
    bool ok = file && json_dumpf(object, file, JSON_COMPACT) == 0 && fputc('\n', file) != EOF;
    if (file && fclose(file) != 0) ok = false;
    return ok || error_set(error, "%s: cannot be written: %s", path, strerror(errno));
}

static bool write_script(const char *path, const json_t *record, Error *error) {
    char *folder = checked_calloc(MAX_COMMAND, 1);
    append_quoted(folder, MAX_COMMAND, json_string_value(json_object_get(record, "folder")));
    char *text = format_string("#!/bin/sh\n# difflmm %s\ncd%s && exec %s\n", DIFFLMM_REVISION,
                               folder, json_string_value(json_object_get(record, "command")));
    bool ok = output_whole_file(path, text, strlen(text), error) && (chmod(path, 0755), true);
    free(text);
    free(folder);
    return ok;
}

bool run_record_write(const char *folder, const ProcessGroup *group, const Device *device,
                      int64_t first_step, Error *error) {
    char *command = command_line(group), *runs = format_string("%s/runs.jsonl", folder),
         *script = format_string("%s/command.sh", folder);
    json_t *record = describe(group, device, command, first_step);
    bool ok = append_line(runs, record, error) && write_script(script, record, error);
    json_decref(record);
    free(command);
    free(runs);
    free(script);
    return ok;
}
