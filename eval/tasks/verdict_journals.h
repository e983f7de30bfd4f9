/// Journals of verdicts, one of each process, for eval/tasks/judging.c; what others may call of
/// them stands in its header.
#pragma once
#include "eval/tasks/judging.h"

#include "autograd/output/journal.h"

/// The verdicts there are of all items, [evaluation_items()], in their order, NULL: not judged yet.
/// To be freed with verdicts_free(). What was judged with something else does not count.
bool verdict_journals_collect(const JudgingOptions *options, json_t ***verdicts, int64_t *count,
                              Error *error);

/// This process's journal, made with its first verdict: one that is made and removed again would
/// come and go while other processes read the folder.
typedef struct OwnJournal {
    char *path;
    Journal *journal;
} OwnJournal;

/// `own`: zero at first, to be closed in any case.
bool own_journal_append(const JudgingOptions *options, OwnJournal *own, const json_t *verdict,
                        Error *error);
/// One without verdicts, of a full disk, is removed.
void own_journal_close(OwnJournal *own);
