// Decodes the image files that come on stdin, for tests/parity/check_images.py.
//
//   decode_images <files >pixels
//
// A file is its length as an unsigned 32-bit number and its bytes. The answer is width and height,
// 32 bits each, and the pixels; or 0, the message's length and the message.
#include "data/images/image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void write_number(uint32_t number) { fwrite(&number, sizeof number, 1, stdout); }

static void answer(const void *bytes, size_t size) {
    Error error = {0};
    Image image;
    if (image_decode(bytes, size, "file", &image, &error)) {
        write_number((uint32_t)image.width);
        write_number((uint32_t)image.height);
        fwrite(image.pixels, 3, (size_t)image.width * (size_t)image.height, stdout);
        image_free(&image);
    } else {
        write_number(0);
        write_number((uint32_t)strlen(error.message));
        fputs(error.message, stdout);
    }
    fflush(stdout);
}

int main(void) {
    uint32_t length;
    while (fread(&length, sizeof length, 1, stdin) == 1) {
        void *bytes = checked_malloc((size_t)length + 1);
        const bool whole = fread(bytes, 1, length, stdin) == length;
        if (whole) answer(bytes, length);
        free(bytes);
        if (!whole) return 1;
    }
    return 0;
}
