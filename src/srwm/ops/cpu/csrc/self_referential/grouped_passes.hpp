// Passes over matrices that carry several heads side by side (grouped_layout.hpp). Their rows follow each other, `stride` floats
// apart; a number per row comes in vectors of four rows for every head and is spread within its block.
#pragma once

#include "self_referential/grouped_layout.hpp"

namespace SRWM_ISA_NAME {

#if defined(__AVX512VL__)  // 32 registers
constexpr int kForwardColumns = 7, kGradientColumns = 13, kGradientRows = 2;
#else
constexpr int kForwardColumns = 4, kGradientColumns = 7, kGradientRows = 1;
#endif
// A store beside multiply-adds. On Zen 4 a plain one costs about as much as one of these, one of a part of a register does not;
// but it competes with additions and shuffles, so that each pass has what was measured to be faster.
SRWM_INLINE void store_beside(float* p, vf v) {
#if defined(__AVX512F__) && !defined(SRWM_HALF_VECTORS)
    asm("vextractf32x8 $0, %1, %0" : "=m"(*reinterpret_cast<float (*)[8]>(p)) : "v"(v));
    asm("vextractf32x8 $1, %1, %0" : "=m"(*reinterpret_cast<float (*)[8]>(p + 8)) : "v"(v));
#else
    store(p, v);
#endif
}

#define SRWM_UNROLL _Pragma("GCC unroll 16")

template <int N>
using Number = std::integral_constant<int, N>;

// f(group of four rows, row in the group, number of rows) for up to kRows rows at a time; the last two are compile-time numbers.
template <int kRows, class F>
SRWM_INLINE void for_rows(int rows, F&& f) {
    static_assert(4 % kRows == 0);
    for (int i = 0; 4 * i < rows; ++i) {
        const int left = rows - 4 * i;
        if constexpr (kRows == 1) {
            f(i, Number<0>{}, Number<1>{});
            if (left > 1) f(i, Number<1>{}, Number<1>{});
            if (left > 2) f(i, Number<2>{}, Number<1>{});
            if (left > 3) f(i, Number<3>{}, Number<1>{});
        } else if constexpr (kRows == 2) {
            left > 1 ? f(i, Number<0>{}, Number<2>{}) : f(i, Number<0>{}, Number<1>{});
            if (left > 2) left > 3 ? f(i, Number<2>{}, Number<2>{}) : f(i, Number<2>{}, Number<1>{});
        } else {
            with_width<4>(left, [&](auto n) { f(i, Number<0>{}, n); });
        }
    }
}

// Which steps' x and difference a forward pass reads with, and the keys and updates that it writes.
struct GroupedForwardStep {
    const float *difference, *x;
    const float* keys[2];
    const float* updates[2];
};

// change = difference (W_0 + S) and next = x (W_0 + S), with null for what is not wanted; kLive: S is not zero; kWrite: first S
// takes both writes.
template <int N, bool kLive, bool kWrite, bool kChange, bool kNext>
SRWM_PASS void pass_forward(float* s, const float* weight, int rows, int stride, const GroupedForwardStep& step, int column,
                            float* change, float* next) {
    vf u[N], dacc[N], xacc[N];
    SRWM_UNROLL
    for (int v = 0; v < N; ++v) {
        if (kWrite) u[v] = load(step.updates[0] + column + v * kLanes);
        dacc[v] = xacc[v] = set1(0.0f);
    }
    const float* second = step.updates[1] + column;
    s += column, weight += column;
    for_rows<1>(rows, [&](int i, auto c, auto) __attribute__((always_inline)) {
        vf k0, k1, d, x;
        if (kWrite)
            k0 = lane_of_four<c>(load(step.keys[0] + i * kLanes)), k1 = lane_of_four<c>(load(step.keys[1] + i * kLanes));
        if (kChange) d = lane_of_four<c>(load(step.difference + i * kLanes));
        if (kNext) x = lane_of_four<c>(load(step.x + i * kLanes));
        SRWM_UNROLL
        for (int v = 0; v < N; ++v) {
            vf value;
            if (kWrite) {
                value = kLive ? fma(k0, u[v], load(s + v * kLanes)) : k0 * u[v];
                value = fma(k1, load(second + v * kLanes), value);
                store_beside(s + v * kLanes, value);
                value = value + load(weight + v * kLanes);
            } else {
                value = load(weight + v * kLanes);
                if (kLive) value = value + load(s + v * kLanes);
            }
            if (kChange) dacc[v] = fma(d, value, dacc[v]);
            if (kNext) xacc[v] = fma(x, value, xacc[v]);
        }
        s += stride, weight += stride;
    });
    SRWM_UNROLL
    for (int v = 0; v < N; ++v) {
        if (kChange) store(change + column + v * kLanes, dacc[v]);
        if (kNext) store(next + column + v * kLanes, xacc[v]);
    }
}

// What a gradient pass takes: of the step after its difference, x, and gradients of the value and of the output; of this one its
// key and update.
struct GroupedGradientStep {
    const float *difference, *x, *grad_value, *grad_out, *key, *update;
};

// G += difference grad_value + x grad_out (or = , unless kLive); then of G (+ `given`, the gradient that came in, when kGiven)
// read = key G, and dots[row] = G update, in lanes not yet summed, added to what is there when there is `more`.
template <int N, bool kLive, bool kGiven>
SRWM_PASS void pass_heads_gradient(float* g, const float* given, int rows, int stride, const GroupedGradientStep& step,
                                   bool more, float* read, float* dots) {
    vf acc[N];
    SRWM_UNROLL
    for (int v = 0; v < N; ++v) acc[v] = set1(0.0f);
    for_rows<kGradientRows>(rows, [&](int i, auto c, auto n) __attribute__((always_inline)) {
        constexpr int kC = decltype(c)::value, kR = decltype(n)::value;
        vf d[2], x[2], k[2], dot[2];
        d[0] = lane_of_four<kC>(load(step.difference + i * kLanes));
        x[0] = lane_of_four<kC>(load(step.x + i * kLanes));
        k[0] = lane_of_four<kC>(load(step.key + i * kLanes));
        if constexpr (kR == 2) {
            d[1] = lane_of_four<kC + 1>(load(step.difference + i * kLanes));
            x[1] = lane_of_four<kC + 1>(load(step.x + i * kLanes));
            k[1] = lane_of_four<kC + 1>(load(step.key + i * kLanes));
        }
        float* out = dots + (4 * i + kC) * kLanes;
        for (int r = 0; r < kR; ++r) dot[r] = more ? load(out + r * kLanes) : set1(0.0f);
        SRWM_UNROLL
        for (int v = 0; v < N; ++v) {
            const vf gv = load(step.grad_value + v * kLanes), go = load(step.grad_out + v * kLanes),
                     u = load(step.update + v * kLanes);
            SRWM_UNROLL
            for (int r = 0; r < kR; ++r) {
                float* place = g + r * stride + v * kLanes;
                vf value = kLive ? fma(d[r], gv, load(place)) : d[r] * gv;
                value = fma(x[r], go, value);
                store(place, value);
                if (kGiven) value = value + load(given + r * stride + v * kLanes);
                acc[v] = fma(k[r], value, acc[v]);
                dot[r] = fma(value, u, dot[r]);
            }
        }
        for (int r = 0; r < kR; ++r) store(out + r * kLanes, dot[r]);
        g += kR * stride;
        if (kGiven) given += kR * stride;
    });
    SRWM_UNROLL
    for (int v = 0; v < N; ++v) store(read + v * kLanes, acc[v]);
}

// The last contribution to G at the start of a segment: G += difference grad_value + x grad_out (or =, unless kLive); total += G.
template <bool kLive>
SRWM_PASS void close_heads_gradient(float* g, float* total, int rows, int columns, const GroupedGradientStep& step) {
    const int stride = columns * kLanes;
    for_rows<4>(rows, [&](int i, auto, auto n) __attribute__((always_inline)) {
        constexpr int kR = decltype(n)::value;
        const vf difference = load(step.difference + i * kLanes), xs = load(step.x + i * kLanes);
        const vf d[4] = {lane_of_four<0>(difference), lane_of_four<1>(difference), lane_of_four<2>(difference),
                         lane_of_four<3>(difference)};
        const vf x[4] = {lane_of_four<0>(xs), lane_of_four<1>(xs), lane_of_four<2>(xs), lane_of_four<3>(xs)};
        for (int v = 0; v < stride; v += kLanes) {
            const vf gv = load(step.grad_value + v), go = load(step.grad_out + v);
            SRWM_UNROLL
            for (int r = 0; r < kR; ++r) {
                const vf value = fma(x[r], go, kLive ? fma(d[r], gv, load(g + r * stride + v)) : d[r] * gv);
                store(g + r * stride + v, value);
                store(total + r * stride + v, load(total + r * stride + v) + value);
            }
        }
        g += 4 * stride, total += 4 * stride;
    });
}

// grad_x = W grad_out (of the step after); W -= key update; grad_difference = W grad_value.
SRWM_INLINE void pass_heads_matrix(float* w, int rows, int columns, const float* grad_out, const float* key,
                                   const float* update, const float* grad_value, float* grad_x, float* grad_difference) {
    const int stride = columns * kLanes;
    for_rows<4>(rows, [&](int i, auto, auto n) __attribute__((always_inline)) {
        constexpr int kR = decltype(n)::value;
        const vf keys = load(key + i * kLanes);
        const vf k[4] = {lane_of_four<0>(keys), lane_of_four<1>(keys), lane_of_four<2>(keys), lane_of_four<3>(keys)};
        vf x[4], d[4];
        for (int r = 0; r < 4; ++r) x[r] = d[r] = set1(0.0f);
        for (int v = 0; v < stride; v += kLanes) {
            const vf go = load(grad_out + v), u = load(update + v), gv = load(grad_value + v);
            SRWM_UNROLL
            for (int r = 0; r < kR; ++r) {
                float* place = w + r * stride + v;
                vf value = load(place);
                x[r] = fma(go, value, x[r]);
                value = fnma(k[r], u, value);
                store_beside(place, value);
                d[r] = fma(gv, value, d[r]);
            }
        }
        store(grad_x + i * kLanes, sums_in_blocks(x[0], x[1], x[2], x[3]));
        store(grad_difference + i * kLanes, sums_in_blocks(d[0], d[1], d[2], d[3]));
        w += 4 * stride;
    });
}

// grad_x = W grad_out.
SRWM_INLINE void read_heads_transposed(const float* w, int rows, int columns, const float* grad_out, float* grad_x) {
    const int stride = columns * kLanes;
    for_rows<4>(rows, [&](int i, auto, auto n) __attribute__((always_inline)) {
        constexpr int kR = decltype(n)::value;
        vf x[4];
        for (int r = 0; r < 4; ++r) x[r] = set1(0.0f);
        for (int v = 0; v < stride; v += kLanes) {
            const vf go = load(grad_out + v);
            SRWM_UNROLL
            for (int r = 0; r < kR; ++r) x[r] = fma(go, load(w + r * stride + v), x[r]);
        }
        store(grad_x + i * kLanes, sums_in_blocks(x[0], x[1], x[2], x[3]));
        w += 4 * stride;
    });
}

// W += keys[i] updates[i] (or = , unless kLive) for kCount steps at once, N vectors of columns.
template <int N, int kCount, bool kLive = true>
SRWM_PASS void write_heads_again(float* w, int rows, int stride, const float* const* keys, const float* const* updates,
                                 int column) {
    vf u[kCount][N];
    for (int k = 0; k < kCount; ++k)
        for (int v = 0; v < N; ++v) u[k][v] = load(updates[k] + column + v * kLanes);
    w += column;
    for_rows<1>(rows, [&](int i, auto c, auto) __attribute__((always_inline)) {
        vf key[kCount];
        for (int k = 0; k < kCount; ++k) key[k] = lane_of_four<c>(load(keys[k] + i * kLanes));
        SRWM_UNROLL
        for (int v = 0; v < N; ++v) {
            vf value = kLive ? load(w + v * kLanes) : set1(0.0f);
            for (int k = 0; k < kCount; ++k) value = fma(key[k], u[k][v], value);
            store(w + v * kLanes, value);
        }
        w += stride;
    });
}

}  // namespace SRWM_ISA_NAME
