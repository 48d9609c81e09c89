// Sixteen lanes: AVX-512 F, DQ, BW and VL.
#pragma once

#include <immintrin.h>

#include "simd/macros.hpp"
#include "simd/streaming.hpp"

namespace SRWM_ISA_NAME {

using vf = __m512;
using vi = __m512i;
constexpr int kLanes = 16;
constexpr int kMaxBlock = 6;     // vectors of columns in a block, where a pass keeps one or two sets of them in registers
constexpr int kWidest = 4;       // and where it keeps more
template <int N>
constexpr int kProductRows = 4;  // rows of a register tile of a matrix product, N vectors wide

SRWM_INLINE __mmask16 first(int n) { return static_cast<__mmask16>((1u << n) - 1u); }
SRWM_INLINE vf load_some(const float* p, int n) { return _mm512_maskz_loadu_ps(first(n), p); }
SRWM_INLINE void store_some(float* p, vf v, int n) {
    if (n == 4) return _mm_storeu_ps(p, _mm512_castps512_ps128(v));  // a row ends with four rates; masked stores are slower
    _mm512_mask_storeu_ps(p, first(n), v);
}
SRWM_INLINE vf set1(float value) { return _mm512_set1_ps(value); }
SRWM_INLINE vf load(const float* p) { return _mm512_loadu_ps(p); }
SRWM_INLINE void store(float* p, vf v) { _mm512_storeu_ps(p, v); }
SRWM_INLINE vf fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
SRWM_INLINE vf fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); }
SRWM_INLINE vf max(vf a, vf b) { return _mm512_max_ps(a, b); }
SRWM_INLINE float sum(vf v) { return _mm512_reduce_add_ps(v); }
SRWM_INLINE vf first_lanes(vf v, int n, float other) { return _mm512_mask_blend_ps(first(n), _mm512_set1_ps(other), v); }
// a where p < q, else b: a comparison with NaN is false.
SRWM_INLINE vf select_less(vf p, vf q, vf a, vf b) { return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(p, q, _CMP_LT_OQ), b, a); }
SRWM_INLINE vf absolute(vf v) { return _mm512_abs_ps(v); }
SRWM_INLINE vf scaled(vf p, vf n, vf, vf) { return _mm512_scalef_ps(p, n); }  // p 2^n
constexpr float kSmallestExponent = -200.0f;  // where scaling has underflowed to zero
SRWM_INLINE vf spread(vf table, const int32_t* index) { return _mm512_permutexvar_ps(_mm512_loadu_si512(index), table); }

// Sums of the lanes of sixteen vectors.
SRWM_INLINE vf sums(const vf* v) {
    vf quad[4];
    for (int i = 0; i < 4; ++i) {
        const vf* r = v + 4 * i;
        const __m512d ab = _mm512_castps_pd(_mm512_unpacklo_ps(r[0], r[1]) + _mm512_unpackhi_ps(r[0], r[1]));
        const __m512d cd = _mm512_castps_pd(_mm512_unpacklo_ps(r[2], r[3]) + _mm512_unpackhi_ps(r[2], r[3]));
        quad[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)) + _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd));
    }
    const vf low = _mm512_shuffle_f32x4(quad[0], quad[1], 0x88) + _mm512_shuffle_f32x4(quad[0], quad[1], 0xDD);
    const vf high = _mm512_shuffle_f32x4(quad[2], quad[3], 0x88) + _mm512_shuffle_f32x4(quad[2], quad[3], 0xDD);
    return _mm512_shuffle_f32x4(low, high, 0x88) + _mm512_shuffle_f32x4(low, high, 0xDD);
}

// Lanes repeat [a, b, c, d], each the sum (or the largest) of all lanes of its argument.
template <class Op>
SRWM_INLINE vf four_folded(vf a, vf b, vf c, vf d, Op op) {
    const __m512d ab = _mm512_castps_pd(op(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
    const __m512d cd = _mm512_castps_pd(op(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)));
    vf r = op(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)), _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
    r = op(r, _mm512_shuffle_f32x4(r, r, 0x4E));
    return op(r, _mm512_shuffle_f32x4(r, r, 0xB1));
}
template <int kLane>
SRWM_INLINE vf lane_of_four(vf v) {
    return _mm512_permute_ps(v, kLane * 0x55);
}

// Row i of the tile becomes its column i: rows and lanes change places bit by bit.
template <int kBit>
SRWM_INLINE void exchange_bit(vf* tile) {
    vi low, high;  // of two rows that differ in this bit: the lanes without it, the lanes with it
    for (int lane = 0; lane < 16; ++lane) {
        reinterpret_cast<int32_t*>(&low)[lane] = lane & kBit ? 16 + (lane ^ kBit) : lane;
        reinterpret_cast<int32_t*>(&high)[lane] = lane & kBit ? 16 + lane : lane ^ kBit;
    }
    for (int i = 0; i < 16; ++i)
        if (!(i & kBit)) {
            const vf a = tile[i], b = tile[i + kBit];
            tile[i] = _mm512_permutex2var_ps(a, low, b);
            tile[i + kBit] = _mm512_permutex2var_ps(a, high, b);
        }
}
SRWM_INLINE void transpose(vf* tile) {
    exchange_bit<1>(tile), exchange_bit<2>(tile), exchange_bit<4>(tile), exchange_bit<8>(tile);
}

// The last four lanes, and zeros.
SRWM_INLINE vf last_four(vf v) { return _mm512_maskz_mov_ps(0xF000, v); }
constexpr int kNoRate = 0;  // a lane that last_four makes zero

// One vector into memory, past the caches: p is aligned.
SRWM_INLINE void store_past_caches(float* p, vf v) { _mm512_stream_ps(p, v); }

// Vectors as blocks of four lanes, for four neighboring columns of kHeads heads.
constexpr int kHeads = kLanes / 4;

// out[block] = four floats at p + block * stride, and back.
SRWM_INLINE vf gather(const float* p, [[maybe_unused]] int64_t stride) {
    const __m256 low = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + stride), 1);
    const __m256 high =
        _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p + 2 * stride)), _mm_loadu_ps(p + 3 * stride), 1);
    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}
SRWM_INLINE void scatter(float* p, [[maybe_unused]] int64_t stride, vf v) {
    _mm_storeu_ps(p, _mm512_castps512_ps128(v));
    _mm_storeu_ps(p + stride, _mm512_extractf32x4_ps(v, 1));
    _mm_storeu_ps(p + 2 * stride, _mm512_extractf32x4_ps(v, 2));
    _mm_storeu_ps(p + 3 * stride, _mm512_extractf32x4_ps(v, 3));
}

// Blocks change places: from kLanes neighboring numbers of each head to kHeads vectors of all heads, and back.
SRWM_INLINE void exchange_blocks(vf (&tile)[kHeads]) {
    const vf low01 = _mm512_shuffle_f32x4(tile[0], tile[1], 0x44), high01 = _mm512_shuffle_f32x4(tile[0], tile[1], 0xEE);
    const vf low23 = _mm512_shuffle_f32x4(tile[2], tile[3], 0x44), high23 = _mm512_shuffle_f32x4(tile[2], tile[3], 0xEE);
    tile[0] = _mm512_shuffle_f32x4(low01, low23, 0x88), tile[1] = _mm512_shuffle_f32x4(low01, low23, 0xDD);
    tile[2] = _mm512_shuffle_f32x4(high01, high23, 0x88), tile[3] = _mm512_shuffle_f32x4(high01, high23, 0xDD);
}

// In every block its lanes in the order i, j, k, l.
template <int i, int j, int k, int l>
SRWM_INLINE vf in_blocks(vf v) {
    return _mm512_permute_ps(v, i + 4 * j + 16 * k + 64 * l);
}

// In every block [sum of a's lanes, of b's, of c's, of d's].
SRWM_INLINE vf sums_in_blocks(vf a, vf b, vf c, vf d) {
    const __m512d ab = _mm512_castps_pd(_mm512_unpacklo_ps(a, b) + _mm512_unpackhi_ps(a, b));
    const __m512d cd = _mm512_castps_pd(_mm512_unpacklo_ps(c, d) + _mm512_unpackhi_ps(c, d));
    return _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)) + _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd));
}

}  // namespace SRWM_ISA_NAME
