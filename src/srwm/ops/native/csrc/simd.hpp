// Vectors of the instruction set that this translation unit is compiled for, and the few functions on them that are needed.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

namespace SRWM_ISA_NAME {

#if defined(__AVX512F__)

using vf = __m512;
using vi = __m512i;
constexpr int kLanes = 16;
constexpr int kMaxBlock = 6;      // vectors of accumulators that a pass keeps in registers
constexpr int kProductRows = 4;   // rows of a register tile of a matrix product

inline vf set1(float value) { return _mm512_set1_ps(value); }
inline vf load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, vf v) { _mm512_storeu_ps(p, v); }
inline vf fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
inline vf fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); }
inline vf max(vf a, vf b) { return _mm512_max_ps(a, b); }
inline float sum(vf v) { return _mm512_reduce_add_ps(v); }
inline float largest(vf v) { return _mm512_reduce_max_ps(v); }
inline vf first_lanes(vf v, int n, float other) {
    return _mm512_mask_blend_ps(static_cast<__mmask16>((1u << n) - 1u), _mm512_set1_ps(other), v);
}
// a where p < q, else b: a comparison with NaN is false.
inline vf select_less(vf p, vf q, vf a, vf b) { return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(p, q, _CMP_LT_OQ), b, a); }
inline vf absolute(vf v) { return _mm512_abs_ps(v); }
inline vf power_of_two(vf shifted) {  // 2^n for shifted = 1.5 * 2^23 + n
    return _mm512_castsi512_ps(
        _mm512_add_epi32(_mm512_slli_epi32(_mm512_castps_si512(shifted), 23), _mm512_set1_epi32(127 << 23)));
}
inline vf spread(vf table, const int32_t* index) { return _mm512_permutexvar_ps(_mm512_loadu_si512(index), table); }

// Sums of the lanes of sixteen vectors.
inline vf sums(const vf* v) {
    vf quad[4];
    for (int i = 0; i < 4; ++i) {
        const vf *r = v + 4 * i;
        const __m512d ab = _mm512_castps_pd(_mm512_unpacklo_ps(r[0], r[1]) + _mm512_unpackhi_ps(r[0], r[1]));
        const __m512d cd = _mm512_castps_pd(_mm512_unpacklo_ps(r[2], r[3]) + _mm512_unpackhi_ps(r[2], r[3]));
        quad[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)) + _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd));
    }
    const vf low = _mm512_shuffle_f32x4(quad[0], quad[1], 0x88) + _mm512_shuffle_f32x4(quad[0], quad[1], 0xDD);
    const vf high = _mm512_shuffle_f32x4(quad[2], quad[3], 0x88) + _mm512_shuffle_f32x4(quad[2], quad[3], 0xDD);
    return _mm512_shuffle_f32x4(low, high, 0x88) + _mm512_shuffle_f32x4(low, high, 0xDD);
}

#elif defined(__AVX2__)

using vf = __m256;
constexpr int kLanes = 8;
constexpr int kMaxBlock = 4;
constexpr int kProductRows = 2;

inline vf set1(float value) { return _mm256_set1_ps(value); }
inline vf load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, vf v) { _mm256_storeu_ps(p, v); }
inline vf fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
inline vf fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
inline vf max(vf a, vf b) { return _mm256_max_ps(a, b); }
inline float sum(vf v) {
    __m128 half = _mm256_castps256_ps128(v) + _mm256_extractf128_ps(v, 1);
    half = half + _mm_movehl_ps(half, half);
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
inline float largest(vf v) {
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}
inline vf first_lanes(vf v, int n, float other) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_blendv_ps(set1(other), v, _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane)));
}
inline vf select_less(vf p, vf q, vf a, vf b) { return _mm256_blendv_ps(b, a, _mm256_cmp_ps(p, q, _CMP_LT_OQ)); }
inline vf absolute(vf v) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v); }
inline vf power_of_two(vf shifted) {
    return _mm256_castsi256_ps(
        _mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(shifted), 23), _mm256_set1_epi32(127 << 23)));
}
inline vf spread(vf table, const int32_t* index) {
    return _mm256_permutevar8x32_ps(table, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(index)));
}

inline vf sums(const vf* v) {
    const vf low = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
    const vf high = _mm256_hadd_ps(_mm256_hadd_ps(v[4], v[5]), _mm256_hadd_ps(v[6], v[7]));
    return _mm256_permute2f128_ps(low, high, 0x20) + _mm256_permute2f128_ps(low, high, 0x31);
}

#else  // four lanes in the compiler's own vectors: SSE2, NEON and whatever else it knows

typedef float vf __attribute__((vector_size(16)));
typedef uint32_t vu __attribute__((vector_size(16)));
constexpr int kLanes = 4;
constexpr int kMaxBlock = 4;
constexpr int kProductRows = 2;

inline vf set1(float value) { return vf{value, value, value, value}; }
inline vf load(const float* p) {
    vf v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
inline void store(float* p, vf v) { std::memcpy(p, &v, sizeof v); }
inline vf fma(vf a, vf b, vf c) { return a * b + c; }
inline vf fnma(vf a, vf b, vf c) { return c - a * b; }
inline vf select_less(vf p, vf q, vf a, vf b) {
    const vu less = (vu)(p < q);
    return (vf)((less & (vu)a) | (~less & (vu)b));
}
inline vf max(vf a, vf b) { return select_less(a, b, b, a); }
inline float sum(vf v) { return (v[0] + v[2]) + (v[1] + v[3]); }
inline float largest(vf v) {
    float m = v[0];
    for (int i = 1; i < 4; ++i) m = m < v[i] ? v[i] : m;
    return m;
}
inline vf first_lanes(vf v, int n, float other) {
    for (int i = n; i < 4; ++i) v[i] = other;
    return v;
}
inline vf absolute(vf v) { return (vf)((vu)v & vu{0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff}); }
inline vf power_of_two(vf shifted) { return (vf)(((vu)shifted << 23) + (127u << 23)); }
inline vf spread(vf table, const int32_t* index) {  // an index past the table reads zero
    vf r = {};
    for (int i = 0; i < 4; ++i) r[i] = index[i] < 4 ? table[index[i]] : 0.0f;
    return r;
}
inline vf sums(const vf* v) {
    vf r = {};
    for (int i = 0; i < 4; ++i) r[i] = sum(v[i]);
    return r;
}

#endif

// exp(x) for x <= 0 to about one unit in the last place; below the smallest normal number it is 0; NaN stays NaN.
inline vf exp_negative(vf x) {
    const vf smallest = set1(-87.33654f), shifter = set1(12582912.0f);
    const vf clamped = select_less(x, smallest, smallest, x);
    const vf shifted = fma(clamped, set1(1.44269504f), shifter);
    const vf n = shifted - shifter;
    vf r = fnma(n, set1(0.693359375f), clamped);
    r = fnma(n, set1(-2.12194440e-4f), r);
    vf p = set1(1.9875691500e-4f);
    p = fma(p, r, set1(1.3981999507e-3f));
    p = fma(p, r, set1(8.3334519073e-3f));
    p = fma(p, r, set1(4.1665795894e-2f));
    p = fma(p, r, set1(1.6666665459e-1f));
    p = fma(p, r, set1(5.0000001201e-1f));
    p = fma(p, r * r, r + set1(1.0f));
    return select_less(x, smallest, set1(0.0f), p * power_of_two(shifted));
}

inline vf sigmoid(vf x) {
    const vf e = exp_negative(set1(0.0f) - absolute(x));
    const vf one = set1(1.0f);
    return select_less(x, set1(0.0f), e, one) / (one + e);
}

inline int whole_vectors(int64_t n) { return static_cast<int>((n + kLanes - 1) / kLanes); }

// n floats, rounded up to whole vectors, from one array to another.
inline void copy(float* to, const float* from, int n) {
    for (int i = 0; i < n; i += kLanes) store(to + i, load(from + i));
}

// The n floats at p, reduced; p may be read up to the next multiple of kLanes.
inline float sum_of(const float* p, int n) {
    vf total = set1(0.0f);
    int i = 0;
    for (; i + kLanes <= n; i += kLanes) total = total + load(p + i);
    if (i < n) total = total + first_lanes(load(p + i), n - i, 0.0f);
    return sum(total);
}

// out = softmax(in) over n floats; the lanes of out behind n are zeros. `in` may be read to the next multiple of kLanes.
inline void softmax(const float* in, float* out, int n) {
    constexpr float kLowest = -__builtin_inff();
    vf top = set1(kLowest);
    int i = 0;
    for (; i + kLanes <= n; i += kLanes) top = max(load(in + i), top);
    if (i < n) top = max(first_lanes(load(in + i), n - i, kLowest), top);
    const vf shift = set1(largest(top));
    vf total = set1(0.0f);
    for (i = 0; i + kLanes <= n; i += kLanes) {
        const vf e = exp_negative(load(in + i) - shift);
        total = total + e;
        store(out + i, e);
    }
    if (i < n) {
        const vf e = first_lanes(exp_negative(load(in + i) - shift), n - i, 0.0f);
        total = total + e;
        store(out + i, e);
    }
    const vf scale = set1(1.0f / sum(total));
    for (i = 0; i < n; i += kLanes) store(out + i, load(out + i) * scale);
}

// out = p * (g - <p, g>): the gradient through a softmax with value p, lanes behind n zero in p.
inline void softmax_gradient(const float* p, const float* g, float* out, int n) {
    vf total = set1(0.0f);
    for (int i = 0; i < n; i += kLanes) total = fma(load(p + i), load(g + i), total);
    const vf mean = set1(sum(total));
    for (int i = 0; i < n; i += kLanes) store(out + i, load(p + i) * (load(g + i) - mean));
}

}  // namespace SRWM_ISA_NAME
