// Passes over one block of columns (or rows) of the state, as the delta rule and linear attention need them.
#pragma once

#include "simd/vectors.hpp"

namespace SRWM_ISA_NAME {

// state = decay state (kDecay) + key update; y = q state; read = next_key state (kDelta).
template <int N, bool kDelta, bool kDecay>
SRWM_PASS void pass_state(float* state, int rows, const float* q, const float* key, const float* next_key, const float* update,
                          float decay, float* y, float* read) {
    constexpr int kUnroll = kSumsOf<N>;
    const vf factor = set1(decay);
    vf u[N], answer[kUnroll][N], next[kUnroll][N];
    for (int v = 0; v < N; ++v) {
        u[v] = load(update + v * kLanes);
        for (int i = 0; i < kUnroll; ++i) answer[i][v] = next[i][v] = set1(0.0f);
    }
    auto row = [&](int r, int i) {
        const vf kr = set1(key[r]), qr = set1(q[r]), nr = kDelta ? set1(next_key[r]) : qr;
        for (int v = 0; v < N; ++v) {
            const vf before = load(state + v * kLanes);
            const vf value = fma(kr, u[v], kDecay ? factor * before : before);
            store(state + v * kLanes, value);
            answer[i][v] = fma(qr, value, answer[i][v]);
            if (kDelta) next[i][v] = fma(nr, value, next[i][v]);
        }
        state += N * kLanes;
    };
    int r = 0;
    for (; r + kUnroll <= rows; r += kUnroll)
        for (int i = 0; i < kUnroll; ++i) row(r + i, i);
    for (; r < rows; ++r) row(r, 0);
    for (int v = 0; v < N; ++v) {
        for (int i = 1; i < kUnroll; ++i) {
            answer[0][v] = answer[0][v] + answer[i][v];
            if (kDelta) next[0][v] = next[0][v] + next[i][v];
        }
        store(y + v * kLanes, answer[0][v]);
        if (kDelta) store(read + v * kLanes, next[0][v]);
    }
}

// g += q grad_y - next_key next_grad_v (kDelta); read = key g; partial[row] += g update.
template <int N, bool kDelta>
SRWM_PASS void pass_state_gradient(float* g, int rows, const float* q, const float* key, const float* next_key,
                                   const float* grad_y, const float* next_grad_v, const float* update, float* read, vf* partial,
                                   bool first) {
    constexpr int kUnroll = kSumsOf<N>;
    vf gy[N], gv[N], u[N], acc[kUnroll][N];
    for (int v = 0; v < N; ++v) {
        gy[v] = load(grad_y + v * kLanes);
        gv[v] = kDelta ? load(next_grad_v + v * kLanes) : gy[v];
        u[v] = load(update + v * kLanes);
        for (int i = 0; i < kUnroll; ++i) acc[i][v] = set1(0.0f);
    }
    auto row = [&](int r, int i) {
        const vf kr = set1(key[r]), qr = set1(q[r]), nr = kDelta ? set1(next_key[r]) : qr;
        vf dot = first ? set1(0.0f) : partial[r];
        for (int v = 0; v < N; ++v) {
            vf value = fma(qr, gy[v], load(g + v * kLanes));
            if (kDelta) value = fnma(nr, gv[v], value);
            store(g + v * kLanes, value);
            acc[i][v] = fma(kr, value, acc[i][v]);
            dot = fma(value, u[v], dot);
        }
        partial[r] = dot;
        g += N * kLanes;
    };
    int r = 0;
    for (; r + kUnroll <= rows; r += kUnroll)
        for (int i = 0; i < kUnroll; ++i) row(r + i, i);
    for (; r < rows; ++r) row(r, 0);
    for (int v = 0; v < N; ++v) {
        for (int i = 1; i < kUnroll; ++i) acc[0][v] = acc[0][v] + acc[i][v];
        store(read + v * kLanes, acc[0][v]);
    }
}

// For the transposed state: grad_read = state grad_v (kDelta), state += key update, grad_q = state grad_y.
template <int N, bool kDelta>
SRWM_PASS void pass_state_again(float* state, int columns, const float* key, const float* update, const float* grad_v,
                                const float* grad_y, float* grad_read, float* grad_q) {
    constexpr int kUnroll = kSumsOf<N>;
    vf k[N], gr[kUnroll][N], gq[kUnroll][N];
    for (int v = 0; v < N; ++v) {
        k[v] = load(key + v * kLanes);
        for (int i = 0; i < kUnroll; ++i) gr[i][v] = gq[i][v] = set1(0.0f);
    }
    auto column = [&](int c, int i) {
        const vf u = set1(update[c]), gy = set1(grad_y[c]), gv = kDelta ? set1(grad_v[c]) : u;
        for (int v = 0; v < N; ++v) {
            vf value = load(state + v * kLanes);
            if (kDelta) gr[i][v] = fma(gv, value, gr[i][v]);
            value = fma(u, k[v], value);
            store(state + v * kLanes, value);
            gq[i][v] = fma(gy, value, gq[i][v]);
        }
        state += N * kLanes;
    };
    int c = 0;
    for (; c + kUnroll <= columns; c += kUnroll)
        for (int i = 0; i < kUnroll; ++i) column(c + i, i);
    for (; c < columns; ++c) column(c, 0);
    for (int v = 0; v < N; ++v) {
        for (int i = 1; i < kUnroll; ++i) {
            gq[0][v] = gq[0][v] + gq[i][v];
            if (kDelta) gr[0][v] = gr[0][v] + gr[i][v];
        }
        store(grad_q + v * kLanes, gq[0][v]);
        if (kDelta) store(grad_read + v * kLanes, gr[0][v]);
    }
}

}  // namespace SRWM_ISA_NAME
