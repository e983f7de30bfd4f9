#include "eval/metrics/text/pattern_states.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { LAST_UNIT = 0xffff, DEEPEST = 64, MOST_REPEATS = 16 };

typedef struct Parser {
    PatternStates *to;
    const char *pattern, *at;
    int depth;
} Parser;

// ---- states and sets

int pattern_states_add(PatternStates *to, int set, int first, int second) {
    if (to->count == to->capacity) {
        to->capacity = to->capacity ? 2 * to->capacity : 1024;
        to->states = checked_realloc(to->states, (size_t)to->capacity * sizeof *to->states);
    }
    to->states[to->count] = (PatternState){set, {first, second}};
    return to->count++;
}

void pattern_states_free(PatternStates *states) {
    for (int i = 0; i < states->set_count; i++) free(states->sets[i].ranges);
    free(states->sets);
    free(states->states);
}

bool character_set_has(const CharacterSet *set, int unit) {
    int low = 0, high = set->count;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (set->ranges[middle].last < unit)
            low = middle + 1;
        else
            high = middle;
    }
    return low < set->count && set->ranges[low].first <= unit;
}

static void add_range(CharacterSet *set, int32_t first, int32_t last) {
    set->ranges = checked_realloc(set->ranges, (size_t)(set->count + 1) * sizeof *set->ranges);
    set->ranges[set->count++] = (CharacterRange){first, last};
}

static int by_first(const void *a, const void *b) {
    const CharacterRange *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

/// Sorts and joins the ranges; complements them if asked.
static void finish_set(CharacterSet *set, bool complement) {
    if (set->count > 0) qsort(set->ranges, (size_t)set->count, sizeof *set->ranges, by_first);
    CharacterSet result = {0};
    int32_t end = complement ? 0 : -1;
    for (int i = 0; i < set->count; i++) {
        const CharacterRange range = set->ranges[i];
        if (complement) {
            if (range.first > end) add_range(&result, end, range.first - 1);
            if (range.last >= end) end = range.last + 1;
        } else if (result.count > 0 && range.first <= result.ranges[result.count - 1].last + 1) {
            if (range.last > result.ranges[result.count - 1].last)
                result.ranges[result.count - 1].last = range.last;
        } else {
            add_range(&result, range.first, range.last);
        }
    }
    if (complement && end <= LAST_UNIT) add_range(&result, end, LAST_UNIT);
    free(set->ranges);
    *set = result;
}

/// The index of the set, which is taken over: equal sets are one.
static int keep_set(PatternStates *to, CharacterSet set) {
    for (int i = 0; i < to->set_count; i++) {
        const CharacterSet *other = &to->sets[i];
        if (other->count == set.count &&
            memcmp(other->ranges, set.ranges, (size_t)set.count * sizeof *set.ranges) == 0) {
            free(set.ranges);
            return i;
        }
    }
    if (to->set_count == to->set_capacity) {
        to->set_capacity = to->set_capacity ? 2 * to->set_capacity : 64;
        to->sets = checked_realloc(to->sets, (size_t)to->set_capacity * sizeof *to->sets);
    }
    to->sets[to->set_count] = set;
    return to->set_count++;
}

// ---- characters

/// A character behind a backslash, or -1 if it stands for a set, which is added.
static int32_t escaped(Parser *parser, CharacterSet *set) {
    const char c = *parser->at++;
    switch (c) {
    case 't':
        return '\t';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 'f':
        return '\f';
    case 'u': {
        char digits[5] = {0};
        memcpy(digits, parser->at, strnlen(parser->at, 4));
        parser->at += 4;
        return (int32_t)strtol(digits, NULL, 16);
    }
    default:
        break;
    }
    int count;
    const CharacterRange *ranges = ptb_character_set(c, &count);
    for (int i = 0; i < count; i++) add_range(set, ranges[i].first, ranges[i].last);
    CHECK(ranges || ispunct((unsigned char)c), "pattern %s: \\%c", parser->pattern, c);
    return ranges ? -1 : c;
}

static int32_t plain_or_escaped(Parser *parser, CharacterSet *set) {
    CHECK(*parser->at, "pattern %s ends too early", parser->pattern);
    const char c = *parser->at++;
    return c == '\\' ? escaped(parser, set) : (unsigned char)c;
}

/// What stands within [ ].
static int parse_set(Parser *parser) {
    CharacterSet set = {0};
    const bool complement = *parser->at == '^';
    if (complement) parser->at++;
    while (*parser->at != ']') {
        const int32_t first = plain_or_escaped(parser, &set);
        if (first < 0) continue;
        int32_t last = first;
        if (parser->at[0] == '-' && parser->at[1] != ']') {
            parser->at++;
            last = plain_or_escaped(parser, &set);
        }
        CHECK(first <= last, "pattern %s: a range from %d to %d", parser->pattern, first, last);
        add_range(&set, first, last);
    }
    parser->at++;
    finish_set(&set, complement);
    return keep_set(parser->to, set);
}

/// A literal in either case. In Unicode, the Kelvin sign, the long s, the dotless i and the dotted
/// I are cases of k, s and i.
static int literal_set(Parser *parser, int32_t character) {
    CharacterSet set = {0};
    add_range(&set, character, character);
    if (character < 0x80 && isalpha(character)) {
        const int lower = tolower(character);
        add_range(&set, lower, lower);
        add_range(&set, toupper(lower), toupper(lower));
        if (lower == 'k') add_range(&set, 0x212a, 0x212a);
        if (lower == 's') add_range(&set, 0x17f, 0x17f);
        if (lower == 'i') add_range(&set, 0x130, 0x131);
    }
    finish_set(&set, false);
    return keep_set(parser->to, set);
}

// ---- the grammar: every function takes the state behind and returns the state in front

static int parse_choice(Parser *parser, int end);

static int parse_named(Parser *parser, int end) {
    const char *name = parser->at;
    const size_t length = strcspn(name, "}");
    parser->at += length + 1;
    for (int i = 0; i < parser->to->named_count; i++) {
        const NamedPattern *named = &parser->to->named[i];
        if (strlen(named->name) != length || memcmp(named->name, name, length) != 0) continue;
        Parser inner = {parser->to, named->pattern, named->pattern, parser->depth + 1};
        CHECK(inner.depth < DEEPEST, "pattern %s names itself", named->name);
        const int begin = parse_choice(&inner, end);
        CHECK(!*inner.at, "pattern %s: left over at %s", named->name, inner.at);
        return begin;
    }
    CHECK(false, "pattern %s: no pattern is named %.*s", parser->pattern, (int)length, name);
    return end;
}

static int parse_atom(Parser *parser, int end) {
    switch (*parser->at) {
    case '(': {
        parser->at++;
        const int begin = parse_choice(parser, end);
        CHECK(*parser->at == ')', "pattern %s: no ) at %s", parser->pattern, parser->at);
        parser->at++;
        return begin;
    }
    case '{':
        parser->at++;
        return parse_named(parser, end);
    case '[':
        parser->at++;
        return pattern_states_add(parser->to, parse_set(parser), end, -1);
    default:
        break;
    }
    CharacterSet set = {0};
    const int32_t character = plain_or_escaped(parser, &set);
    if (character >= 0)
        return pattern_states_add(parser->to, literal_set(parser, character), end, -1);
    finish_set(&set, false);
    return pattern_states_add(parser->to, keep_set(parser->to, set), end, -1);
}

/// Where the atom at `at` ends.
static const char *behind_atom(const char *at) {
    int depth = 0;
    do {
        switch (*at) {
        case '\0':
            return at;
        case '(':
            depth++;
            break;
        case ')':
            depth--;
            break;
        case '{':
            at = strchr(at, '}');
            break;
        case '\\':
            at += at[1] == 'u' ? 5 : 1;
            break;
        case '[':
            for (at++; *at != ']'; at++) at += *at == '\\';
            break;
        default:
            break;
        }
        at++;
    } while (depth > 0);
    return at;
}

/// How often an atom may stand: the operator at `at`. Returns what is behind it; *most is 0 for any
/// number.
static const char *parse_repeats(const char *at, int *least, int *most) {
    *least = *at == '*' || *at == '?' ? 0 : 1;
    *most = *at == '*' || *at == '+' ? 0 : 1;
    if (*at == '*' || *at == '+' || *at == '?') return at + 1;
    if (*at != '{' || !isdigit((unsigned char)at[1])) return at;
    char *after;
    *least = *most = (int)strtol(at + 1, &after, 10);
    if (*after == ',') *most = (int)strtol(after + 1, &after, 10);
    CHECK(*after == '}' && *least <= *most && 1 <= *most && *most <= MOST_REPEATS, "pattern: %s",
          at);
    return after + 1;
}

/// An atom and how often it stands. It is parsed again for every time, from the last one on.
static int parse_repeated(Parser *parser, int end) {
    int least, most;
    const char *rest = parse_repeats(behind_atom(parser->at), &least, &most);
    int begin = end;
    if (most == 0) {
        const int again = pattern_states_add(parser->to, STATE_BRANCH, end, -1);
        Parser atom = *parser;
        begin = parse_atom(&atom, again);
        parser->to->states[again].next[1] = begin;
        if (least == 0) begin = again;
    }
    for (int i = most; i > 0; i--) {
        Parser atom = *parser;
        begin = parse_atom(&atom, begin);
        if (i > least) begin = pattern_states_add(parser->to, STATE_BRANCH, begin, end);
    }
    parser->at = rest;
    return begin;
}

/// The atoms of a sequence are made from the last to the first, since each has to know the next.
static int parse_sequence(Parser *parser, int end) {
    if (!*parser->at || *parser->at == '|' || *parser->at == ')') return end;
    int least, most;
    Parser others = *parser;
    others.at = parse_repeats(behind_atom(parser->at), &least, &most);
    const int begin = parse_repeated(parser, parse_sequence(&others, end));
    parser->at = others.at;
    return begin;
}

static int parse_choice(Parser *parser, int end) {
    int begin = parse_sequence(parser, end);
    while (*parser->at == '|') {
        parser->at++;
        const int other = parse_sequence(parser, end);
        begin = pattern_states_add(parser->to, STATE_BRANCH, begin, other);
    }
    return begin;
}

int pattern_states_parse(PatternStates *to, const char *pattern, int end) {
    Parser parser = {to, pattern, pattern, 0};
    const int begin = parse_choice(&parser, end);
    CHECK(!*parser.at, "pattern %s: left over at %s", pattern, parser.at);
    return begin;
}
