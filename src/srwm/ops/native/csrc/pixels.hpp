// Vectors of neighbouring channels of images that lie channels last, float32 or bfloat16, and of bytes that belong to them.
#pragma once

#include <cstring>

#include "simd.hpp"

namespace SRWM_ISA_NAME {

typedef uint32_t vw __attribute__((vector_size(sizeof(vf))));
typedef uint16_t vh __attribute__((vector_size(sizeof(vf) / 2)));
typedef uint8_t vb __attribute__((vector_size(sizeof(vf) / 4)));

// A bfloat16 is the upper half of a float.
SRWM_INLINE vf load_pixels(const float* p) { return load(p); }
SRWM_INLINE vf load_pixels(const uint16_t* p) {
    vh half;
    std::memcpy(&half, p, sizeof half);
    return (vf)(__builtin_convertvector(half, vw) << 16);
}
SRWM_INLINE void store_pixels(float* p, vf v) { store(p, v); }
SRWM_INLINE void store_pixels(uint16_t* p, vf v) {  // rounds to nearest, ties to even
    const vw bits = (vw)v, nan = (vw)(v != v);
    const vw rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const vh half = __builtin_convertvector((nan & 0x7fc0) | (~nan & rounded), vh);
    std::memcpy(p, &half, sizeof half);
}
SRWM_INLINE vw load_places(const uint8_t* p) {
    vb bytes;
    std::memcpy(&bytes, p, sizeof bytes);
    return __builtin_convertvector(bytes, vw);
}
SRWM_INLINE void store_places(uint8_t* p, vw v) {
    const vb bytes = __builtin_convertvector(v, vb);
    std::memcpy(p, &bytes, sizeof bytes);
}
SRWM_INLINE vw either(vw condition, vw a, vw b) { return (condition & a) | (~condition & b); }
SRWM_INLINE vf only(vw condition, vf v) { return (vf)(condition & (vw)v); }

// Call f with Images<Pixel>(p) for the type of the images.
template <template <class> class Images, class Problem, class F>
void with_pixels(const Problem& p, F&& f) {
    if (p.half)
        f(Images<uint16_t>(p));
    else
        f(Images<float>(p));
}

}  // namespace SRWM_ISA_NAME
