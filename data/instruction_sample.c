#include "data/instruction_sample.h"
#include "data/json_values.h"
#include "data/text.h"

#include <stdlib.h>
#include <string.h>

static const char IMAGE_MARK[] = "<image>";

static char *id_text(const json_t *json) {
    const json_t *id = json_object_get(json, "id");
    if (json_is_string(id)) return checked_strdup(json_string_value(id));
    if (json_is_number(id)) return format_string("%.15g", json_number_value(id));
    return checked_strdup("");
}

/// null and the empty list say that there is none.
static bool is_nothing(const json_t *value) {
    return !value || json_is_null(value) || (json_is_array(value) && !json_array_size(value));
}

/// What other data sets hold would be lost.
static bool check_other_keys(const json_t *json, Error *error) {
    static const struct {
        const char *key, *holds;
    } others[] = {{"video", "videos"},
                  {"videos", "videos"},
                  {"audio", "sounds"},
                  {"audios", "sounds"},
                  {"chosen", "answers to choose from"},
                  {"rejected", "answers to choose from"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (!is_nothing(json_object_get(json, others[i].key)))
            return error_set(error,
                             "the key \"%s\" is not known; expected conversations about one image "
                             "file, named under \"image\" or \"images\", and no %s",
                             others[i].key, others[i].holds);
    }
    const json_t *tools = json_object_get(json, "tools");
    return is_nothing(tools) || (json_is_string(tools) && !json_string_length(tools)) ||
           error_set(error, "\"tools\" describes functions, and calls of functions are not read");
}

// ---- the image

static bool refuse_image(const char *key, const json_t *image, Error *error) {
    const char *name = json_string_value(image);
    const char *is = !name                        ? "no text"
                     : !*name                     ? "empty"
                     : !strncmp(name, "data:", 5) ? "a picture in base64"
                                                  : "an address in the web";
    return error_set(error, "\"%s\" is %s; expected the name of one image file", key, is);
}

/// The name under that key, NULL if there is none.
static bool find_image(const json_t *json, const char *key, const char **name, Error *error) {
    const json_t *image = json_object_get(json, key);
    *name = NULL;
    if (is_nothing(image)) return true;
    if (json_array_size(image) > 1)
        return error_set(error,
                         "\"%s\" is a list of %zu; expected the name of one image file: each "
                         "sample is about one picture. Write a sample for each, or leave it out",
                         key, json_array_size(image));
    if (json_is_array(image)) image = json_array_get(image, 0);
    const char *found = json_string_value(image);
    if (!found || !*found || !strncmp(found, "data:", 5) || strstr(found, "://"))
        return refuse_image(key, image, error);
    *name = found;
    return true;
}

static bool read_image(const json_t *json, const char *image_folder, Sample *sample, Error *error) {
    const char *image, *images;
    if (!find_image(json, "image", &image, error) || !find_image(json, "images", &images, error))
        return false;
    if (image && images)
        return error_set(error,
                         "\"image\" and \"images\" both name a picture; expected one of them");
    sample->image_in_place = images != NULL;
    const char *name = image ? image : images;
    sample->image_name = name;
    if (name)
        sample->image_path =
            name[0] == '/' ? checked_strdup(name) : format_string("%s/%s", image_folder, name);
    return true;
}

static int count_marks(const char *text) {
    int count = 0;
    for (; (text = strstr(text, IMAGE_MARK)); text += strlen(IMAGE_MARK)) count++;
    return count;
}

/// What conversation_check() does not know: without an image a mark would be read as text (most
/// likely the image is lost), and where marks stay in place each is a picture.
static bool check_image_marks(const Sample *sample, Error *error) {
    int marks = 0;
    for (int i = 0; i < sample->turn_count; i++) {
        const int found = count_marks(sample->turns[i].text);
        if (found > 0 && !sample->image_path)
            return error_set(error,
                             "turn %d has <image>, but the sample names no image; expected "
                             "\"image\" with the name of one image file, or no mark",
                             i + 1);
        marks += found;
    }
    return !sample->image_in_place || marks < 2 ||
           error_set(error, "%d marks <image>, but \"images\" names one picture; expected one mark",
                     marks);
}

// ---- the turns

/// The names that a turn is written with.
typedef struct TurnForm {
    const char *from, *value, *human, *gpt;
} TurnForm;

static const TurnForm SHARE_GPT = {"from", "value", "human", "gpt"};
static const TurnForm MESSAGE = {"role", "content", "user", "assistant"};

/// Who speaks, and the text of it; `number` is for messages.
static bool read_words(const json_t *json, const TurnForm *form, int number, const char **from,
                       const char **text, Error *error) {
    const json_t *value = json_object_get(json, form->value);
    *from = json_string_value(json_object_get(json, form->from));
    *text = json_string_value(value);
    if (*from && json_is_array(value))
        return error_set(
            error,
            "turn %d: \"%s\" is a list of parts; expected one text, with <image> where "
            "the picture is and its name under \"images\"",
            number, form->value);
    if (!is_nothing(json_object_get(json, "tool_calls")))
        return error_set(error, "turn %d has \"tool_calls\"; calls of functions are not read",
                         number);
    return (*from && *text) || error_set(error,
                                         "turn %d: expected {\"%s\": ..., \"%s\": ...} with two "
                                         "strings",
                                         number, form->from, form->value);
}

/// A turn from "system" is no turn: it becomes the sample's system message.
static bool read_turn(const json_t *json, const TurnForm *usual, int number, Sample *sample,
                      Error *error) {
    const TurnForm *form = json_object_get(json, SHARE_GPT.from) ? &SHARE_GPT
                           : json_object_get(json, MESSAGE.from) ? &MESSAGE
                                                                 : usual;
    const char *from, *text;
    if (!read_words(json, form, number, &from, &text, error)) return false;
    if (strcmp(from, "system") == 0) {
        sample->system_message = text;
        return number == 1 ||
               error_set(error,
                         "turn %d is from 'system'; expected that as the first turn, if at "
                         "all",
                         number);
    }
    const Role role = strcmp(from, form->human) == 0 ? ROLE_HUMAN : ROLE_GPT;
    if (role == ROLE_GPT && strcmp(from, form->gpt) != 0)
        return error_set(error, "turn %d is from '%s'; expected '%s' or '%s'", number,
                         quote(from).text, form->human, form->gpt);
    sample->turns[sample->turn_count++] = (Turn){role, text};
    return role == ROLE_HUMAN || *text ||
           error_set(error, "turn %d, an answer, is empty; expected what is to be learned", number);
}

/// The list of turns, and how these are usually written there.
static const json_t *find_turns(const json_t *json, const TurnForm **form, Error *error) {
    const json_t *conversations = json_object_get(json, "conversations"),
                 *messages = json_object_get(json, "messages");
    *form = messages ? &MESSAGE : &SHARE_GPT;
    if (conversations && messages) {
        error_set(error, "both \"conversations\" and \"messages\" are there; expected one of them");
        return NULL;
    }
    const json_t *turns = messages ? messages : conversations;
    if (json_is_array(turns)) return turns;
    error_set(error, "%s; expected an array of turns",
              messages        ? "\"messages\" is no array"
              : conversations ? "\"conversations\" is no array"
                              : "\"conversations\" is missing");
    return NULL;
}

static bool read_turns(const json_t *json, Sample *sample, Error *error) {
    const TurnForm *form;
    const json_t *turns = find_turns(json, &form, error), *system = json_object_get(json, "system");
    if (!turns) return false;
    if (!is_nothing(system) && !json_is_string(system))
        return error_set(error, "\"system\" is %s; expected a text", json_shown(system).text);
    sample->system_message = json_string_value(system);
    const size_t count = json_array_size(turns);
    if (count > INT32_MAX / 2) return error_set(error, "too many turns");
    sample->turns = checked_calloc(count + 1, sizeof *sample->turns);
    for (size_t i = 0; i < count; i++)
        if (!read_turn(json_array_get(turns, i), form, (int)i + 1, sample, error)) return false;
    if (sample->system_message && !*sample->system_message) sample->system_message = NULL;
    return true;
}

// ---- the whole

bool sample_read(json_t *json, const char *image_folder, Sample *sample, Error *error) {
    *sample = (Sample){.json = json, .id = id_text(json)};
    return check_other_keys(json, error) && read_image(json, image_folder, sample, error) &&
           read_turns(json, sample, error) && check_image_marks(sample, error) &&
           conversation_check(sample->turns, sample->turn_count, sample->image_path != NULL, error);
}

void sample_free(Sample *sample) {
    json_decref(sample->json);
    free(sample->id);
    free(sample->image_path);
    free(sample->turns);
    *sample = (Sample){0};
}

int32_t sample_words(const Sample *sample) {
    int64_t words = 1;
    for (int i = 0; i < sample->turn_count; i++) words += word_count(sample->turns[i].text);
    if (words > INT32_MAX) words = INT32_MAX;
    return (int32_t)(sample->image_path ? words : -words);
}

bool sample_is_beyond_plain(const Sample *sample) {
    return sample->turn_count - (sample->turns[0].role == ROLE_GPT) != 2 || sample->system_message;
}

/// Checksums tell what was damaged, not what somebody made up.
static bool check_packed(const Sample *sample, const Tokenizer *tokenizer, Error *error) {
    const int32_t size = tokenizer_vocabulary_size(tokenizer);
    int images = 0;
    for (int i = 0; i < sample->num_tokens; i++) {
        const int32_t id = sample->tokens[i];
        images += id == IMAGE_TOKEN;
        if (id != IMAGE_TOKEN && (id < 0 || id >= size))
            return error_set(error, "its pack has the token %d, but there are %d", id, size);
    }
    return images == (sample->image_path != NULL) ||
           error_set(error, "its pack has %d marks for images", images);
}

static bool cut_packed(const Sample *sample, const ConversationFormat *format,
                       TokenSequence *sequence, Error *error) {
    uint8_t *supervised = checked_calloc((size_t)sample->num_tokens + 1, sizeof *supervised);
    for (int i = 0; i < sample->num_spans; i++)
        memset(supervised + sample->spans[i].begin, 1,
               (size_t)(sample->spans[i].end - sample->spans[i].begin));
    bool ok =
        conversation_cut(sample->tokens, supervised, sample->num_tokens, format, sequence, error);
    free(supervised);
    return ok;
}

bool sample_tokenize(const Sample *sample, const Tokenizer *tokenizer,
                     const ConversationFormat *format, TokenSequence *sequence, Error *error) {
    if (sample->tokens) {
        char *wanted = conversation_identity(tokenizer, format);
        const bool is_wanted = !strcmp(wanted, sample->tokens_of);
        free(wanted);
        if (is_wanted)
            return check_packed(sample, tokenizer, error) &&
                   cut_packed(sample, format, sequence, error);
    }
    ConversationFormat own = *format;
    if (sample->system_message) own.system_message = sample->system_message;
    own.image_in_place = sample->image_in_place;
    return conversation_tokenize(tokenizer, &own, sample->turns, sample->turn_count,
                                 sample->image_path != NULL, sequence, error);
}
