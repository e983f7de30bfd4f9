#include "eval/tasks/questions.h"

#include "autograd/error.h"
#include "data/text.h"
#include "eval/tasks/items.h"

#include <stdlib.h>
#include <string.h>

QuestionOrder question_order(int count, int num_images,
                             int (*image_of)(const void *data, int question), const void *data) {
    QuestionOrder order = {task_order_by_image(count, num_images, image_of, data),
                           checked_malloc(((size_t)count + 1) * sizeof *order.place)};
    for (int i = 0; i < count; i++) order.place[order.order[i]] = i;
    return order;
}

void question_order_free(QuestionOrder *order) {
    free(order->order);
    free(order->place);
    *order = (QuestionOrder){0};
}

char *answer_trimmed(const char *text) {
    const size_t length = strip_space(&text, strlen(text));
    return format_string("%.*s", (int)length, text);
}
