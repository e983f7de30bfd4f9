#include "train/group/going_on.h"

#include "autograd/stop_request.h"

bool ranks_go_on(ProcessGroup *group, bool ok, bool *stopping, Error *error) {
    enum { FAILED, STOPPING, COUNT };
    bool stopped = *stopping || stop_requested();
    double states[COUNT] = {!ok && !stopped, stopped};
    if (!process_group_max(group, states, COUNT, ok ? error : NULL)) return false;
    if (states[FAILED] > 0) return process_group_agree(group, ok || stopped, error);
    *stopping = states[STOPPING] > 0;
    return !*stopping || stop_request_error(error);
}
