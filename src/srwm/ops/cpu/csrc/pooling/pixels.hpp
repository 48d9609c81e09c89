// What the operations on images share: images that lie channels last, float32 or bfloat16, and a byte beside each pooled pixel.
#pragma once

#include <cstring>

#include "simd/vectors.hpp"

namespace SRWM_ISA_NAME {

// Bytes, one for each lane of a vector of unsigned numbers.
template <class Vector>
SRWM_INLINE Vector load_places(const uint8_t* p) {
    typedef uint8_t Bytes __attribute__((vector_size(sizeof(Vector) / sizeof(Vector{}[0]))));
    Bytes bytes;
    std::memcpy(&bytes, p, sizeof bytes);
    return __builtin_convertvector(bytes, Vector);
}
template <class Vector>
SRWM_INLINE void store_places(uint8_t* p, Vector v) {
    typedef uint8_t Bytes __attribute__((vector_size(sizeof(Vector) / sizeof(Vector{}[0]))));
    const Bytes bytes = __builtin_convertvector(v, Bytes);
    std::memcpy(p, &bytes, sizeof bytes);
}

// Call f with Images<Pixel>(p) for the type of the images.
template <template <class> class Images, class Problem, class F>
void with_pixels(const Problem& p, F&& f) {
    if (p.half)
        f(Images<uint16_t>(p));
    else
        f(Images<float>(p));
}

}  // namespace SRWM_ISA_NAME
