// Passes over one block of columns of a matrix, as the forward pass of the self-referential weight matrix needs them.
#pragma once

#include <type_traits>

#include "simd.hpp"

namespace SRWM_ISA_NAME {

// out = x (W + key update): the write of the step before and the read of this step, in one pass over W.
template <int N, bool kWrite>
SRWM_PASS void write_and_read(float* w, int rows, const float* x, const float* key, const float* update, float* out) {
    vf acc[N], u[N];
    for (int v = 0; v < N; ++v) {
        acc[v] = set1(0.0f);
        if (kWrite) u[v] = load(update + v * kLanes);
    }
    for (int r = 0; r < rows; ++r, w += N * kLanes) {
        const vf xr = set1(x[r]);
        const vf kr = kWrite ? set1(key[r]) : xr;
        for (int v = 0; v < N; ++v) {
            vf value = load(w + v * kLanes);
            if (kWrite) {
                value = fma(kr, u[v], value);
                store(w + v * kLanes, value);
            }
            acc[v] = fma(xr, value, acc[v]);
        }
    }
    for (int v = 0; v < N; ++v) store(out + v * kLanes, acc[v]);
}

// s += keys^T updates over `count` steps, in register tiles.
template <int N>
inline void add_products(float* s, int rows, const float* keys, int key_stride, const float* updates, int update_stride,
                         int count) {
    int r = 0;
    for (; r + kProductRows <= rows; r += kProductRows, s += kProductRows * N * kLanes) {
        vf acc[kProductRows][N];
        for (int i = 0; i < kProductRows; ++i)
            for (int v = 0; v < N; ++v) acc[i][v] = load(s + (i * N + v) * kLanes);
        for (int k = 0; k < count; ++k)
            for (int v = 0; v < N; ++v) {
                const vf u = load(updates + k * update_stride + v * kLanes);
                for (int i = 0; i < kProductRows; ++i) acc[i][v] = fma(set1(keys[k * key_stride + r + i]), u, acc[i][v]);
            }
        for (int i = 0; i < kProductRows; ++i)
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
    for (; r + kProductRows <= rows; r += kProductRows) tile(r, std::integral_constant<int, kProductRows>{});
    for (; r < rows; ++r) tile(r, std::integral_constant<int, 1>{});
}

}  // namespace SRWM_ISA_NAME
