/// Executes the instructions of AMX that ops/cpu/amx/tiles.h uses where the processor has none:
/// each raises SIGILL, and the handler reads its bytes and lets the stand-in of plain C do what
/// they say. So the code that is written for the processor's tiles runs, some microseconds an
/// instruction, and what it asks of which tile and which memory is seen to be what is meant.
#pragma once
#include "ops/cpu/amx/tiles.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

/// VEX: three bytes, then opcode and ModRM (SDM volume 2, 2.3).
typedef struct TrappedInstruction {
    uint8_t map, prefix, opcode;
    /// register operands: ModRM.reg, ModRM.rm, VEX.vvvv
    int reg, rm, vvvv;
    bool in_memory;
    /// base + displacement, and the index (the stride of rows)
    uint64_t address, index;
    int length;
} TrappedInstruction;

static inline uint64_t trapped_register(const ucontext_t *context, int number) {
    static const int names[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                  REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                  REG_R12, REG_R13, REG_R14, REG_R15};
    return (uint64_t)context->uc_mcontext.gregs[names[number]];
}

/// Reads ModRM and what follows it from `at`.
static inline const uint8_t *trapped_operand(const ucontext_t *context, const uint8_t *at, bool r,
                                             bool x, bool b, TrappedInstruction *i) {
    uint8_t modrm = *at++;
    int mode = modrm >> 6, rm = modrm & 7;
    i->reg = (modrm >> 3 & 7) + 8 * r;
    i->rm = rm + 8 * b;
    i->in_memory = mode != 3;
    if (mode == 3) return at;
    bool no_base = false, from_next = false;
    if (rm == 4) {
        uint8_t sib = *at++;
        int index = (sib >> 3 & 7) + 8 * x, base = (sib & 7) + 8 * b;
        if (index != 4) i->index = trapped_register(context, index) << (sib >> 6);
        no_base = mode == 0 && (sib & 7) == 5;
        if (!no_base) i->address = trapped_register(context, base);
    } else if (mode == 0 && rm == 5) {
        from_next = no_base = true;
    } else {
        i->address = trapped_register(context, i->rm);
    }
    if (mode == 1) i->address += (uint64_t)(int64_t)(int8_t)*at++;
    if (mode == 2 || no_base) {
        int32_t displacement;
        memcpy(&displacement, at, sizeof displacement);
        at += sizeof displacement;
        i->address += (uint64_t)(int64_t)displacement;
    }
    if (from_next) i->address += (uint64_t)(uintptr_t)at;
    return at;
}

static inline TrappedInstruction trapped_instruction(const ucontext_t *context) {
    const uint8_t *begin = (const uint8_t *)context->uc_mcontext.gregs[REG_RIP], *at;
    TrappedInstruction i = {0};
    if (begin[0] != 0xc4) return i;
    i.map = begin[1] & 31;
    i.prefix = begin[2] & 3;
    i.vvvv = ~(begin[2] >> 3) & 15;
    i.opcode = begin[3];
    at = trapped_operand(context, begin + 4, !(begin[1] & 0x80), !(begin[1] & 0x40),
                         !(begin[1] & 0x20), &i);
    i.length = (int)(at - begin);
    return i;
}

enum { NO_PREFIX, PREFIX_66, PREFIX_F3, PREFIX_F2 };

/// False if it is none of those that are known.
static inline bool trapped_execute(const TrappedInstruction *i) {
    void *memory = (void *)(uintptr_t)i->address; // NOLINT(performance-no-int-to-ptr)
    if (i->map != 2) return false;
    if (i->opcode == 0x49 && i->prefix == NO_PREFIX && i->in_memory && i->reg == 0)
        plain_tiles_begin(memory);
    else if (i->opcode == 0x49 && i->prefix == NO_PREFIX && !i->in_memory && i->reg == 0)
        plain_tiles_end();
    else if (i->opcode == 0x49 && i->prefix == PREFIX_F2 && !i->in_memory)
        plain_tile_zero(i->reg);
    else if (i->opcode == 0x4b && (i->prefix == PREFIX_F2 || i->prefix == PREFIX_66))
        plain_tile_load(i->reg, memory, (int64_t)i->index);
    else if (i->opcode == 0x4b && i->prefix == PREFIX_F3)
        plain_tile_store(i->reg, memory, (int64_t)i->index);
    else if (i->opcode == 0x5c && i->prefix == PREFIX_F3 && !i->in_memory)
        plain_tile_multiply(i->reg, i->rm, i->vvvv);
    else
        return false;
    return true;
}

static volatile sig_atomic_t trapped_count;

static inline void trapped(int signal_number, siginfo_t *info, void *state) {
    (void)info;
    ucontext_t *context = state;
    TrappedInstruction i = trapped_instruction(context);
    if (!trapped_execute(&i)) {
        signal(signal_number, SIG_DFL);
        return; // and meets it again
    }
    context->uc_mcontext.gregs[REG_RIP] += i.length;
    trapped_count++;
}

/// From now on, in all threads; nothing where the processor has AMX. trapped_count says how many
/// instructions came.
static inline void amx_traps_set(void) {
    if (amx_is_available()) return;
    struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigemptyset(&action.sa_mask);
    sigaction(SIGILL, &action, NULL);
}
