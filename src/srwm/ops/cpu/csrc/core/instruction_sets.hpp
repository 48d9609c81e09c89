// The kernels that this machine runs, and those in use: the best unless others are asked for.
#pragma once

#if defined(SRWM_X86)
#include <cpuid.h>
#endif

#include <utility>
#include <vector>

#include "kernels.hpp"

namespace srwm {

#if defined(SRWM_X86)

inline bool runs_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
}

// AMD's family 19h (Zen 4) executes a 512-bit operation as two: vectors of 256 bits waste less of them.
inline bool splits_512_bits() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid(0, &a, &b, &c, &d) || b != signature_AMD_ebx) return false;
    __get_cpuid(1, &a, &b, &c, &d);
    return ((a >> 8) & 15) + ((a >> 20) & 255) == 0x19;
}

// The kernels that this machine runs, best first.
inline std::vector<const Kernels*> find_kernels() {
    __builtin_cpu_init();
    std::vector<const Kernels*> found;
#if defined(SRWM_AVX512)
    if (runs_avx512()) {
        found = {&avx512_kernels, &avx512vl_kernels};
        if (splits_512_bits()) std::swap(found[0], found[1]);
    }
#endif
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back(&avx2_kernels);
    found.push_back(&baseline_kernels);
    return found;
}

#else

inline std::vector<const Kernels*> find_kernels() { return {&baseline_kernels}; }

#endif

inline const std::vector<const Kernels*> runnable = find_kernels();
inline const Kernels* selected = runnable.front();

}  // namespace srwm
