#include "autograd/stop_request.h"

#include "autograd/clock.h"

#include <signal.h>

static const int SIGNALS[] = {SIGINT, SIGTERM, SIGUSR1};
enum { NUM_SIGNALS = sizeof SIGNALS / sizeof *SIGNALS };

/// One request may arrive twice: timeout(1), for one, signals its child and then the child's group.
/// Seconds.
static const double ECHO = 0.1;

static volatile sig_atomic_t requested, is_urgent;
/// When the first SIGINT or SIGTERM came; handlers alone touch it.
static double urgent_since;

StopUrgency stop_request_note(int signal_number) {
    bool is_first = !requested;
    requested = 1;
    if (signal_number != SIGUSR1) {
        double now = clock_seconds();
        if (is_urgent && now - urgent_since > ECHO) return STOP_IMMEDIATELY;
        if (!is_urgent) urgent_since = now;
        is_urgent = 1;
    }
    return is_first ? STOP_IN_ORDER : STOP_AS_BEFORE;
}

static void take_note(int signal_number) {
    if (stop_request_note(signal_number) != STOP_IMMEDIATELY) return;
    signal(signal_number, SIG_DFL);
    raise(signal_number); // comes when this handler is left
}

void stop_request_handle(void (*handler)(int signal_number)) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < NUM_SIGNALS; i++) sigaddset(&action.sa_mask, SIGNALS[i]);
    for (int i = 0; i < NUM_SIGNALS; i++) sigaction(SIGNALS[i], &action, NULL);
}

void stop_request_listen(void) { stop_request_handle(take_note); }

bool stop_requested(void) { return requested; }

bool stop_request_error(Error *error) {
    error_set(error, "stopped on request");
    if (error) error->is_stop = true;
    return false;
}
