/// What tasks share that ask several questions about each image, to be answered in a word.
#pragma once

/// The question and what LLaVA-1.5 puts behind it.
#define SHORT_ANSWER_PROMPT "{}\nAnswer the question using a single word or phrase."

/// Questions in the order of their images, so that an image is seen once.
typedef struct QuestionOrder {
    /// [count] indices of questions, and back
    int *order, *place;
} QuestionOrder;

/// Those of an image in their order, images 0, 1, ... as image_of() says of every question. To be
/// freed.
QuestionOrder question_order(int count, int num_images,
                             int (*image_of)(const void *data, int question), const void *data);
void question_order_free(QuestionOrder *order);

/// An answer without white space around it, as LLaVA's script has it (str.strip); the caller frees
/// it.
char *answer_trimmed(const char *text);
