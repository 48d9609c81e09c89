// How functions of the kernels are compiled.
#pragma once

#include <cstdint>
#include <cstring>

#define SRWM_INLINE inline __attribute__((always_inline))
#define SRWM_PASS __attribute__((noinline))  // a loop that wants all registers for itself
