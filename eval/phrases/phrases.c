// Category names are short lists of plain words, so a walk over the words of the text is enough.
// Longest names win: "traffic light" before "light".
#include "eval/phrases/phrases.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { WORDS_BACK = 5 };

typedef struct Word {
    int begin, end;
} Word;

static bool is_word_byte(char c) {
    return isalnum((unsigned char)c) || c == '\'' || c == '-' || (unsigned char)c >= 0x80;
}

static Word *split_words(const char *text, int *count) {
    Word *words = checked_malloc((strlen(text) / 2 + 1) * sizeof *words);
    *count = 0;
    for (int i = 0; text[i];) {
        if (!is_word_byte(text[i])) {
            i++;
            continue;
        }
        int begin = i;
        while (text[i] && is_word_byte(text[i])) i++;
        words[(*count)++] = (Word){begin, i};
    }
    return words;
}

static bool is_one_of(const char *text, Word word, const char *const *list) {
    for (; *list; list++)
        if (strlen(*list) == (size_t)(word.end - word.begin) &&
            !strncasecmp(*list, text + word.begin, strlen(*list)))
            return true;
    return false;
}

/// Whether `word` is `name` (of `length` bytes), or with `plural` its plural.
static bool word_matches(const char *text, Word word, const char *name, int length, bool plural) {
    int n = word.end - word.begin;
    if (n < length || strncasecmp(text + word.begin, name, (size_t)length)) return false;
    if (n == length) return true;
    const char *ending = text + word.begin + length;
    return plural && ((n == length + 1 && tolower((unsigned char)ending[0]) == 's') ||
                      (n == length + 2 && !strncasecmp(ending, "es", 2)));
}

/// How many words from `first` on spell `name`; 0 if they do not.
static int words_matching(const char *text, const Word *words, int first, int count,
                          const char *name) {
    int used = 0;
    while (*name) {
        int length = (int)strcspn(name, " ");
        bool last = !name[length];
        if (first + used >= count || !word_matches(text, words[first + used], name, length, last))
            return 0;
        used++;
        name += length + !last;
    }
    return used;
}

/// Where the phrase of the noun at word `noun` begins.
static int phrase_begin(const char *text, const Word *words, int noun) {
    static const char *const openers[] = {
        "a",    "an",   "the", "this", "that", "these", "those", "some",    "one",  "two", "three",
        "four", "five", "six", "its",  "his",  "her",   "their", "another", "each", NULL};
    for (int back = 1; back <= WORDS_BACK && noun - back >= 0; back++) {
        Word word = words[noun - back];
        for (int i = word.end; i < words[noun - back + 1].begin; i++)
            if (text[i] != ' ' && text[i] != '\n')
                return words[noun].begin; // a clause ends before an opener was met
        if (is_one_of(text, word, openers)) return word.begin;
    }
    return words[noun].begin;
}

PhraseList phrases_find(const char *text, const char *const *category_names, int num_categories) {
    PhraseList list = {0};
    int count;
    Word *words = split_words(text, &count);
    for (int w = 0; w < count;) {
        int longest = 0, category = -1;
        for (int c = 0; c < num_categories; c++) {
            int used = words_matching(text, words, w, count, category_names[c]);
            if (used > longest) longest = used, category = c;
        }
        if (!longest) {
            w++;
            continue;
        }
        if (list.count == list.capacity) {
            list.capacity = list.capacity ? 2 * list.capacity : 8;
            list.items = checked_realloc(list.items, (size_t)list.capacity * sizeof *list.items);
        }
        int end = words[w + longest - 1].end;
        list.items[list.count++] =
            (Phrase){phrase_begin(text, words, w), end, words[w].begin, end, category};
        w += longest;
    }
    free(words);
    return list;
}

void phrases_free(PhraseList *list) {
    free(list->items);
    *list = (PhraseList){0};
}
