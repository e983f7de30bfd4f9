// rooms: data autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/instruction_sample.h"

#define HUMAN(text) "{\"from\": \"human\", \"value\": \"" text "\"}"
#define GPT(text) "{\"from\": \"gpt\", \"value\": \"" text "\"}"
#define USER(text) "{\"role\": \"user\", \"content\": \"" text "\"}"
#define ASSISTANT(text) "{\"role\": \"assistant\", \"content\": \"" text "\"}"
#define CONVERSATIONS(turns) "\"conversations\": [" turns "]"
#define MESSAGES(turns) "\"messages\": [" turns "]"
#define ASKED CONVERSATIONS(HUMAN("What <image>is it?") ", " GPT("A ring."))

static bool read_text(const char *text, Sample *sample, Error *error) {
    json_t *json = json_loads(text, 0, NULL);
    if (!json) fail_msg("no JSON: %s", text);
    return sample_read(json, "images", sample, error);
}

/// A sample that is valid.
static Sample valid(const char *text) {
    Error error = {0};
    Sample sample;
    if (!read_text(text, &sample, &error)) fail_msg("%s: %s", text, error.message);
    return sample;
}

static void an_image_is_a_name_or_a_list_of_one(void **state) {
    (void)state;
    static const struct {
        const char *text, *path;
        bool in_place;
    } cases[] = {
        {"{\"image\": \"a.png\", " ASKED "}", "images/a.png", false},
        {"{\"image\": [\"a.png\"], " ASKED "}", "images/a.png", false},
        {"{\"image\": [\"/far/a.png\"], \"images\": [], " ASKED "}", "/far/a.png", false},
        {"{\"images\": [\"b/a.png\"], \"image\": null, " ASKED "}", "images/b/a.png", true},
        {"{\"images\": \"/a.png\", " ASKED "}", "/a.png", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Sample sample = valid(cases[i].text);
        assert_string_equal(sample.image_path, cases[i].path);
        assert_int_equal(sample.image_in_place, cases[i].in_place);
        sample_free(&sample);
    }
}

static void turns_are_named_by_either_pair_of_keys(void **state) {
    (void)state;
    static const char *const texts[] = {
        "{" CONVERSATIONS(HUMAN("Hi") ", " GPT("Ho")) "}",
        "{" MESSAGES(USER("Hi") ", " ASSISTANT("Ho")) "}",
        "{" CONVERSATIONS(USER("Hi") ", " ASSISTANT("Ho")) ", \"tools\": \"\"}",
        "{" MESSAGES(HUMAN("Hi") ", " GPT("Ho")) ", \"images\": []}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        Sample sample = valid(texts[i]);
        assert_int_equal(sample.turn_count, 2);
        assert_int_equal(sample.turns[0].role, ROLE_HUMAN);
        assert_string_equal(sample.turns[0].text, "Hi");
        assert_int_equal(sample.turns[1].role, ROLE_GPT);
        assert_string_equal(sample.turns[1].text, "Ho");
        assert_null(sample.system_message);
        assert_null(sample.image_path);
        sample_free(&sample);
    }
}

#define SPOKEN HUMAN("Hi") ", " GPT("Ho")

static void a_system_turn_comes_before_the_key_and_is_no_turn(void **state) {
    (void)state;
    static const struct {
        const char *text, *system;
    } cases[] = {
        {"{" CONVERSATIONS("{\"from\": \"system\", \"value\": \"Be brief.\"}, " SPOKEN) "}",
         "Be brief."},
        {"{\"system\": \"Be kind.\", " CONVERSATIONS(SPOKEN) "}", "Be kind."},
        {"{\"system\": \"Be kind.\", " MESSAGES(
             "{\"role\": \"system\", \"content\": \"Be brief.\"}, " SPOKEN) "}",
         "Be brief."},
        {"{\"system\": \"\", " CONVERSATIONS(SPOKEN) "}", NULL},
        {"{\"system\": null, " CONVERSATIONS(SPOKEN) "}", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Sample sample = valid(cases[i].text);
        assert_int_equal(sample.turn_count, 2);
        if (cases[i].system)
            assert_string_equal(sample.system_message, cases[i].system);
        else
            assert_null(sample.system_message);
        sample_free(&sample);
    }
}

static void what_would_be_lost_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"{\"images\": [\"a\", \"b\"], " ASKED "}", "\"images\" is a list of 2; expected the name"},
        {"{\"image\": [\"a\", \"a\"], " ASKED "}", "each sample is about one picture"},
        {"{\"image\": \"a\", \"images\": [\"a\"], " ASKED "}", "both name a picture"},
        {"{\"images\": [3], " ASKED "}", "\"images\" is no text"},
        {"{\"images\": [\"data:image/png;base64,AA\"], " ASKED "}", "a picture in base64"},
        {"{\"images\": [\"a\"], " CONVERSATIONS(HUMAN("<image> <image>") ", " GPT("x")) "}",
         "2 marks <image>, but \"images\" names one picture"},
        {"{\"images\": [\"a\"], " CONVERSATIONS(HUMAN("Hi") ", " GPT("x")) "}",
         "no turn has <image>"},
        {"{\"images\": [\"a\"], " CONVERSATIONS(HUMAN("Hi") ", " GPT("<image>")) "}",
         "turn 2 is from 'gpt' and has <image>"},
        {"{" ASKED "}", "turn 1 has <image>, but the sample names no image"},
        {"{\"videos\": [\"a.mp4\"], " CONVERSATIONS(SPOKEN) "}", "the key \"videos\" is not known"},
        {"{\"audios\": [\"a.wav\"], " CONVERSATIONS(SPOKEN) "}", "no sounds"},
        {"{\"chosen\": {}, " CONVERSATIONS(SPOKEN) "}", "no answers to choose from"},
        {"{\"tools\": \"[{}]\", " CONVERSATIONS(SPOKEN) "}", "calls of functions are not read"},
        {"{" CONVERSATIONS(SPOKEN) ", " MESSAGES(SPOKEN) "}", "expected one of them"},
        {"{\"messages\": 3}", "\"messages\" is no array"},
        {"{\"conversations\": {}}", "\"conversations\" is no array"},
        {"{\"id\": 1}", "\"conversations\" is missing"},
        {"{" MESSAGES(USER("Hi") ", {\"role\": \"tool\", \"content\": \"x\"}") "}",
         "turn 2 is from 'tool'; expected 'user' or 'assistant'"},
        {"{" CONVERSATIONS(HUMAN("Hi") ", {\"from\": \"function_call\", \"value\": \"x\"}") "}",
         "turn 2 is from 'function_call'; expected 'human' or 'gpt'"},
        {"{" MESSAGES(USER("Hi") ", {\"role\": \"assistant\", \"content\": \"x\", \"tool_calls\": "
                                 "[{}]}") "}",
         "turn 2 has \"tool_calls\""},
        {"{" MESSAGES("{\"role\": \"user\", \"content\": [{\"type\": \"text\"}]}") "}",
         "turn 1: \"content\" is a list of parts"},
        {"{" MESSAGES("{\"role\": \"user\"}") "}", "turn 1: expected {\"role\": ..., \"content\""},
        {"{" CONVERSATIONS(SPOKEN ", {\"from\": \"system\", \"value\": \"x\"}") "}",
         "turn 3 is from 'system'; expected that as the first turn"},
        {"{\"system\": 4, " CONVERSATIONS(SPOKEN) "}", "\"system\" is 4; expected a text"},
        {"{" CONVERSATIONS(HUMAN("Hi") ", " GPT("")) "}", "turn 2, an answer, is empty"},
        {"{" CONVERSATIONS(HUMAN("Hi") ", " HUMAN("Ho")) "}", "turn 2 is from 'human'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error error = {0};
        Sample sample;
        if (read_text(cases[i].text, &sample, &error)) fail_msg("accepted: %s", cases[i].text);
        if (!strstr(error.message, cases[i].message)) fail_msg("case %zu: %s", i, error.message);
        sample_free(&sample);
    }
}

static void llama_factory_s_own_samples_are_read_or_say_why_not(void **state) {
    (void)state;
    const char *shared = getenv("DIFFLMM_SHARED_DATA");
    char path[512];
    snprintf(path, sizeof path, "%s/public/llama_factory_demo/mllm_demo.json",
             shared ? shared : SOURCE_DIR "/../shared/data");
    if (access(path, F_OK) != 0) {
        print_message("skipped: there is no %s\n", path);
        skip();
    }
    Error error = {0};
    json_t *samples = json_load_file(path, 0, NULL), *json;
    size_t i;
    int refused = 0;
    json_array_foreach(samples, i, json) {
        Sample sample;
        const size_t images = json_array_size(json_object_get(json, "images"));
        if (sample_read(json_incref(json), "images", &sample, &error)) {
            assert_int_equal(images, 1);
            assert_true(sample.image_in_place);
        } else {
            assert_non_null(strstr(error.message, "\"images\" is a list of 2"));
            refused++;
        }
        sample_free(&sample);
    }
    assert_true(i == 6 && refused == 2);
    json_decref(samples);
}

// ---- tokens

/// The sample's text as vicuna_v1 or plain writes it, "[image]" for the image; "" on failure.
static char *written(const char *text, ConversationTemplate kind, const char *system) {
    static Tokenizer *tokenizer;
    Error error = {0};
    if (!tokenizer)
        tokenizer = tokenizer_open(SOURCE_DIR "/tests/parity/data/tokenizers/qwen_2", &error);
    if (!tokenizer) fail_msg("%s", error.message);
    const ConversationFormat format = {
        .kind = kind, .system_message = system, .visual_tokens = 4, .model_max_length = 4096};
    TokenSequence sequence;
    Sample sample = valid(text);
    if (!sample_tokenize(&sample, tokenizer, &format, &sequence, &error))
        fail_msg("%s", error.message);
    sample_free(&sample);
    char *out = checked_strdup("");
    for (int begin = 0, i = 0; i <= sequence.count; i++) {
        if (i < sequence.count && sequence.ids[i] != IMAGE_TOKEN) continue;
        DecodedText part = tokenizer_decode(tokenizer, sequence.ids + begin, i - begin);
        char *longer = format_string("%s%s%s", out, part.text, i < sequence.count ? "[image]" : "");
        decoded_text_free(&part);
        free(out);
        out = longer;
        begin = i + 1;
    }
    token_sequence_free(&sequence);
    return out;
}

static void expect_written(const char *text, const char *system, const char *expected) {
    char *is = written(text, TEMPLATE_VICUNA_V1, system);
    if (strncmp(is, expected, strlen(expected)) != 0) fail_msg("is: %s", is);
    free(is);
}

static void the_mark_is_moved_in_llava_s_form_and_stays_in_the_other(void **state) {
    (void)state;
    expect_written("{\"image\": \"a\", " ASKED "}", "", "USER: [image]\nWhat is it? ASSISTANT: A");
    expect_written("{\"images\": \"a\", " ASKED "}", "", "USER: What [image]is it? ASSISTANT: A");
    expect_written("{\"images\": \"a\", " MESSAGES(USER(" <image> ") ", " ASSISTANT("x")) "}", "",
                   "USER:  [image]  ASSISTANT: x");
}

static void a_sample_s_system_message_goes_before_the_configured_one(void **state) {
    (void)state;
    const char *plain = "{" CONVERSATIONS(SPOKEN) "}",
               *own = "{\"system\": \"Be brief.\", " CONVERSATIONS(SPOKEN) "}";
    expect_written(plain, NULL, "A chat between a curious user");
    expect_written(plain, "Be kind.", "Be kind. USER: Hi ASSISTANT: Ho");
    expect_written(own, "Be kind.", "Be brief. USER: Hi ASSISTANT: Ho");
    expect_written(own, NULL, "Be brief. USER: Hi ASSISTANT: Ho");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_is_a_name_or_a_list_of_one),
        cmocka_unit_test(turns_are_named_by_either_pair_of_keys),
        cmocka_unit_test(a_system_turn_comes_before_the_key_and_is_no_turn),
        cmocka_unit_test(what_would_be_lost_is_refused),
        cmocka_unit_test(llama_factory_s_own_samples_are_read_or_say_why_not),
        cmocka_unit_test(the_mark_is_moved_in_llava_s_form_and_stays_in_the_other),
        cmocka_unit_test(a_sample_s_system_message_goes_before_the_configured_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
