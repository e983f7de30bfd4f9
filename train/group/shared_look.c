#include "train/group/shared_look.h"

#include "autograd/text/byte_buffer.h"
#include "train/group/going_on.h"

#include <stdlib.h>
#include <string.h>

/// The beginning of a rank's message; its problems follow, of each its key and its text.
typedef struct LookHeader {
    int64_t machine, problem_count;
    int64_t formats[IMAGE_FORMAT_COUNT];
} LookHeader;

static void put_findings(const ProcessGroup *group, const ImageFindings *findings,
                         ByteBuffer *message) {
    LookHeader header = {process_machine(group), findings->problem_count, {0}};
    memcpy(header.formats, findings->formats, sizeof header.formats);
    byte_buffer_put(message, &header, sizeof header);
    for (int64_t i = 0; i < findings->problem_count; i++) {
        const ImageProblem *problem = &findings->problems[i];
        byte_buffer_put(message, &problem->key, sizeof problem->key);
        byte_buffer_put(message, problem->message, strlen(problem->message) + 1);
    }
}

/// Adds the findings of another rank. Formats are counted on this machine.
static void add_findings(const ProcessGroup *group, int rank, const ByteBuffer *message,
                         ImageFindings *findings) {
    LookHeader header;
    const char *at = message->data + sizeof header;
    memcpy(&header, message->data, sizeof header);
    const bool is_here = header.machine == process_machine(group);
    ImageFindings theirs = {.problem_count = header.problem_count};
    theirs.problems = checked_calloc((size_t)header.problem_count + 1, sizeof *theirs.problems);
    for (int64_t i = 0; i < header.problem_count; i++) {
        ImageProblem *problem = &theirs.problems[i];
        memcpy(&problem->key, at, sizeof problem->key);
        at += sizeof problem->key;
        problem->message = is_here ? checked_strdup(at)
                                   : format_string("%s (on the machine of rank %d)", at, rank);
        at += strlen(at) + 1;
    }
    image_findings_add(findings, &theirs);
    for (int i = 0; is_here && i < IMAGE_FORMAT_COUNT; i++)
        findings->formats[i] += header.formats[i];
}

/// `own` of rank `rank` for every rank.
static bool hear(ProcessGroup *group, int rank, const ByteBuffer *own, ByteBuffer *message,
                 Error *error) {
    uint64_t size = own->size;
    byte_buffer_clear(message);
    if (!process_group_broadcast(group, rank, &size, sizeof size, error)) return false;
    char *place = byte_buffer_reserve(message, size);
    if (rank == process_rank(group)) memcpy(place, own->data, size);
    message->size = size;
    return process_group_broadcast(group, rank, place, size, error);
}

static bool exchange(void *context, bool ok, int64_t samples, ImageFindings *findings,
                     Error *error) {
    const SharedLook *look = context;
    ProcessGroup *group = look->group;
    ByteBuffer own = {0}, message = {0};
    if (!ranks_go_on(group, ok, look->stopping, error) ||
        !process_group_same(group, look->what, &samples, sizeof samples, error))
        return false;
    put_findings(group, findings, &own);
    for (int r = 0; ok && r < process_count(group); r++) {
        ok = hear(group, r, &own, &message, error);
        if (ok && r != process_rank(group)) add_findings(group, r, &message, findings);
    }
    byte_buffer_free(&own);
    byte_buffer_free(&message);
    return ok;
}

ImageSharers shared_look_sharers(SharedLook *look) {
    return (ImageSharers){process_local_rank(look->group), process_local_count(look->group),
                          exchange, look};
}
