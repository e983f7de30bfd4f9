#include "eval/phrases/noun_forms.h"

#include <stdio.h>
#include <string.h>

/// Endings of plurals that no rule gives; a whole word, or the end of a compound ("firemen").
static const struct {
    const char *plural, *singular;
    bool ends_compounds;
} IRREGULAR[] = {{"people", "person", false},      {"men", "man", true},
                 {"children", "child", true},      {"feet", "foot", false},
                 {"teeth", "tooth", false},        {"mice", "mouse", false},
                 {"geese", "goose", false},        {"knives", "knife", false},
                 {"wives", "wife", true},          {"lives", "life", false},
                 {"leaves", "leaf", false},        {"loaves", "loaf", false},
                 {"shelves", "shelf", true},       {"halves", "half", false},
                 {"calves", "calf", false},        {"wolves", "wolf", false},
                 {"scarves", "scarf", false},      {"oxen", "ox", false},
                 {"dice", "die", false},           {"cacti", "cactus", false},
                 {"buses", "bus", true},           {"skis", "ski", false},
                 {"eyeglasses", "glasses", false}, {"hooves", "hoof", false}};
enum { NUM_IRREGULAR = sizeof IRREGULAR / sizeof *IRREGULAR };

static void add_form(NounForms *forms, const char *word, size_t kept, const char *ending) {
    if (forms->count == MOST_NOUN_FORMS) return;
    char *form = forms->words[forms->count++];
    snprintf(form, NOUN_SIZE, "%.*s%s", (int)kept, word, ending);
}

static bool ends_with(const char *word, size_t length, const char *ending) {
    const size_t size = strlen(ending);
    return length >= size && memcmp(word + length - size, ending, size) == 0;
}

static bool add_irregular(NounForms *forms, const char *word, size_t length) {
    for (int i = 0; i < NUM_IRREGULAR; i++) {
        const size_t size = strlen(IRREGULAR[i].plural);
        if (!ends_with(word, length, IRREGULAR[i].plural)) continue;
        const size_t kept = length - size;
        const bool is_word = kept == 0 || word[kept - 1] == ' ' || word[kept - 1] == '-';
        if (!is_word && !IRREGULAR[i].ends_compounds) continue;
        add_form(forms, word, kept, IRREGULAR[i].singular);
        return true;
    }
    return false;
}

NounForms noun_forms(const char *word, size_t length) {
    NounForms forms = {.count = 0};
    if (length == 0 || length >= NOUN_SIZE) return forms;
    char lower[NOUN_SIZE] = "";
    for (size_t i = 0; i < length; i++)
        lower[i] = word[i] >= 'A' && word[i] <= 'Z' ? (char)(word[i] + 'a' - 'A') : word[i];
    add_form(&forms, lower, length, "");
    if (add_irregular(&forms, lower, length) || length < 3) return forms;
    if (ends_with(lower, length, "ies")) add_form(&forms, lower, length - 3, "y");
    if (ends_with(lower, length, "ches") || ends_with(lower, length, "shes") ||
        ends_with(lower, length, "ses") || ends_with(lower, length, "xes") ||
        ends_with(lower, length, "zes") || ends_with(lower, length, "oes"))
        add_form(&forms, lower, length - 2, "");
    if (ends_with(lower, length, "s") && !ends_with(lower, length, "ss") &&
        !ends_with(lower, length, "us") && !ends_with(lower, length, "is"))
        add_form(&forms, lower, length - 1, "");
    return forms;
}

bool is_same_noun(const NounForms *a, const NounForms *b) {
    for (int i = 0; i < a->count; i++)
        for (int k = 0; k < b->count; k++)
            if (strcmp(a->words[i], b->words[k]) == 0) return true;
    return false;
}
