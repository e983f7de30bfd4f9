/// What can be said about a scene: captions, expressions that name one object, questions with
/// answers, and documents of words alone. One grammar of about a hundred words, used by every
/// annotation that the world is written with.
#pragma once
#include "autograd/text/byte_buffer.h"
#include "data/tiny/scene.h"

enum { MAX_SEGMENTS = 4 * MAX_OBJECTS + 8, UTTERANCE_SIZE = 96 };

/// A run of words of a caption and the objects that it names.
typedef struct Segment {
    char words[UTTERANCE_SIZE];
    /// none for words between phrases
    int objects[MAX_OBJECTS], num_objects;
    /// names the ground
    bool is_ground;
} Segment;

/// "A small red striped ring and a large blue square on the sand.", cut into segments.
typedef struct Caption {
    Segment segments[MAX_SEGMENTS];
    int num_segments;
} Caption;

/// The objects in random order, each as its own phrase; of more than MAX_COUNTED the largest. With
/// `grouped`, objects of a shape that occurs more than once may be named together ("two rings").
void caption_make(Caption *caption, const Scene *scene, Draws *draws, bool grouped);
void caption_append(const Caption *caption, ByteBuffer *text);

/// "small red striped ring": the noun phrase without its article.
void object_phrase(const Object *object, char words[UTTERANCE_SIZE]);

/// "at the top left", ..., "in the middle".
const char *object_position(const Object *object);

/// Expressions without article that are true of this object and of no other in the scene, among
/// "ring", "red ring", "small red ring", "striped ring", "ring at the top left", ..., and in the
/// crowded world "ring left of the star". Returns how many were written, at most `limit`.
int object_expressions(const Scene *scene, int object, char (*expressions)[UTTERANCE_SIZE],
                       int limit);

/// One of those without words of place; false if there is none.
bool placeless_expression(const Scene *scene, int object, Draws *draws, char words[UTTERANCE_SIZE]);

/// "s" or "es".
const char *plural_ending(int shape);
/// "no", "one", ..., "five".
const char *number_word(int count);
int count_shape(const Scene *scene, int shape);

/// "left of", "right of", "above" or "below": where a lies, seen from b.
const char *object_relation(const Object *a, const Object *b);

/// A question about the scene and its answer. `from_words` restricts it to what a caption tells (no
/// positions).
void question_make(const Scene *scene, Draws *draws, bool from_words, ByteBuffer *question,
                   ByteBuffer *answer);

/// `Describe the "red ring".` and "The red ring is a small striped ring at the top left of the
/// image." False if no object of the scene can be named by an expression.
bool referring_make(const Scene *scene, Draws *draws, ByteBuffer *question, ByteBuffer *answer);

/// A document in which later words follow from earlier ones: a scene told as a caption or as notes,
/// then told again in other orders or asked about. "</s>" marks the end of an answer, as in the
/// vicuna_v1 template.
void document_make(WorldKind kind, uint64_t seed, uint64_t index, ByteBuffer *document);

extern const char DESCRIBE_PROMPT[];
