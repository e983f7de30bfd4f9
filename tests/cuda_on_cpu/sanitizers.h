/// Inside the emulator: what the compiler's sanitizers are told.
#pragma once

#if defined(__has_feature)
#define HAS_SANITIZER(name) __has_feature(name)
#else
#define HAS_SANITIZER(name) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || HAS_SANITIZER(address_sanitizer)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define WITH_ADDRESS_SANITIZER 1
#else
#define WITH_ADDRESS_SANITIZER 0
#define ASAN_POISON_MEMORY_REGION(pointer, bytes) ((void)(pointer), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(pointer, bytes) ((void)(pointer), (void)(bytes))
#endif

/// Bytes whose use the memory sanitizer (clang's) reports.
#if HAS_SANITIZER(memory_sanitizer)
#include <sanitizer/msan_interface.h>
#define WITH_MEMORY_SANITIZER 1
#define MARK_UNDEFINED(pointer, bytes) __msan_poison(pointer, bytes)
#define MARK_DEFINED(pointer, bytes) __msan_unpoison(pointer, bytes)
#else
#define WITH_MEMORY_SANITIZER 0
#define MARK_UNDEFINED(pointer, bytes) ((void)(pointer), (void)(bytes))
#define MARK_DEFINED(pointer, bytes) ((void)(pointer), (void)(bytes))
#endif
