#include "tests/fuzz/mutate.h"

#include <string.h>

static bool ends_with(const char *name, const char *ending) {
    size_t length = strlen(name), cut = strlen(ending);
    return length >= cut && !strcmp(name + length - cut, ending);
}

/// The header is JSON behind its length [safetensors' README].
static void mutate_safetensors(ByteBuffer *bytes, Random *random) {
    uint64_t length = 0;
    for (size_t i = 0; i < 8 && bytes->size >= 8; i++)
        length |= (uint64_t)(unsigned char)bytes->data[i] << (8 * i);
    if (bytes->size < 8 || length > bytes->size - 8) return;
    ByteBuffer header = bytes_copy(bytes->data + 8, (size_t)length);
    mutate_json(&header, random);
    while (header.size % 8) byte_buffer_put(&header, " ", 1);
    bytes_replace(bytes, 8, (size_t)length, header.data, header.size);
    for (size_t i = 0; i < 8; i++) bytes->data[i] = (char)((uint64_t)header.size >> (8 * i));
    byte_buffer_free(&header);
}

/// A line of JSON Lines is JSON.
static void mutate_json_line(ByteBuffer *bytes, Random *random) {
    size_t begin = random_below(random, bytes->size), size = 0;
    while (begin && bytes->data[begin - 1] != '\n') begin--;
    while (begin + size < bytes->size && bytes->data[begin + size] != '\n') size++;
    ByteBuffer line = bytes_copy(bytes->data + begin, size);
    mutate_json(&line, random);
    for (size_t i = 0; i < line.size; i++)
        if (line.data[i] == '\n') line.data[i] = ' ';
    bytes_replace(bytes, begin, size, line.data, line.size);
    byte_buffer_free(&line);
}

void mutate_file(ByteBuffer *bytes, const char *name, const ByteBuffer *donor, Random *random) {
    bool by_structure = random_chance(random, 70);
    if (ends_with(name, ".journal") && random_chance(random, 95))
        mutate_journal(bytes, donor, random);
    else if (ends_with(name, ".yaml") && by_structure)
        mutate_yaml(bytes, random);
    else if (ends_with(name, ".json") && by_structure)
        mutate_json(bytes, random);
    else if (ends_with(name, ".jsonl") && by_structure)
        mutate_json_line(bytes, random);
    else if (ends_with(name, ".safetensors") && by_structure)
        mutate_safetensors(bytes, random);
    else
        mutate_bytes(bytes, donor, random);
    if (random_chance(random, 80)) mend_checksums(bytes);
}
