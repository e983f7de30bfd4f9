/// Being asked to stop by a signal: SIGINT (Ctrl-C), SIGTERM, or SIGUSR1 (which Slurm can send
/// before the time limit).
///
/// A program that listens goes on, and loops that may last look whether it was asked; who called
/// them brings the work to an end in order. A program that does not is ended by the signal as
/// always, and is never asked.
#pragma once
#include "autograd/error.h"

/// From now on those signals are requests. A second SIGINT or SIGTERM has its usual effect, the end
/// at once. SIGUSR1, an announcement, never has. System calls that a signal interrupts are
/// restarted.
void stop_request_listen(void);

/// Whether this process was asked to stop.
bool stop_requested(void);

/// "stopped on request", with error->is_stop: for loops that end as if they had failed. Returns
/// false.
bool stop_request_error(Error *error);

/// What a signal means, for handlers of one's own; may be called in them, with the three signals
/// blocked.
typedef enum StopUrgency {
    /// the first request
    STOP_IN_ORDER,
    /// nothing new
    STOP_AS_BEFORE,
    /// the second SIGINT or SIGTERM
    STOP_IMMEDIATELY,
} StopUrgency;
StopUrgency stop_request_note(int signal_number);

/// Sets the handler of the three signals, and blocks all three while it runs.
void stop_request_handle(void (*handler)(int signal_number));
