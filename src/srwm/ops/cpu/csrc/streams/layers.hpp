// Layers on one vector: products with packed matrices, normalization, activations. Vectors have room for kRoom floats behind their
// last one, which are read and written but mean nothing.
#pragma once

#include <cmath>

#include "api.h"
#include "simd/vectors.hpp"

namespace SRWM_ISA_NAME {

constexpr int kBlock = SRWM_STREAM_BLOCK, kHalfBlock = SRWM_STREAM_BLOCK / 2;  // columns, the same for every instruction set
constexpr int kRoom = kBlock;

constexpr int64_t padded(int64_t n) { return (n + kHalfBlock - 1) / kHalfBlock * kHalfBlock; }

// The weights in the order of their use.
class Weights {
public:
    explicit Weights(const float* first) : next_(first) {}
    const float* vector(int64_t n) { return matrix(1, n); }
    const float* matrix(int64_t rows, int64_t columns) {
        const float* here = next_;
        next_ += rows * padded(columns);
        return here;
    }

private:
    const float* next_;
};

// out = start + x M for N vectors of columns, whose rows follow each other; null: start is zeros.
template <int N>
SRWM_PASS void block_product(const float* block, int rows, const float* x, const float* start, float* out) {
    constexpr int kSums = N < 8 ? 8 / N : 1;  // rows at once: eight sums hide the latency of each
    vf sums[kSums][N];
    for (int i = 0; i < kSums; ++i)
        for (int v = 0; v < N; ++v) sums[i][v] = start && i == 0 ? load(start + v * kLanes) : set1(0.0f);
    auto row = [&](int r, int i) __attribute__((always_inline)) {
        const vf xr = set1(x[r]);
        for (int v = 0; v < N; ++v) sums[i][v] = fma(xr, load(block + v * kLanes), sums[i][v]);
        block += N * kLanes;
    };
    int r = 0;
    for (; r + kSums <= rows; r += kSums)
        for (int i = 0; i < kSums; ++i) row(r + i, i);
    for (; r < rows; ++r) row(r, 0);
    for (int v = 0; v < N; ++v) {
        for (int i = 1; i < kSums; ++i) sums[0][v] = sums[0][v] + sums[i][v];
        store(out + v * kLanes, sums[0][v]);
    }
}

// out = start + x M for the first `wanted` columns of a matrix of `rows` x `columns`; `start` may be `out`, or null for zeros.
inline void product(const float* matrix, int rows, int columns, int wanted, const float* x, const float* start, float* out) {
    const int end = static_cast<int>(padded(columns));
    for (int first = 0; first < wanted; first += kBlock, matrix += rows * kBlock) {
        const float* from = start ? start + first : nullptr;
        if (first + kBlock <= end)
            block_product<kBlock / kLanes>(matrix, rows, x, from, out + first);
        else
            block_product<kHalfBlock / kLanes>(matrix, rows, x, from, out + first);
    }
}

// x += y
inline void add(float* x, const float* y, int n) {
    for (int i = 0; i < n; i += kLanes) store(x + i, load(x + i) + load(y + i));
}

inline void layer_norm(const float* x, int n, const float* gain, const float* bias, float eps, float* out) {
    const float count = static_cast<float>(n), mean = sum(partial_sum(x, n)) / count;
    vf squares = set1(0.0f);
    for (int i = 0; i < n; i += kLanes) {
        const vf difference = load_first(x, i, n, mean) - set1(mean);
        squares = fma(difference, difference, squares);
    }
    const vf scale = set1(1.0f / std::sqrt(sum(squares) / count + eps));
    for (int i = 0; i < n; i += kLanes) store(out + i, fma((load(x + i) - set1(mean)) * scale, load(gain + i), load(bias + i)));
}

inline void relu(float* x, int n) {
    for (int i = 0; i < n; i += kLanes) store(x + i, max(set1(0.0f), load(x + i)));
}

inline void gelu(float* x, int n) {
    for (int i = 0; i < n; ++i) x[i] = 0.5f * x[i] * (1.0f + __builtin_erff(x[i] * 0.70710678118654752f));
}

}  // namespace SRWM_ISA_NAME
