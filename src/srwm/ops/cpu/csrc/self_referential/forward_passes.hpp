// Passes over one block of columns of a matrix, as the forward pass of the self-referential weight matrix needs them.
#pragma once

#include <type_traits>

#include "simd/vectors.hpp"

namespace SRWM_ISA_NAME {

// out = x W.
template <int N>
SRWM_PASS void read_matrix(const float* w, int rows, const float* x, float* out) {
    vf acc[N];
    for (int v = 0; v < N; ++v) acc[v] = set1(0.0f);
    for (int r = 0; r < rows; ++r, w += N * kLanes)
        for (int v = 0; v < N; ++v) acc[v] = fma(set1(x[r]), load(w + v * kLanes), acc[v]);
    for (int v = 0; v < N; ++v) store(out + v * kLanes, acc[v]);
}

// out = x W and change = difference W, in one pass over W.
template <int N>
SRWM_PASS void read_twice(const float* w, int rows, const float* x, const float* difference, float* out, float* change) {
    vf acc[N], dacc[N];
    for (int v = 0; v < N; ++v) acc[v] = dacc[v] = set1(0.0f);
    for (int r = 0; r < rows; ++r, w += N * kLanes) {
        const vf xr = set1(x[r]), dr = set1(difference[r]);
        for (int v = 0; v < N; ++v) {
            const vf value = load(w + v * kLanes);
            acc[v] = fma(xr, value, acc[v]);
            dacc[v] = fma(dr, value, dacc[v]);
        }
    }
    for (int v = 0; v < N; ++v) store(out + v * kLanes, acc[v]), store(change + v * kLanes, dacc[v]);
}

// products[i] = x . keys[i] for `count` keys, rounded up to kLanes; what is behind the last key's is of any value. The lanes of x
// and of the keys behind n are zeros, or both may be read there.
SRWM_INLINE void key_products(const float* x, const float* keys, int key_stride, int n, int count, float* products) {
    for (int first = 0; first < count; first += kLanes, keys += kLanes * key_stride) {
        vf partial[kLanes];
        for (int i = 0; i < kLanes; ++i) partial[i] = set1(0.0f);
        for (int c = 0; c < n; c += kLanes) {
            const vf xc = load_exactly(x + c, n - c);
            for (int i = 0; i < kLanes; ++i) partial[i] = fma(xc, load(keys + i * key_stride + c), partial[i]);
        }
        store(products + first, sums(partial));
    }
}

// out += sum of products[i] updates[i].
template <int N>
SRWM_INLINE void add_writes(float* out, const float* products, const float* updates, int update_stride, int count) {
    vf acc[N];
    for (int v = 0; v < N; ++v) acc[v] = load(out + v * kLanes);
    for (int i = 0; i < count; ++i, updates += update_stride)
        for (int v = 0; v < N; ++v) acc[v] = fma(set1(products[i]), load(updates + v * kLanes), acc[v]);
    for (int v = 0; v < N; ++v) store(out + v * kLanes, acc[v]);
}

// s += keys^T updates over `count` steps, in register tiles.
template <int N>
inline void add_products(float* s, int rows, const float* keys, int key_stride, const float* updates, int update_stride,
                         int count) {
    int r = 0;
    for (; r + kProductRows<N> <= rows; r += kProductRows<N>, s += kProductRows<N> * N * kLanes) {
        vf acc[kProductRows<N>][N];
        for (int i = 0; i < kProductRows<N>; ++i)
            for (int v = 0; v < N; ++v) acc[i][v] = load(s + (i * N + v) * kLanes);
        for (int k = 0; k < count; ++k)
            for (int v = 0; v < N; ++v) {
                const vf u = load(updates + k * update_stride + v * kLanes);
                for (int i = 0; i < kProductRows<N>; ++i) acc[i][v] = fma(set1(keys[k * key_stride + r + i]), u, acc[i][v]);
            }
        for (int i = 0; i < kProductRows<N>; ++i)
            for (int v = 0; v < N; ++v) store(s + (i * N + v) * kLanes, acc[i][v]);
    }
    for (; r < rows; ++r, s += N * kLanes)
        for (int v = 0; v < N; ++v) {
            vf acc = load(s + v * kLanes);
            for (int k = 0; k < count; ++k)
                acc = fma(set1(keys[k * key_stride + r]), load(updates + k * update_stride + v * kLanes), acc);
            store(s + v * kLanes, acc);
        }
}

// Dense out = start (zero when null) + keys^T updates over `count` steps, for the N vectors of columns from `column` on.
template <int N>
inline void sum_products(float* out, const float* start, int rows, int columns, int column, const float* keys, int key_stride,
                         const float* updates, int update_stride, int count) {
    auto tile = [&](int r, auto height) {
        vf acc[height][N];
        for (int i = 0; i < height; ++i)
            for (int v = 0; v < N; ++v) {
                const int c = column + v * kLanes;
                acc[i][v] = start ? load_exactly(start + static_cast<int64_t>(r + i) * columns + c, columns - c) : set1(0.0f);
            }
        for (int k = 0; k < count; ++k)
            for (int v = 0; v < N; ++v) {
                const vf u = load(updates + k * update_stride + v * kLanes);
                for (int i = 0; i < height; ++i) acc[i][v] = fma(set1(keys[k * key_stride + r + i]), u, acc[i][v]);
            }
        for (int i = 0; i < height; ++i)
            for (int v = 0; v < N; ++v) {
                const int c = column + v * kLanes;
                store_exactly(out + static_cast<int64_t>(r + i) * columns + c, acc[i][v], columns - c);
            }
    };
    int r = 0;
    for (; r + kProductRows<N> <= rows; r += kProductRows<N>) tile(r, std::integral_constant<int, kProductRows<N>>{});
    for (; r < rows; ++r) tile(r, std::integral_constant<int, 1>{});
}

}  // namespace SRWM_ISA_NAME
