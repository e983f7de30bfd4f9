#include "checkpoints/utf8.h"

#include <stdint.h>

bool is_utf8(const char *text, size_t length) {
    const unsigned char *bytes = (const unsigned char *)text;
    for (size_t i = 0; i < length;) {
        unsigned char lead = bytes[i++];
        if (lead < 0x80) continue;
        int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        if (lead < 0xc2 || lead > 0xf4 || length - i < (size_t)more) return false;
        uint32_t code = lead & (0x3fu >> more);
        for (int k = 0; k < more; k++) {
            if ((bytes[i] & 0xc0) != 0x80) return false;
            code = code << 6 | (bytes[i++] & 0x3fu);
        }
        static const uint32_t shortest[] = {0, 0x80, 0x800, 0x10000};
        if (code < shortest[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
            return false;
    }
    return true;
}
