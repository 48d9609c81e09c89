// Four lanes in the compiler's own vectors: SSE2, NEON and whatever else it knows.
#pragma once

#include <cstdint>
#include <cstring>

#include "simd/macros.hpp"

namespace SRWM_ISA_NAME {

typedef float vf __attribute__((vector_size(16)));
typedef uint32_t vu __attribute__((vector_size(16)));
constexpr int kLanes = 4;
constexpr int kMaxBlock = 4, kWidest = 4;
template <int N>
constexpr int kProductRows = 2;

SRWM_INLINE vf load_some(const float* p, int n) {
    vf v = {};
    for (int i = 0; i < n; ++i) v[i] = p[i];
    return v;
}
SRWM_INLINE void store_some(float* p, vf v, int n) {
    for (int i = 0; i < n; ++i) p[i] = v[i];
}
SRWM_INLINE vf set1(float value) { return vf{value, value, value, value}; }
SRWM_INLINE vf load(const float* p) {
    vf v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
SRWM_INLINE void store(float* p, vf v) { std::memcpy(p, &v, sizeof v); }
SRWM_INLINE vf fma(vf a, vf b, vf c) { return a * b + c; }
SRWM_INLINE vf fnma(vf a, vf b, vf c) { return c - a * b; }
SRWM_INLINE vf select_less(vf p, vf q, vf a, vf b) {
    const vu less = (vu)(p < q);
    return (vf)((less & (vu)a) | (~less & (vu)b));
}
SRWM_INLINE vf max(vf a, vf b) { return select_less(b, a, a, b); }  // b where one is NaN, as on x86
SRWM_INLINE float sum(vf v) { return (v[0] + v[2]) + (v[1] + v[3]); }
SRWM_INLINE vf first_lanes(vf v, int n, float other) {
    for (int i = n; i < 4; ++i) v[i] = other;
    return v;
}
SRWM_INLINE vf absolute(vf v) { return (vf)((vu)v & vu{0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff}); }
constexpr float kSmallestExponent = -87.33654f;
SRWM_INLINE vf scaled(vf p, vf, vf shifted, vf x) {
    return select_less(x, set1(kSmallestExponent), set1(0.0f), p * (vf)(((vu)shifted << 23) + (127u << 23)));
}
SRWM_INLINE vf spread(vf table, const int32_t* index) {  // an index past the table reads zero
    vf r = {};
    for (int i = 0; i < 4; ++i) r[i] = index[i] < 4 ? table[index[i]] : 0.0f;
    return r;
}
SRWM_INLINE vf last_four(vf v) { return v; }
constexpr int kNoRate = 4;  // behind the table

SRWM_INLINE vf sums(const vf* v) {
    vf r = {};
    for (int i = 0; i < 4; ++i) r[i] = sum(v[i]);
    return r;
}

template <class Op>
SRWM_INLINE vf four_folded(vf a, vf b, vf c, vf d, Op op) {
    const vf left = op(vf{a[0], b[0], c[0], d[0]}, vf{a[1], b[1], c[1], d[1]});
    return op(left, op(vf{a[2], b[2], c[2], d[2]}, vf{a[3], b[3], c[3], d[3]}));
}
template <int kLane>
SRWM_INLINE vf lane_of_four(vf v) {
    return set1(v[kLane]);
}

SRWM_INLINE void transpose(vf* tile) {
    for (int i = 0; i < kLanes; ++i)
        for (int j = 0; j < i; ++j) {
            const float held = tile[i][j];
            tile[i][j] = tile[j][i];
            tile[j][i] = held;
        }
}

// Stores past the caches, where the instruction set has them.
SRWM_INLINE void store_past_caches(float* p, vf v) { store(p, v); }
SRWM_INLINE void copy_past_caches(float* to, const float* from, int64_t n) { std::memcpy(to, from, sizeof(float) * n); }
SRWM_INLINE void wait_for_memory() {}

// Vectors as blocks of four lanes, for four neighboring columns of kHeads heads.
constexpr int kHeads = kLanes / 4;

// out[block] = four floats at p + block * stride, and back.
SRWM_INLINE vf gather(const float* p, [[maybe_unused]] int64_t stride) { return load(p); }
SRWM_INLINE void scatter(float* p, [[maybe_unused]] int64_t stride, vf v) { store(p, v); }

// Blocks change places: from kLanes neighboring numbers of each head to kHeads vectors of all heads, and back.
SRWM_INLINE void exchange_blocks(vf (&tile)[kHeads]) { (void)tile; }

// In every block its lanes in the order i, j, k, l.
template <int i, int j, int k, int l>
SRWM_INLINE vf in_blocks(vf v) {
    return vf{v[i], v[j], v[k], v[l]};
}

// In every block [sum of a's lanes, of b's, of c's, of d's].
SRWM_INLINE vf sums_in_blocks(vf a, vf b, vf c, vf d) {
    return four_folded(a, b, c, d, [](vf p, vf q) { return p + q; });
}

}  // namespace SRWM_ISA_NAME
