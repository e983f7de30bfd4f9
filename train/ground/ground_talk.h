/// A conversation about pictures: the model stays loaded, what was said before stays in its
/// context, until another picture or /new. Typed on a terminal or sent by a script; what goes wrong
/// with a line is said on stderr, and the conversation goes on.
///
/// Ctrl-C ends the answer in hand, which then counts as said so far; Ctrl-D, or the end of what is
/// sent, ends the conversation, and so does SIGTERM.
#pragma once
#include "train/ground/grounder.h"

typedef struct TalkOptions {
    const char *picture_path;
    /// the first question; NULL: none yet
    const char *prompt;
    /// saves write explorer.html as well
    bool page;
} TalkOptions;

/// grounder: loaded. False if the conversation was ended from outside.
bool ground_talk(Grounder *grounder, const TalkOptions *options, Error *error);
