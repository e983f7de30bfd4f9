/// Errors that a user can cause (a file, a key, an image, a full disk) are values carried up to the
/// command line.
///
/// A function that reads the world returns bool and takes an `Error *` as its last argument. On
/// failure it returns false, having written one message: what was wrong, where, what was expected,
/// what to do. Callers add context on the way up with error_context(). An Error owns no memory and
/// needs no destruction.
#pragma once
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct Error {
    char message[2048];
    /// what is wrong is what was asked for, not what was met: the program exits with 2, not 1
    bool is_configuration;
    /// nothing is wrong: the program was asked to stop (autograd/stop_request.h)
    bool is_stop;
} Error;

/// Writes the message (printf style) and returns false, so that a failing function can `return
/// error_set(...)`. `error` may be NULL: the message is then dropped. Whatever stands in the
/// arguments, the message is one line that a person can read: control characters are escaped, and a
/// word of more than 240 bytes (a picture in base64 where its name was expected) keeps its
/// beginning and its end.
bool error_set(Error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/// Puts "<context>: " in front of the message there is, unless that begins with it: a file is named
/// once, by whoever knows the place in it best. Returns false.
bool error_context(Error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/// A text from a file as it stands in a message.
typedef struct Quoted {
    char text[112];
} Quoted;

/// The text (NULL: "") with control characters escaped, cut behind some 80 bytes, at a character's
/// end, with "..." there: error_set(error, "the category '%s' ...", quote(name).text).
Quoted quote(const char *text);

/// Stops the program: for contracts inside the engine that only a bug can break (shapes, types,
/// ownership). Prints file, line and the printf-style message to stderr and aborts.
#define CHECK(condition, ...)                                                        \
    do {                                                                             \
        if (!(condition)) check_failed(__FILE__, __LINE__, #condition, __VA_ARGS__); \
    } while (0)

void check_failed(const char *file, int line, const char *condition, const char *format, ...)
    __attribute__((noreturn, format(printf, 4, 5)));

/// Stops the program, from any thread, with exit code 1 and this message (printf style) on stderr:
/// for what fails where no error value leads out, namely memory that is exhausted and a GPU that
/// fails in the middle of a pass. What is written is flushed; nothing waits for threads or other
/// ranks.
void stop_program(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/// malloc, calloc, realloc and strdup that stop_program() when memory is exhausted or a product is
/// more than any memory: small bookkeeping only. Tensors are allocated by their device, which
/// reports the failure.
void *checked_malloc(unsigned long bytes);
void *checked_calloc(unsigned long count, unsigned long bytes);
void *checked_realloc(void *pointer, unsigned long bytes);
char *checked_strdup(const char *text);
/// A newly allocated string, printf style; the caller frees it.
char *format_string(const char *format, ...) __attribute__((format(printf, 1, 2)));

#ifdef __cplusplus
}
#endif
