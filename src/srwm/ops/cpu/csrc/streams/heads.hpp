// One step of the delta rule in one head of width n, whose state S is dense (n, n) and read as q S.
#pragma once

#include "simd/vectors.hpp"

namespace SRWM_ISA_NAME {

// x /= max(total, smallest), which NaN passes.
inline void divide(float* x, int n, float total, float smallest) {
    const vf by = set1(total < smallest ? smallest : total);
    for (int i = 0; i < n; i += kLanes) store_exactly(x + i, load_exactly(x + i, n - i) / by, n - i);
}

// silu(x), of length 1
inline void l2_features(float* x, int n) {
    vf squares = set1(0.0f);
    for (int i = 0; i < n; i += kLanes) {
        const vf z = load_exactly(x + i, n - i), y = z * sigmoid(z);  // zeros stay zeros
        squares = fma(y, y, squares);
        store_exactly(x + i, y, n - i);
    }
    divide(x, n, __builtin_sqrtf(sum(squares)), 1e-12f);
}

// elu(x) + 1, divided by their sum + eps
inline void elu_features(float* x, int n, float eps) {
    constexpr float kSmallest = 5.9604645e-08f;  // 2^-24
    const vf zero = set1(0.0f), one = set1(1.0f);
    vf total = zero;
    for (int i = 0; i < n; i += kLanes) {
        const vf z = load_exactly(x + i, n - i);
        const vf below = exp_negative(zero - max(zero, zero - z)) - one;  // rounded as elu(x) is
        const vf y = select_less(zero, z, z, below) + one;
        total = total + (i + kLanes <= n ? y : first_lanes(y, n - i, 0.0f));
        store_exactly(x + i, y, n - i);
    }
    divide(x, n, sum(total) + eps, kSmallest);
}

// What is read with two keys: of_q = q S, of_k = k S.
inline void read(const float* state, int n, const float* q, const float* k, float* of_q, float* of_k) {
    for (int c = 0; c < n; c += kLanes) {
        vf a = set1(0.0f), b = a;
        for (int r = 0; r < n; ++r) {
            const vf row = load_exactly(state + r * n + c, n - c);
            a = fma(set1(q[r]), row, a);
            b = fma(set1(k[r]), row, b);
        }
        store_exactly(of_q + c, a, n - c);
        store_exactly(of_k + c, b, n - c);
    }
}

// to = from + k u; `to` may be `from`.
inline void write(float* to, const float* from, int n, const float* k, const float* u) {
    for (int r = 0; r < n; ++r, to += n, from += n)
        for (int c = 0; c < n; c += kLanes)
            store_exactly(to + c, fma(set1(k[r]), load_exactly(u + c, n - c), load_exactly(from + c, n - c)), n - c);
}

inline float dot(const float* a, const float* b, int n) {
    vf total = set1(0.0f);
    for (int i = 0; i < n; i += kLanes) total = fma(load_exactly(a + i, n - i), load_exactly(b + i, n - i), total);
    return sum(total);
}

}  // namespace SRWM_ISA_NAME
