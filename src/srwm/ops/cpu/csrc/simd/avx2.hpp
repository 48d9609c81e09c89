// Eight lanes: AVX2 and FMA, with AVX-512's masks and registers where those are compiled for.
#pragma once

#include <immintrin.h>

#include "simd/macros.hpp"
#include "simd/streaming.hpp"

namespace SRWM_ISA_NAME {

using vf = __m256;
constexpr int kLanes = 8;
#if defined(__AVX512VL__)  // twice the registers
constexpr int kMaxBlock = 7, kWidest = 5;
template <int N>
constexpr int kProductRows = N < 7 ? 4 : 3;
#else
constexpr int kMaxBlock = 4, kWidest = 4;
template <int N>
constexpr int kProductRows = 2;
#endif

SRWM_INLINE __m256i first(int n) { return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }
SRWM_INLINE vf load_some(const float* p, int n) { return _mm256_maskload_ps(p, first(n)); }
SRWM_INLINE void store_some(float* p, vf v, int n) {
    if (n == 4) return _mm_storeu_ps(p, _mm256_castps256_ps128(v));  // a row ends with four rates; masked stores are slower
    _mm256_maskstore_ps(p, first(n), v);
}
SRWM_INLINE vf set1(float value) { return _mm256_set1_ps(value); }
SRWM_INLINE vf load(const float* p) { return _mm256_loadu_ps(p); }
SRWM_INLINE void store(float* p, vf v) { _mm256_storeu_ps(p, v); }
SRWM_INLINE vf fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
SRWM_INLINE vf fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
SRWM_INLINE vf max(vf a, vf b) { return _mm256_max_ps(a, b); }
SRWM_INLINE float sum(vf v) {
    __m128 half = _mm256_castps256_ps128(v) + _mm256_extractf128_ps(v, 1);
    half = half + _mm_movehl_ps(half, half);
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
SRWM_INLINE vf first_lanes(vf v, int n, float other) { return _mm256_blendv_ps(set1(other), v, _mm256_castsi256_ps(first(n))); }
SRWM_INLINE vf select_less(vf p, vf q, vf a, vf b) { return _mm256_blendv_ps(b, a, _mm256_cmp_ps(p, q, _CMP_LT_OQ)); }
SRWM_INLINE vf absolute(vf v) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v); }
#if defined(__AVX512VL__)
SRWM_INLINE vf scaled(vf p, vf n, vf, vf) { return _mm256_scalef_ps(p, n); }
constexpr float kSmallestExponent = -200.0f;
#else
constexpr float kSmallestExponent = -87.33654f;  // the logarithm of the smallest normal number
SRWM_INLINE vf scaled(vf p, vf, vf shifted, vf x) {  // for shifted = 1.5 * 2^23 + n; zero where x is less than that
    const vf power = _mm256_castsi256_ps(
        _mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(shifted), 23), _mm256_set1_epi32(127 << 23)));
    return select_less(x, set1(kSmallestExponent), set1(0.0f), p * power);
}
#endif
SRWM_INLINE vf spread(vf table, const int32_t* index) {
    return _mm256_permutevar8x32_ps(table, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(index)));
}

SRWM_INLINE vf last_four(vf v) { return _mm256_blend_ps(set1(0.0f), v, 0xF0); }
constexpr int kNoRate = 0;

SRWM_INLINE vf sums(const vf* v) {
    const vf low = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
    const vf high = _mm256_hadd_ps(_mm256_hadd_ps(v[4], v[5]), _mm256_hadd_ps(v[6], v[7]));
    return _mm256_permute2f128_ps(low, high, 0x20) + _mm256_permute2f128_ps(low, high, 0x31);
}

template <class Op>
SRWM_INLINE vf four_folded(vf a, vf b, vf c, vf d, Op op) {
    const __m256d ab = _mm256_castps_pd(op(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)));
    const __m256d cd = _mm256_castps_pd(op(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d)));
    const vf r = op(_mm256_castpd_ps(_mm256_unpacklo_pd(ab, cd)), _mm256_castpd_ps(_mm256_unpackhi_pd(ab, cd)));
    return op(r, _mm256_permute2f128_ps(r, r, 0x01));
}
template <int kLane>
SRWM_INLINE vf lane_of_four(vf v) {
    return _mm256_permute_ps(v, kLane * 0x55);
}

// Row i of the tile becomes its column i.
SRWM_INLINE void transpose(vf* tile) {
    vf pairs[8], quads[8];
    for (int i = 0; i < 8; i += 2) {
        pairs[i] = _mm256_unpacklo_ps(tile[i], tile[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_ps(tile[i], tile[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; ++j) {
            quads[i + 2 * j] = _mm256_shuffle_ps(pairs[i + j], pairs[i + j + 2], 0x44);
            quads[i + 2 * j + 1] = _mm256_shuffle_ps(pairs[i + j], pairs[i + j + 2], 0xEE);
        }
    for (int i = 0; i < 4; ++i) {
        tile[i] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x20);
        tile[i + 4] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x31);
    }
}

// One vector into memory, past the caches: p is aligned.
SRWM_INLINE void store_past_caches(float* p, vf v) { _mm256_stream_ps(p, v); }

// Vectors as blocks of four lanes, for four neighboring columns of kHeads heads.
constexpr int kHeads = kLanes / 4;

// out[block] = four floats at p + block * stride, and back.
SRWM_INLINE vf gather(const float* p, [[maybe_unused]] int64_t stride) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + stride), 1);
}
SRWM_INLINE void scatter(float* p, [[maybe_unused]] int64_t stride, vf v) {
    _mm_storeu_ps(p, _mm256_castps256_ps128(v));
    _mm_storeu_ps(p + stride, _mm256_extractf128_ps(v, 1));
}

// Blocks change places: from kLanes neighboring numbers of each head to kHeads vectors of all heads, and back.
SRWM_INLINE void exchange_blocks(vf (&tile)[kHeads]) {
    const vf low = _mm256_permute2f128_ps(tile[0], tile[1], 0x20);
    tile[1] = _mm256_permute2f128_ps(tile[0], tile[1], 0x31), tile[0] = low;
}

// In every block its lanes in the order i, j, k, l.
template <int i, int j, int k, int l>
SRWM_INLINE vf in_blocks(vf v) {
    return _mm256_permute_ps(v, i + 4 * j + 16 * k + 64 * l);
}

// In every block [sum of a's lanes, of b's, of c's, of d's].
SRWM_INLINE vf sums_in_blocks(vf a, vf b, vf c, vf d) {
    const __m256d ab = _mm256_castps_pd(_mm256_unpacklo_ps(a, b) + _mm256_unpackhi_ps(a, b));
    const __m256d cd = _mm256_castps_pd(_mm256_unpacklo_ps(c, d) + _mm256_unpackhi_ps(c, d));
    return _mm256_castpd_ps(_mm256_unpacklo_pd(ab, cd)) + _mm256_castpd_ps(_mm256_unpackhi_pd(ab, cd));
}

}  // namespace SRWM_ISA_NAME
