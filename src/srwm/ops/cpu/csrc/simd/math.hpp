// exp, sigmoid and softmax of vectors.
#pragma once

#include "simd/memory.hpp"

namespace SRWM_ISA_NAME {

// exp(x) for x <= 0 to about one unit in the last place; where that is no normal number it may be 0; NaN stays NaN. Of N vectors
// at once, stage by stage: none waits for itself.
template <int N>
SRWM_INLINE void exp_negative(vf (&x)[N]) {
    constexpr float kTerms[] = {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
    const vf shifter = set1(12582912.0f);
    vf shifted[N], n[N], r[N], p[N];
    for (int i = 0; i < N; ++i) r[i] = max(set1(kSmallestExponent), x[i]);
    for (int i = 0; i < N; ++i) shifted[i] = fma(r[i], set1(1.44269504f), shifter);
    for (int i = 0; i < N; ++i) n[i] = shifted[i] - shifter;
    for (int i = 0; i < N; ++i) r[i] = fnma(n[i], set1(0.693359375f), r[i]);
    for (int i = 0; i < N; ++i) r[i] = fnma(n[i], set1(-2.12194440e-4f), r[i]);
    for (int i = 0; i < N; ++i) p[i] = set1(1.9875691500e-4f);
    for (const float term : kTerms)
        for (int i = 0; i < N; ++i) p[i] = fma(p[i], r[i], set1(term));
    for (int i = 0; i < N; ++i) x[i] = scaled(fma(p[i], r[i] * r[i], r[i] + set1(1.0f)), n[i], shifted[i], x[i]);
}
SRWM_INLINE vf exp_negative(vf x) {
    vf one[1] = {x};
    exp_negative(one);
    return one[0];
}

SRWM_INLINE vf sigmoid(vf x) {
    const vf e = exp_negative(set1(0.0f) - absolute(x));
    const vf one = set1(1.0f);
    return select_less(x, set1(0.0f), e, one) / (one + e);
}

SRWM_INLINE vf four_sums(vf a, vf b, vf c, vf d) {
    return four_folded(a, b, c, d, [](vf p, vf q) { return p + q; });
}
SRWM_INLINE vf four_largest(vf a, vf b, vf c, vf d) {
    return four_folded(a, b, c, d, [](vf p, vf q) { return max(p, q); });
}

// Lanes of the sum of the n floats at p, not yet added up.
SRWM_INLINE vf partial_sum(const float* p, int n) {
    vf total = set1(0.0f);
    for (int i = 0; i < n; i += kLanes) total = total + load_first(p, i, n, 0.0f);
    return total;
}

// A row of numbers and where its softmax goes; lanes of `out` behind the n-th become zeros.
struct SoftmaxRow {
    const float* in;
    float* out;
};

// Two or four softmaxes of n numbers at a time: their sums and maxima are reduced together.
template <int kRows>
SRWM_INLINE void softmax(const SoftmaxRow (&rows)[kRows], int n) {
    static_assert(kRows == 2 || kRows == 4);
    constexpr float kLowest = -__builtin_inff();
    vf v[4];
    for (int r = 0; r < kRows; ++r) {
        v[r] = set1(kLowest);
        for (int i = 0; i < n; i += kLanes) v[r] = max(load_first(rows[r].in, i, n, kLowest), v[r]);
    }
    const vf top = four_largest(v[0], v[1], v[kRows - 2], v[kRows - 1]);
    const vf tops[4] = {lane_of_four<0>(top), lane_of_four<1>(top), lane_of_four<2>(top), lane_of_four<3>(top)};
    for (int r = 0; r < kRows; ++r) {
        v[r] = set1(0.0f);
        for (int i = 0; i < n; i += kLanes) {
            const vf e = exp_negative(load_first(rows[r].in, i, n, kLowest) - tops[r]);
            v[r] = v[r] + e;
            store(rows[r].out + i, e);
        }
    }
    const vf scale = set1(1.0f) / four_sums(v[0], v[1], v[kRows - 2], v[kRows - 1]);
    const vf scales[4] = {lane_of_four<0>(scale), lane_of_four<1>(scale), lane_of_four<2>(scale), lane_of_four<3>(scale)};
    for (int r = 0; r < kRows; ++r)
        for (int i = 0; i < n; i += kLanes) store(rows[r].out + i, load(rows[r].out + i) * scales[r]);
}

// out = p * (g - <p, g>): the gradient through a softmax with value p, whose lanes behind n are zeros.
struct SoftmaxGradientRow {
    const float *p, *g;
    float* out;
};

template <int kRows>
SRWM_INLINE void softmax_gradient(const SoftmaxGradientRow (&rows)[kRows], int n) {
    static_assert(kRows == 2 || kRows == 4);
    vf v[4];
    for (int r = 0; r < kRows; ++r) {
        v[r] = set1(0.0f);
        for (int i = 0; i < n; i += kLanes) v[r] = fma(load(rows[r].p + i), load(rows[r].g + i), v[r]);
    }
    const vf mean = four_sums(v[0], v[1], v[kRows - 2], v[kRows - 1]);
    const vf means[4] = {lane_of_four<0>(mean), lane_of_four<1>(mean), lane_of_four<2>(mean), lane_of_four<3>(mean)};
    for (int r = 0; r < kRows; ++r)
        for (int i = 0; i < n; i += kLanes) store(rows[r].out + i, load(rows[r].p + i) * (load(rows[r].g + i) - means[r]));
}

}  // namespace SRWM_ISA_NAME
