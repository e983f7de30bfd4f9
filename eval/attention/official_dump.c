#include "eval/attention/official_dump.h"

#include "checkpoints/torch/torch_archive.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/// A file while it is read.
typedef struct Dump {
    TorchArchive *archive;
    const PickleValue *root;
    const StoredTensor *ids, *maps;
    /// NULL in an answer that was generated
    const PickleValue *groups;
    const char *text;
    int num_tokens;
    /// ids in front of those
    int64_t num_ahead;
} Dump;

// ---- what is there

static bool is_float(ElementType type) {
    return type == ELEMENT_F16 || type == ELEMENT_BF16 || type == ELEMENT_F32 ||
           type == ELEMENT_F64;
}

/// A tensor directly in the dict.
static bool find_tensor(const Dump *dump, const char *key, int rank, const char *expected,
                        const StoredTensor **tensor, Error *error) {
    char shape[128];
    const PickleValue *value = pickle_get(dump->root, key);
    if (!value)
        return error_set(error, "has no '%s': not a file of groundLMM's attention scripts", key);
    if (!torch_value_is_tensor(value))
        return error_set(error, "its '%s' is %s; expected a tensor %s", key,
                         pickle_kind_name(value->kind), expected);
    *tensor = torch_archive_find(dump->archive, key);
    bool right = (*tensor)->rank == rank &&
                 (rank == 1 ? (*tensor)->type == ELEMENT_I64 || (*tensor)->type == ELEMENT_I32
                            : is_float((*tensor)->type));
    return right ||
           error_set(error, "its '%s' is %s of %s; expected %s", key, element_name((*tensor)->type),
                     shape_text((*tensor)->rank, (*tensor)->shape, shape, sizeof shape), expected);
}

static bool find_parts(Dump *dump, Error *error) {
    dump->root = torch_archive_root(dump->archive);
    if (dump->root->kind != PICKLE_DICT)
        return error_set(error, "holds %s; expected the dict of groundLMM's attention scripts",
                         pickle_kind_name(dump->root->kind));
    if (!find_tensor(dump, "attentions", 3, "numbers [tokens, rows, columns]", &dump->maps,
                     error) ||
        !find_tensor(dump, "sequences", 1, "integers [ids]", &dump->ids, error))
        return false;
    const PickleValue *text = pickle_get(dump->root, "answer");
    dump->text = text ? pickle_text(text) : NULL;
    if (!dump->text)
        return error_set(error, "its 'answer' is %s; expected text",
                         text ? pickle_kind_name(text->kind) : "missing");
    dump->groups = pickle_get(dump->root, "token_groups");
    return true;
}

static bool check_sizes(Dump *dump, int most_ahead, Error *error) {
    const int64_t *shape = dump->maps->shape;
    char text[128];
    for (int i = 0; i < 3; i++)
        if (shape[i] < 1 || shape[i] > INT_MAX || shape[1] * shape[2] > INT_MAX)
            return error_set(error, "its 'attentions' are %s; expected [tokens, rows, columns]",
                             shape_text(3, shape, text, sizeof text));
    dump->num_tokens = (int)shape[0];
    dump->num_ahead = dump->ids->shape[0] - shape[0];
    if (dump->groups) most_ahead = 0;
    if (dump->num_ahead >= 0 && dump->num_ahead <= most_ahead) return true;
    if (dump->groups)
        return error_set(error,
                         "%lld maps in 'attentions' and %lld ids in 'sequences'; a text "
                         "that was read has one of each for every token",
                         (long long)shape[0], (long long)dump->ids->shape[0]);
    return error_set(error,
                     "%lld maps in 'attentions' and %lld ids in 'sequences'; every token of an "
                     "answer has a map, and up to %d in front of it (eval.offset) have none",
                     (long long)shape[0], (long long)dump->ids->shape[0], most_ahead);
}

/// The two texts without their blanks.
static bool same_but_blanks(const char *a, const char *b) {
    for (;; a++, b++) {
        while (isspace((unsigned char)*a)) a++;
        while (isspace((unsigned char)*b)) b++;
        if (*a != *b) return false;
        if (!*a) return true;
    }
}

static bool check_subject(const Dump *dump, const DumpSubject *subject, Error *error) {
    const PickleValue *id = pickle_get(dump->root, "image_id"),
                      *sentence = pickle_get(dump->root, "sent");
    const char *expression = sentence ? pickle_text(sentence) : NULL;
    char *end;
    if (id && id->kind == PICKLE_INT && subject->image_id) {
        long long wanted = strtoll(subject->image_id, &end, 10);
        if (!*end && wanted != id->integer)
            return error_set(error, "is about image %lld; expected image %s",
                             (long long)id->integer, subject->image_id);
    }
    if (expression && subject->expression && !same_but_blanks(expression, subject->expression))
        return error_set(error, "is about '%s'; expected '%s': of another data set or split?",
                         quote(expression).text, quote(subject->expression).text);
    return true;
}

// ---- tokens

static bool read_ids(const Dump *dump, Answer *answer, Error *error) {
    int count = dump->num_tokens;
    answer->ids = checked_calloc((size_t)count, sizeof *answer->ids);
    for (int t = 0; t < count; t++) {
        int64_t wide = 0;
        int32_t narrow = 0;
        bool is_wide = dump->ids->type == ELEMENT_I64;
        stored_tensor_read(dump->ids, dump->num_ahead + t, 1,
                           is_wide ? (void *)&wide : (void *)&narrow);
        int64_t id = is_wide ? wide : narrow;
        if (id < 0 || id > INT32_MAX)
            return error_set(error, "id %lld of its 'sequences' is %lld; expected a token",
                             (long long)dump->num_ahead + t, (long long)id);
        answer->ids[t] = (int32_t)id;
    }
    answer->num_tokens = count;
    return true;
}

/// The text of the ids, and each one's bytes in it.
static bool read_text(const Dump *dump, const Tokenizer *tokenizer, Answer *answer, Error *error) {
    DecodedText decoded = tokenizer_decode(tokenizer, answer->ids, answer->num_tokens);
    int length = (int)strlen(decoded.text); // a token of byte 0 ends it early
    for (int t = 0; t < decoded.count; t++) {
        if (decoded.begin[t] > length) decoded.begin[t] = length;
        if (decoded.end[t] > length) decoded.end[t] = length;
    }
    answer->text = decoded.text;
    answer->token_begin = decoded.begin;
    answer->token_end = decoded.end;
    return same_but_blanks(answer->text, dump->text) ||
           error_set(error,
                     "says '%s', but its ids are '%s'; eval.tokenizer is to be the tokenizer "
                     "of the model that answered",
                     quote(dump->text).text, quote(answer->text).text);
}

static bool read_group(const PickleValue *group, int begin, int num_tokens, TokenRange *range) {
    if (group->kind != PICKLE_LIST && group->kind != PICKLE_TUPLE) return false;
    *range = (TokenRange){begin, begin};
    for (uint32_t i = 0; i < group->count; i++) {
        const PickleValue *token = group->items[i];
        if (token->kind != PICKLE_INT || token->integer < 0 || token->integer >= num_tokens ||
            (i && token->integer != range->end))
            return false;
        if (!i) range->begin = (int)token->integer;
        range->end = (int)token->integer + 1;
    }
    return true;
}

static bool read_groups(const Dump *dump, Answer *answer, Error *error) {
    const PickleValue *groups = dump->groups;
    if (groups->kind != PICKLE_LIST && groups->kind != PICKLE_TUPLE)
        return error_set(error, "its 'token_groups' are %s; expected a list",
                         pickle_kind_name(groups->kind));
    answer->utterances = checked_calloc((size_t)groups->count + 1, sizeof *answer->utterances);
    for (uint32_t g = 0; g < groups->count; g++) {
        int begin = g ? answer->utterances[g - 1].end : 0;
        if (!read_group(groups->items[g], begin, answer->num_tokens, &answer->utterances[g]))
            return error_set(error,
                             "group %u of its 'token_groups' is no list of tokens that follow each "
                             "other within 0 to %d",
                             g, answer->num_tokens - 1);
    }
    answer->num_utterances = (int)groups->count;
    return true;
}

// ---- maps

static bool read_maps(const Dump *dump, Answer *answer, Error *error) {
    const StoredTensor *maps = dump->maps;
    answer->grid = (CellGrid){(int)maps->shape[1], (int)maps->shape[2]};
    answer->layers = answer->heads = 1;
    answer->maps = checked_malloc((size_t)maps->numel * sizeof *answer->maps);
    stored_tensor_read_float32(maps, 0, maps->numel, answer->maps);
    for (int64_t i = 0; i < maps->numel; i++)
        if (!isfinite(answer->maps[i]))
            return error_set(error, "map %lld of its 'attentions' has a %s",
                             (long long)(i / (maps->shape[1] * maps->shape[2])),
                             isnan(answer->maps[i]) ? "NaN" : "number that is infinite");
    return true;
}

static bool read_dump(Dump *dump, const Tokenizer *tokenizer, int most_ahead,
                      const DumpSubject *subject, Answer *answer, Error *error) {
    if (!find_parts(dump, error) || !check_sizes(dump, most_ahead, error) ||
        (subject && !check_subject(dump, subject, error)) || !read_ids(dump, answer, error) ||
        !read_text(dump, tokenizer, answer, error) ||
        (dump->groups && !read_groups(dump, answer, error)) || !read_maps(dump, answer, error))
        return false;
    int32_t last = answer->ids[answer->num_tokens - 1];
    answer->ended = dump->groups || last == tokenizer_eos(tokenizer);
    return true;
}

bool official_dump_read(const char *path, const Tokenizer *tokenizer, int most_ahead,
                        const DumpSubject *subject, Answer *answer, Error *error) {
    Dump dump = {.archive = torch_archive_open(path, error)};
    *answer = (Answer){0};
    if (!dump.archive) return false;
    bool ok = (torch_archive_verify(dump.archive, error) &&
               read_dump(&dump, tokenizer, most_ahead, subject, answer, error)) ||
              error_context(error, "%s", path);
    torch_archive_close(dump.archive);
    if (!ok) answer_free(answer);
    return ok;
}
