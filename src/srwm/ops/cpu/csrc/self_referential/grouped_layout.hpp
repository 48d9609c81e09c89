// Several heads of one sequence in one vector: four neighboring columns of each head are a block of four lanes.
//
// A row of W is its sections y, q, k and beta, each padded to whole blocks; at E = D = 16 nothing is padded. What is computed once
// a step and head (softmaxes, learning rates) fills whole vectors this way, and no sum crosses the heads.
#pragma once

#include "core/layout.hpp"
#include "kernels.hpp"
#include "self_referential/layout.hpp"

namespace SRWM_ISA_NAME {

// Every lane the sum, or the largest, of its block.
SRWM_INLINE vf sum_in_blocks(vf v) {
    v = v + in_blocks<1, 0, 3, 2>(v);
    return v + in_blocks<2, 3, 0, 1>(v);
}
SRWM_INLINE vf largest_in_blocks(vf v) {  // of NaN and a number either; a softmax with NaN is NaN by its sum
    v = max(v, in_blocks<1, 0, 3, 2>(v));
    return max(v, in_blocks<2, 3, 0, 1>(v));
}

// Rows of heads that follow each other in a dense array, `stride` floats apart. There may be fewer of them than blocks: nothing
// is touched for the others, which read as zeros.
struct Lanes {
    int64_t stride;
    int count;

    // Vectors of n numbers of each head; numbers behind the n-th read as zeros.
    SRWM_INLINE void load_numbers(const float* p, int n, float* to) const {
        int i = 0;
        if (count == kHeads)
            for (; i + kLanes <= n; i += kLanes, to += kHeads * kLanes) {
                vf tile[kHeads];
                for (int h = 0; h < kHeads; ++h) tile[h] = load(p + h * stride + i);
                exchange_blocks(tile);
                for (int v = 0; v < kHeads; ++v) store(to + v * kLanes, tile[v]);
            }
        if (count == kHeads)
            for (; i + 4 <= n; i += 4, to += kLanes) store(to, gather(p + i, stride));
        if (i < n) load_some_numbers(p + i, n - i, to);
    }
    // kPastCaches: where memory is aligned.
    template <bool kPastCaches = false>
    SRWM_INLINE void store_numbers(float* p, int n, const float* from) const {
        int i = 0;
        if (count == kHeads)
            for (; i + kLanes <= n; i += kLanes, from += kHeads * kLanes) {
                vf tile[kHeads];
                for (int v = 0; v < kHeads; ++v) tile[v] = load(from + v * kLanes);
                exchange_blocks(tile);
                for (int h = 0; h < kHeads; ++h) {
                    if (kPastCaches)
                        store_past_caches(p + h * stride + i, tile[h]);
                    else
                        store(p + h * stride + i, tile[h]);
                }
            }
        if (count == kHeads)
            for (; i + 4 <= n; i += 4, from += kLanes) scatter(p + i, stride, load(from));
        if (i < n) store_some_numbers(p + i, n - i, from);
    }

private:
    void load_some_numbers(const float* p, int n, float* to) const {
        for (int v = 0; 4 * v < n; ++v) store(to + v * kLanes, set1(0.0f));
        for (int h = 0; h < count; ++h)
            for (int i = 0; i < n; ++i) to[i / 4 * kLanes + 4 * h + i % 4] = p[h * stride + i];
    }
    void store_some_numbers(float* p, int n, const float* from) const {
        for (int h = 0; h < count; ++h)
            for (int i = 0; i < n; ++i) p[h * stride + i] = from[i / 4 * kLanes + 4 * h + i % 4];
    }
};

// Sizes in vectors, and how a matrix of this layout is made of dense ones.
struct GroupedSize : Size {
    using Size::Size;
    constexpr int ev() const { return (e + 3) / 4; }
    constexpr int dv() const { return (d + 3) / 4; }
    constexpr int columns() const { return dv() + 2 * ev() + 1; }
    constexpr int row_floats() const { return columns() * kLanes; }
    constexpr int floats() const { return e * row_floats(); }
    constexpr int numbers_floats() const { return ev() * kLanes; }  // of a number for every row
    constexpr int saved_floats() const { return 2 * numbers_floats() + row_floats() + kLanes; }

    // A row of the sections, from and to m dense floats of each head.
    SRWM_INLINE void load_row(const Lanes& lanes, const float* p, float* to) const {
        lanes.load_numbers(p, d, to);
        lanes.load_numbers(p + d, e, to + dv() * kLanes);
        lanes.load_numbers(p + d + e, e, to + (dv() + ev()) * kLanes);
        lanes.load_numbers(p + d + 2 * e, 4, to + (dv() + 2 * ev()) * kLanes);
    }
    SRWM_INLINE void store_row(const Lanes& lanes, float* p, const float* from) const {
        lanes.store_numbers(p, d, from);
        lanes.store_numbers(p + d, e, from + dv() * kLanes);
        lanes.store_numbers(p + d + e, e, from + (dv() + ev()) * kLanes);
        lanes.store_numbers(p + d + 2 * e, 4, from + (dv() + 2 * ev()) * kLanes);
    }
    bool padded() const { return e % 4 || d % 4; }
    void pack(const Lanes& lanes, const float* from, float* to) const {
        if (!padded()) return lanes.load_numbers(from, e * m(), to);
        for (int r = 0; r < e; ++r) load_row(lanes, from + r * m(), to + r * row_floats());
    }
    template <bool kPastCaches = false>
    void unpack(const Lanes& lanes, float* to, const float* from) const {
        if (!padded()) return lanes.store_numbers<kPastCaches>(to, e * m(), from);
        for (int r = 0; r < e; ++r) store_row(lanes, to + r * m(), from + r * row_floats());
    }
    // Dense `to` = the matrix of one head.
    void unpack_one(float* to, const float* from, int head) const {
        auto section = [&](const float* vectors, int n) {
            for (int i = 0; i < n; ++i) *to++ = vectors[i / 4 * kLanes + 4 * head + i % 4];
        };
        for (int r = 0; r < e; ++r, from += row_floats()) {
            section(from, d);
            section(from + dv() * kLanes, e);
            section(from + (dv() + ev()) * kLanes, e);
            section(from + (dv() + 2 * ev()) * kLanes, 4);
        }
    }
};

// What backward keeps of a step of a group: phi(q), phi(k), what W (phi(q) - phi(k)) is, and the learning rates.
struct GroupedSaved {
    float *phi_q, *phi_k, *change, *rates;
    SRWM_INLINE GroupedSaved(float* row, const GroupedSize& size)
        : phi_q(row), phi_k(row + size.numbers_floats()), change(phi_k + size.numbers_floats()),
          rates(change + size.row_floats()) {}
};

// Heads that are computed together: up to kHeads of one sequence. Groups are numbered so that those with the same heads follow
// each other: their weight stays in cache.
struct HeadGroup {
    int64_t sequence, head;  // the first of the heads
    int count;
    HeadGroup(const srwm_problem& p, int64_t number)
        : sequence(number % p.batch), head(number / p.batch * kHeads),
          count(static_cast<int>(p.heads - head < kHeads ? p.heads - head : kHeads)) {}
    int64_t item(const srwm_problem& p) const { return sequence * p.heads + head; }
    static int64_t of_sequence(const srwm_problem& p) { return (p.heads + kHeads - 1) / kHeads; }
    int64_t first_row(const srwm_problem& p) const {  // of what is kept, a row a step
        return (sequence * of_sequence(p) + head / kHeads) * p.steps;
    }
};

// Whether a matrix for every head, written to `out`, is better written past the caches, and lies so that it can be.
static inline bool leaves_caches(const srwm_problem& p, const float* out) {
    const int64_t matrix = p.e * (p.d + 2 * p.e + 4);
    return p.batch * p.heads * matrix >= 1 << 18 && matrix % kLanes == 0 &&
           reinterpret_cast<uintptr_t>(out) % (sizeof(float) * kLanes) == 0;
}

constexpr int kGroupsAhead = 6;  // steps that memory is asked for in advance, those of the next group included

// Ask for n floats at p, of a group's matrices, in the last kGroupsAhead steps of `steps`: a share when `left` are to come.
template <bool kWrite>
SRWM_INLINE void fetch_share(const float* p, int64_t n, int left, int steps) {
    const int parts = steps < kGroupsAhead ? steps : kGroupsAhead;
    fetch<kWrite, 2>(p + n * left / parts, static_cast<int>(n / parts) + 16);
}

// Call f(first vector, number of vectors as a compile-time number) for blocks of nearly equal width, at most kWide.
template <int kWide, class F>
SRWM_INLINE void for_column_blocks(int columns, F&& f) {
    const int blocks = (columns + kWide - 1) / kWide;
    for (int b = 0, first = 0; b < blocks; ++b) {
        const int width = columns / blocks + (b < columns % blocks);
        with_width<kWide>(width, [&](auto n) { f(first, n); });
        first += width;
    }
}

}  // namespace SRWM_ISA_NAME
