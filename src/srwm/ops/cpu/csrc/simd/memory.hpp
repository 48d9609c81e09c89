// Floats from and to memory where their number is not that of whole vectors, and ahead of their use.
#pragma once

#include "simd/target.hpp"

namespace SRWM_ISA_NAME {

template <int N>
constexpr int kSumsOf = N == 1   ? 4
                        : N == 2 ? 2
                                 : 1;  // independent sums, where one vector alone would wait for itself

SRWM_INLINE constexpr int whole_vectors(int64_t n) { return static_cast<int>((n + kLanes - 1) / kLanes); }

// Ask for the n floats at p before they are needed; kWrite: to be written; kLocality: 2 leaves the first cache to what is in it.
template <bool kWrite, int kLocality = 3>
SRWM_INLINE void fetch(const float* p, int n) {
    for (int i = 0; i < n; i += 16) __builtin_prefetch(p + i, kWrite, kLocality);
}

// n floats, rounded up to whole vectors, from one array to another.
SRWM_INLINE void copy(float* to, const float* from, int n) {
    for (int i = 0; i < n; i += kLanes) store(to + i, load(from + i));
}

// Vector i of the n floats at p, with `other` in the lanes behind the last; p may be read up to the next multiple of kLanes.
SRWM_INLINE vf load_first(const float* p, int i, int n, float other) {
    return i + kLanes <= n ? load(p + i) : first_lanes(load(p + i), n - i, other);
}

// The first n floats at p (all lanes when n >= kLanes) and zeros; nothing behind them is touched.
SRWM_INLINE vf load_exactly(const float* p, int n) { return n >= kLanes ? load(p) : load_some(p, n > 0 ? n : 0); }
SRWM_INLINE void store_exactly(float* p, vf v, int n) {
    if (n >= kLanes)
        store(p, v);
    else
        store_some(p, v, n > 0 ? n : 0);
}

// n floats from one array to another by vectors of this size: a wider load would wait for the stores before it.
SRWM_INLINE void copy_exactly(float* to, const float* from, int n) {
    int i = 0;
    for (; i + kLanes <= n; i += kLanes) store(to + i, load(from + i));
    if (i < n) store_some(to + i, load_some(from + i, n - i), n - i);
}

}  // namespace SRWM_ISA_NAME
