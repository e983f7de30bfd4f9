// Slicing by 8 [Kounavis and Berry 2005]: eight table look-ups for eight bytes, about 2 GB/s on one
// core and no special instructions; a checkpoint is dominated by the disk.
#include "autograd/crc32c.h"
#include "autograd/stop_request.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t REVERSED_POLYNOMIAL = 0x82f63b78u;
static uint32_t table[8][256];
static pthread_once_t table_made = PTHREAD_ONCE_INIT;

static void make_table(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) ? REVERSED_POLYNOMIAL : 0);
        table[0][i] = crc;
    }
    for (int slice = 1; slice < 8; slice++) {
        for (int i = 0; i < 256; i++) {
            uint32_t before = table[slice - 1][i];
            table[slice][i] = (before >> 8) ^ table[0][before & 0xff];
        }
    }
}

uint32_t crc32c(uint32_t crc, const void *data, size_t bytes) {
    pthread_once(&table_made, make_table);
    const unsigned char *next = data;
    crc = ~crc;
    for (; bytes >= 8; bytes -= 8, next += 8) {
        uint32_t low = crc ^ ((uint32_t)next[0] | (uint32_t)next[1] << 8 | (uint32_t)next[2] << 16 |
                              (uint32_t)next[3] << 24);
        crc = table[7][low & 0xff] ^ table[6][(low >> 8) & 0xff] ^ table[5][(low >> 16) & 0xff] ^
              table[4][low >> 24] ^ table[3][next[4]] ^ table[2][next[5]] ^ table[1][next[6]] ^
              table[0][next[7]];
    }
    for (; bytes > 0; bytes--) crc = (crc >> 8) ^ table[0][(crc ^ *next++) & 0xff];
    return ~crc;
}

bool crc32c_add_file(uint32_t *crc, const char *path, Error *error) {
    static const size_t PIECE = 1 << 20;
    FILE *file = fopen(path, "rb");
    if (!file) return error_set(error, "%s: cannot be opened: %s", path, strerror(errno));
    char *piece = checked_malloc(PIECE);
    for (size_t got; !stop_requested() && (got = fread(piece, 1, PIECE, file)) > 0;)
        *crc = crc32c(*crc, piece, got);
    const bool ok =
        !ferror(file) || error_set(error, "%s: cannot be read: %s", path, strerror(errno));
    fclose(file);
    free(piece);
    return ok && (!stop_requested() || stop_request_error(error));
}
