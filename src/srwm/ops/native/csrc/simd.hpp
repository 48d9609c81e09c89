// Vectors of the instruction set that this translation unit is compiled for, and the few functions on them that are needed.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#define SRWM_INLINE inline __attribute__((always_inline))
#define SRWM_PASS __attribute__((noinline))  // a loop that wants all registers for itself

namespace SRWM_ISA_NAME {

#if defined(__AVX512F__) && !defined(SRWM_HALF_VECTORS)

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
SRWM_INLINE vf first_lanes(vf v, int n, float other) {
    return _mm512_mask_blend_ps(first(n), _mm512_set1_ps(other), v);
}
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
        const vf *r = v + 4 * i;
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
SRWM_INLINE vf lane_of_four(vf v) { return _mm512_permute_ps(v, kLane * 0x55); }

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
SRWM_INLINE void transpose(vf* tile) { exchange_bit<1>(tile), exchange_bit<2>(tile), exchange_bit<4>(tile), exchange_bit<8>(tile); }

// The last four lanes, and zeros.
SRWM_INLINE vf last_four(vf v) { return _mm512_maskz_mov_ps(0xF000, v); }
constexpr int kNoRate = 0;  // a lane that last_four makes zero

#elif defined(__AVX2__)

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

SRWM_INLINE __m256i first(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
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
SRWM_INLINE vf first_lanes(vf v, int n, float other) {
    return _mm256_blendv_ps(set1(other), v, _mm256_castsi256_ps(first(n)));
}
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
SRWM_INLINE vf lane_of_four(vf v) { return _mm256_permute_ps(v, kLane * 0x55); }

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

#else  // four lanes in the compiler's own vectors: SSE2, NEON and whatever else it knows

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
SRWM_INLINE vf lane_of_four(vf v) { return set1(v[kLane]); }

SRWM_INLINE void transpose(vf* tile) {
    for (int i = 0; i < kLanes; ++i)
        for (int j = 0; j < i; ++j) {
            const float held = tile[i][j];
            tile[i][j] = tile[j][i];
            tile[j][i] = held;
        }
}

#endif

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

template <int N>
constexpr int kSumsOf = N == 1 ? 4 : N == 2 ? 2 : 1;  // independent sums, where one vector alone would wait for itself

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

SRWM_INLINE vf four_sums(vf a, vf b, vf c, vf d) {
    return four_folded(a, b, c, d, [](vf p, vf q) { return p + q; });
}
SRWM_INLINE vf four_largest(vf a, vf b, vf c, vf d) {
    return four_folded(a, b, c, d, [](vf p, vf q) { return max(p, q); });
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

// n floats into memory, past the caches where that can be: `to` would have to be fetched only to be overwritten.
SRWM_INLINE void copy_past_caches(float* to, const float* from, int64_t n) {
#if defined(__AVX2__)
    if (reinterpret_cast<uintptr_t>(to) % 32 == 0 && n % 8 == 0) {
        for (int64_t i = 0; i < n; i += 8) _mm256_stream_ps(to + i, _mm256_loadu_ps(from + i));
        return;
    }
#endif
    std::memcpy(to, from, sizeof(float) * n);
}
// The same for one vector, where p is aligned.
SRWM_INLINE void store_past_caches(float* p, vf v) {
#if defined(__AVX512F__) && !defined(SRWM_HALF_VECTORS)
    _mm512_stream_ps(p, v);
#elif defined(__AVX2__)
    _mm256_stream_ps(p, v);
#else
    store(p, v);
#endif
}
SRWM_INLINE void wait_for_memory() {
#if defined(__AVX2__)
    _mm_sfence();
#endif
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
