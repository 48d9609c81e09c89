// Stores past the caches of x86 processors.
#pragma once

#include <immintrin.h>

#include "simd/macros.hpp"

namespace SRWM_ISA_NAME {

// n floats into memory, past the caches where that can be: `to` would have to be fetched only to be overwritten.
SRWM_INLINE void copy_past_caches(float* to, const float* from, int64_t n) {
    if (reinterpret_cast<uintptr_t>(to) % 32 || n % 8) {
        std::memcpy(to, from, sizeof(float) * n);
        return;
    }
    for (int64_t i = 0; i < n; i += 8) _mm256_stream_ps(to + i, _mm256_loadu_ps(from + i));
}
SRWM_INLINE void wait_for_memory() { _mm_sfence(); }

}  // namespace SRWM_ISA_NAME
