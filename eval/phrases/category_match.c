#include "eval/phrases/category_match.h"
#include "eval/phrases/noun_forms.h"
#include "eval/phrases/wordnet.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MOST_SENSES = 2, MOST_STEPS = 7, MOST_ABOVE = 4, MOST_VISITED = 256, MOST_WORDS = 3 };

static const CategoryMatch NO_CATEGORY = {-1, 0, "none"};
static const float HEAD_SCORE = 0.6f, WORDNET_SCORE = 0.95f, NEXT_SENSE = 0.8f, STEP_UP = 0.9f;

typedef struct Senses {
    uint32_t items[MOST_SENSES];
    int count;
} Senses;

typedef struct Category {
    char *name;
    NounForms forms;
    /// of its last word, if it has several; else none
    NounForms head_forms;
    /// its most frequent one, if it has any
    Senses senses;
} Category;

struct CategoryMatcher {
    Category *categories;
    int count;
    /// NULL without it
    WordNet *wordnet;
    /// of the names, once they were asked for; size 0 before
    WordVectors vectors;
};

/// The senses of the first form that WordNet has, "dog" before "dogs".
static Senses senses_of(const CategoryMatcher *matcher, const NounForms *forms) {
    Senses senses = {.count = 0};
    if (!matcher->wordnet) return senses;
    for (int i = forms->count; i-- > 0 && senses.count == 0;)
        senses.count = wordnet_senses(matcher->wordnet, forms->words[i], senses.items, MOST_SENSES);
    return senses;
}

CategoryMatcher *category_matcher_new(const char *const *names, int count,
                                      const char *wordnet_folder) {
    CategoryMatcher *matcher = checked_calloc(1, sizeof *matcher);
    matcher->wordnet = wordnet_folder ? wordnet_open(wordnet_folder, NULL) : NULL;
    matcher->categories = checked_calloc((size_t)count + 1, sizeof *matcher->categories);
    matcher->count = count;
    for (int i = 0; i < count; i++) {
        Category *category = &matcher->categories[i];
        const char *last = strrchr(names[i], ' ');
        category->name = checked_strdup(names[i]);
        category->forms = noun_forms(names[i], strlen(names[i]));
        if (last) category->head_forms = noun_forms(last + 1, strlen(last + 1));
        category->senses = senses_of(matcher, &category->forms);
        if (category->senses.count > 1) category->senses.count = 1;
    }
    return matcher;
}

void category_matcher_free(CategoryMatcher *matcher) {
    if (!matcher) return;
    for (int i = 0; i < matcher->count; i++) free(matcher->categories[i].name);
    free(matcher->categories);
    word_vectors_free(&matcher->vectors);
    wordnet_close(matcher->wordnet);
    free(matcher);
}

bool category_matcher_has_wordnet(const CategoryMatcher *matcher) {
    return matcher->wordnet != NULL;
}

static void keep_better(CategoryMatch *best, int category, float score, const char *rule) {
    const bool is_better =
        score > best->score || (score == best->score && category < best->category);
    if (is_better) *best = (CategoryMatch){category, score, rule};
}

/// Gives the score to every allowed category that has this sense.
static void match_sense(const CategoryMatcher *matcher, uint32_t sense, float score,
                        const char *rule, const bool *allowed, CategoryMatch *best) {
    for (int c = 0; c < matcher->count; c++) {
        const Senses *senses = &matcher->categories[c].senses;
        const bool is_same = senses->count > 0 && senses->items[0] == sense;
        if (is_same && (!allowed || allowed[c])) keep_better(best, c, score, rule);
    }
}

/// Goes from a sense upwards, level by level, every sense once.
static void match_above(const CategoryMatcher *matcher, uint32_t sense, const bool *allowed,
                        CategoryMatch *best) {
    uint32_t visited[MOST_VISITED] = {sense};
    int begin = 0, end = 1;
    float score = WORDNET_SCORE;
    for (int steps = 0; steps <= MOST_STEPS && begin < end; steps++, score *= STEP_UP) {
        const int behind = end;
        for (; begin < behind; begin++) {
            uint32_t above[MOST_ABOVE];
            if (steps) match_sense(matcher, visited[begin], score, "hypernym", allowed, best);
            const int count =
                wordnet_hypernyms(matcher->wordnet, visited[begin], above, MOST_ABOVE);
            for (int i = 0; i < count && end < MOST_VISITED; i++) {
                bool is_new = true;
                for (int k = 0; k < end; k++) is_new = is_new && visited[k] != above[i];
                if (is_new) visited[end++] = above[i];
            }
        }
    }
}

/// Where the phrase's last `words` words begin, blanks between them; -1 if it has fewer.
static long last_words(const char *phrase, size_t length, size_t root_length, int words) {
    size_t begin = length - root_length;
    for (int i = 1; i < words; i++) {
        if (begin < 2 || phrase[begin - 1] != ' ') return -1;
        begin--;
        while (begin > 0 && phrase[begin - 1] != ' ') begin--;
    }
    return (long)begin;
}

CategoryMatch category_of_phrase(const CategoryMatcher *matcher, const char *phrase, size_t length,
                                 size_t root_length, const bool *allowed) {
    CategoryMatch best = NO_CATEGORY;
    CHECK(root_length <= length, "a root of %zu bytes in a phrase of %zu", root_length, length);
    const NounForms root = noun_forms(phrase + length - root_length, root_length);
    bool has_senses = false; // "hot dog" is no dog: what WordNet has as a whole is not cut
    for (int words = MOST_WORDS; words >= 1 && !has_senses; words--) {
        const long begin = last_words(phrase, length, root_length, words);
        if (begin < 0) continue;
        const NounForms forms = noun_forms(phrase + begin, length - (size_t)begin);
        for (int c = 0; c < matcher->count; c++)
            if ((!allowed || allowed[c]) && is_same_noun(&forms, &matcher->categories[c].forms))
                return (CategoryMatch){c, 1, "name"};
        const Senses senses = senses_of(matcher, &forms);
        has_senses = senses.count > 0;
        float score = WORDNET_SCORE;
        for (int i = 0; i < senses.count; i++, score *= NEXT_SENSE)
            match_sense(matcher, senses.items[i], score, "synonym", allowed, &best);
        if (has_senses) match_above(matcher, senses.items[0], allowed, &best);
    }
    for (int c = 0; c < matcher->count; c++)
        if ((!allowed || allowed[c]) && is_same_noun(&root, &matcher->categories[c].head_forms))
            keep_better(&best, c, HEAD_SCORE, "head");
    return best;
}

/// The text in lower case, without a leading article; the caller frees it.
static char *plain_words(const char *text, size_t length) {
    static const char *const articles[] = {"the ", "an ", "a "};
    for (int i = 0; i < 3; i++) {
        const size_t size = strlen(articles[i]);
        if (length <= size || strncasecmp(text, articles[i], size) != 0) continue;
        text += size;
        length -= size;
        break;
    }
    char *words = checked_calloc(length + 1, 1);
    for (size_t i = 0; i < length; i++)
        words[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] + 'a' - 'A') : text[i];
    return words;
}

/// Vectors of the names, asked for once.
static bool have_vectors(CategoryMatcher *matcher, ChunkCommand *command, Error *error) {
    if (matcher->vectors.size || matcher->count == 0) return true;
    char **names = checked_calloc((size_t)matcher->count, sizeof *names);
    for (int i = 0; i < matcher->count; i++)
        names[i] = plain_words(matcher->categories[i].name, strlen(matcher->categories[i].name));
    const bool are_read = chunk_command_vectors(command, (const char *const *)names, matcher->count,
                                                &matcher->vectors, error);
    for (int i = 0; i < matcher->count; i++) free(names[i]);
    free(names);
    return are_read;
}

/// In [0, 1]; 0 for a vector of zeros.
static float cosine(const float *a, const float *b, int size) {
    double product = 0, squares_a = 0, squares_b = 0;
    for (int i = 0; i < size; i++) {
        product += (double)a[i] * b[i];
        squares_a += (double)a[i] * a[i];
        squares_b += (double)b[i] * b[i];
    }
    if (product <= 0 || squares_a == 0 || squares_b == 0) return 0;
    return (float)fmin(product / sqrt(squares_a * squares_b), 1);
}

bool category_by_vectors(CategoryMatcher *matcher, ChunkCommand *command, const char *root,
                         size_t root_length, const bool *allowed, CategoryMatch *match,
                         Error *error) {
    *match = NO_CATEGORY;
    if (!have_vectors(matcher, command, error)) return false;
    WordVectors vector;
    char *word = plain_words(root, root_length);
    const bool is_read =
        chunk_command_vectors(command, (const char *const[]){word}, 1, &vector, error);
    free(word);
    if (!is_read) return false;
    const int size = matcher->vectors.size;
    const bool is_comparable = vector.size == size || matcher->count == 0;
    for (int c = 0; is_comparable && c < matcher->count; c++)
        if (!allowed || allowed[c])
            keep_better(
                match, c,
                cosine(vector.values, matcher->vectors.values + (size_t)c * (size_t)size, size),
                "vectors");
    if (!is_comparable)
        error_set(error, "command '%s': vectors of %d numbers, those of the names had %d",
                  chunk_command_name(command), vector.size, size);
    word_vectors_free(&vector);
    return is_comparable;
}
