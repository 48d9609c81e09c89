// Passes over one block of columns (or rows) of a matrix, as the backward pass of the self-referential weight matrix needs them.
#pragma once

#include "simd/vectors.hpp"

namespace SRWM_ISA_NAME {

// What pass_gradient reads of the step after (difference, x, gate, out) and of this one (key, update).
struct GradientStep {
    const float *difference, *x, *grad_value, *grad_out, *key, *update;
};

// G += difference grad_value + x grad_out (and the same into `total`, when kTotal); read = key G; partial[row] += G update.
template <int N, bool kTotal>
SRWM_PASS void pass_gradient(float* g, float* total, int rows, const GradientStep& s, int column, float* read, vf* partial) {
    vf gv[N], go[N], u[N], acc[N];
    for (int v = 0; v < N; ++v) {
        gv[v] = load(s.grad_value + column + v * kLanes);
        go[v] = load(s.grad_out + column + v * kLanes);
        u[v] = load(s.update + column + v * kLanes);
        acc[v] = set1(0.0f);
    }
    for (int r = 0; r < rows; ++r, g += N * kLanes) {
        const vf dr = set1(s.difference[r]), xr = set1(s.x[r]), kr = set1(s.key[r]);
        vf dot = column ? partial[r] : set1(0.0f);
        for (int v = 0; v < N; ++v) {
            vf value = load(g + v * kLanes);
            if (kTotal) {
                const vf step = fma(xr, go[v], dr * gv[v]);
                store(total + (r * N + v) * kLanes, load(total + (r * N + v) * kLanes) + step);
                value = value + step;
            } else {
                value = fma(xr, go[v], fma(dr, gv[v], value));
            }
            store(g + v * kLanes, value);
            acc[v] = fma(kr, value, acc[v]);
            dot = fma(value, u[v], dot);
        }
        partial[r] = dot;
    }
    for (int v = 0; v < N; ++v) store(read + column + v * kLanes, acc[v]);
}

// For transposed W: grad_x = W grad_out (of the step after), W -= key update, grad_difference = W grad_value.
template <int N>
SRWM_PASS void pass_matrix(float* w, int columns, const float* grad_out, const float* key, const float* update,
                           const float* grad_value, float* grad_x, float* grad_difference) {
    constexpr int kUnroll = kSumsOf<N>;
    vf k[N], gx[kUnroll][N], gd[kUnroll][N];
    for (int v = 0; v < N; ++v) {
        k[v] = load(key + v * kLanes);
        for (int i = 0; i < kUnroll; ++i) gx[i][v] = gd[i][v] = set1(0.0f);
    }
    auto column = [&](int c, int i) {
        const vf go = set1(grad_out[c]), u = set1(update[c]), gv = set1(grad_value[c]);
        for (int v = 0; v < N; ++v) {
            vf value = load(w + v * kLanes);
            gx[i][v] = fma(go, value, gx[i][v]);
            value = fnma(u, k[v], value);
            store(w + v * kLanes, value);
            gd[i][v] = fma(gv, value, gd[i][v]);
        }
        w += N * kLanes;
    };
    int c = 0;
    for (; c + kUnroll <= columns; c += kUnroll)
        for (int i = 0; i < kUnroll; ++i) column(c + i, i);
    for (; c < columns; ++c) column(c, 0);
    for (int v = 0; v < N; ++v) {
        for (int i = 1; i < kUnroll; ++i) gx[0][v] = gx[0][v] + gx[i][v], gd[0][v] = gd[0][v] + gd[i][v];
        store(grad_x + v * kLanes, gx[0][v]);
        store(grad_difference + v * kLanes, gd[0][v]);
    }
}

// The last contribution to G at the start of a segment: G += R, and total += R (kTotal) or total += G.
template <int N, bool kTotal>
inline void close_gradient(float* g, float* total, int rows, const GradientStep& s, int column) {
    vf gv[N], go[N];
    for (int v = 0; v < N; ++v) {
        gv[v] = load(s.grad_value + column + v * kLanes);
        go[v] = load(s.grad_out + column + v * kLanes);
    }
    for (int r = 0; r < rows; ++r)
        for (int v = 0; v < N; ++v, g += kLanes, total += kLanes) {
            const vf step = fma(set1(s.x[r]), go[v], set1(s.difference[r]) * gv[v]);
            const vf value = load(g) + step;
            store(g, value);
            store(total, load(total) + (kTotal ? step : value));
        }
}

// For transposed W: grad_x = W grad_out.
template <int N>
inline void read_transposed(const float* w, int columns, const float* grad_out, float* grad_x) {
    constexpr int kUnroll = 2 * kSumsOf<N>;
    vf gx[kUnroll][N];
    for (int i = 0; i < kUnroll; ++i)
        for (int v = 0; v < N; ++v) gx[i][v] = set1(0.0f);
    auto column = [&](int c, int i) {
        for (int v = 0; v < N; ++v) gx[i][v] = fma(set1(grad_out[c]), load(w + v * kLanes), gx[i][v]);
        w += N * kLanes;
    };
    int c = 0;
    for (; c + kUnroll <= columns; c += kUnroll)
        for (int i = 0; i < kUnroll; ++i) column(c + i, i);
    for (; c < columns; ++c) column(c, 0);
    for (int v = 0; v < N; ++v) {
        for (int i = 1; i < kUnroll; ++i) gx[0][v] = gx[0][v] + gx[i][v];
        store(grad_x + v * kLanes, gx[0][v]);
    }
}

// For transposed W: W += key update, for kCount steps at once.
template <int N, int kCount>
SRWM_PASS void write_again(float* w, int columns, const float* const* keys, int row, const float* updates, int stride) {
    vf k[kCount][N];
    for (int i = 0; i < kCount; ++i)
        for (int v = 0; v < N; ++v) k[i][v] = load(keys[i] + row + v * kLanes);
    for (int c = 0; c < columns; ++c, w += N * kLanes)
        for (int v = 0; v < N; ++v) {
            vf value = load(w + v * kLanes);
            for (int i = 0; i < kCount; ++i) value = fma(set1(updates[i * stride + c]), k[i][v], value);
            store(w + v * kLanes, value);
        }
}

}  // namespace SRWM_ISA_NAME
