/// UTF-8: the one rule of what a character is (shortest forms, no surrogates, nothing above
/// U+10FFFF) [RFC 3629], and what stands for bytes that are none.
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/// U+FFFD, the replacement character.
#define UTF8_REPLACEMENT "\xef\xbf\xbd"

/// Bytes of the character at the start of text[0, count), count > 0; 0 if there is none.
size_t utf8_character_length(const char *text, size_t count);
/// How many bytes of text[0, count), count > 0, a decoder replaces together by one U+FFFD where no
/// character begins: the longest start of a character, at least 1 [The Unicode Standard, 3.9,
/// "U+FFFD Substitution of Maximal Subparts"].
size_t utf8_broken_length(const char *text, size_t count);
/// Whether the whole of text[0, length) is characters.
bool is_utf8(const char *text, size_t length);
/// The text with every byte that belongs to no character as "\xNN": a path, which may be any bytes,
/// in a record. The caller frees it.
char *utf8_escape(const char *text);
/// Bytes of the character at the start of text[0, count), count > 0, if a terminal shows it; 0 if
/// there is none, or a control character (C0, DEL, C1: they move the cursor, change colours, rename
/// windows).
size_t utf8_printable_length(const char *text, size_t count);
/// The text in one line that a terminal shows: everything else as "\xNN". The caller frees it.
char *utf8_printable(const char *text);
/// fprintf() for text with names, paths and answers in it: what no terminal shows is printed as
/// "\xNN", but for newlines and tabs.
void utf8_print(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
void utf8_vprint(FILE *out, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));
