// Vectors `vf` of kLanes floats, in the instruction set that this translation unit is compiled for.
#pragma once

#if defined(__AVX512F__) && !defined(SRWM_HALF_VECTORS)
#include "simd/avx512.hpp"
#elif defined(__AVX2__)
#include "simd/avx2.hpp"
#else
#include "simd/generic.hpp"
#endif
