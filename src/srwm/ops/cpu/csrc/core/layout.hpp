// How a matrix lies in scratch memory: in blocks of a few vectors of columns, each block contiguous over its rows.
#pragma once

#include <cstdint>
#include <type_traits>

#include "simd/vectors.hpp"

namespace SRWM_ISA_NAME {

constexpr int kAhead = 6;      // steps that memory is asked for in advance
constexpr int kRowsAhead = 3;  // the same for what is kept of a step

// A matrix of `rows` x `columns`; columns are padded to whole vectors and split into blocks of nearly equal width.
struct Blocked {
    int rows, columns, vectors, blocks;
    constexpr Blocked(int rows_, int columns_, int widest)
        : rows(rows_), columns(columns_), vectors(whole_vectors(columns_)), blocks((vectors + widest - 1) / widest) {}
    int padded() const { return vectors * kLanes; }
    int64_t size() const { return static_cast<int64_t>(rows) * padded(); }
    int width(int block) const { return vectors / blocks + (block < vectors % blocks); }
    int first(int block) const {  // the first vector of a block
        const int wide = vectors % blocks;
        return block * (vectors / blocks) + (block < wide ? block : wide);
    }
    float* at(float* matrix, int block) const { return matrix + static_cast<int64_t>(first(block)) * kLanes * rows; }
    const float* at(const float* matrix, int block) const {
        return matrix + static_cast<int64_t>(first(block)) * kLanes * rows;
    }

    // `to` = `from` (+ `more`, when given), both dense row by row, with zeros in the padding.
    void pack(float* to, const float* from, const float* more = nullptr) const {
        for (int b = 0; b < blocks; ++b) {
            float* out = at(to, b);
            for (int r = 0; r < rows; ++r)
                for (int v = 0; v < width(b); ++v, out += kLanes) {
                    const int c = (first(b) + v) * kLanes, n = columns - c;
                    const int64_t source = static_cast<int64_t>(r) * columns + c;
                    vf value = load_exactly(from + source, n);
                    if (more) value = value + load_exactly(more + source, n);
                    store(out, value);
                }
        }
    }
    // `to` = the transpose of `from` (+ `more`): these are dense, columns x rows of this matrix.
    void pack_transposed(float* to, const float* from, const float* more = nullptr) const {
        vf tile[kLanes];
        for (int b = 0; b < blocks; ++b)
            for (int v = 0; v < width(b); ++v)
                for (int r = 0; r < rows; r += kLanes) {
                    const int c = (first(b) + v) * kLanes;
                    for (int i = 0; i < kLanes; ++i) {
                        const int64_t source = static_cast<int64_t>(c + i) * rows + r;
                        tile[i] = set1(0.0f);
                        if (c + i >= columns) continue;
                        tile[i] = load_exactly(from + source, rows - r);
                        if (more) tile[i] = tile[i] + load_exactly(more + source, rows - r);
                    }
                    transpose(tile);
                    for (int i = 0; i < kLanes && r + i < rows; ++i)
                        store(at(to, b) + (static_cast<int64_t>(r + i) * width(b) + v) * kLanes, tile[i]);
                }
    }
    // Dense `to` = the matrix.
    void unpack(float* to, const float* from) const {
        for (int b = 0; b < blocks; ++b) {
            const float* in = at(from, b);
            for (int r = 0; r < rows; ++r)
                for (int v = 0; v < width(b); ++v, in += kLanes) {
                    const int c = (first(b) + v) * kLanes;
                    store_exactly(to + static_cast<int64_t>(r) * columns + c, load(in), columns - c);
                }
        }
    }
};

// Call f with the width of a block, at most kWidest, as a compile-time number.
template <int kWidest, class F>
inline void with_width(int width, F&& f) {
    if constexpr (kWidest > 1)
        if (width < kWidest) return with_width<kWidest - 1>(width, f);
    f(std::integral_constant<int, kWidest>{});
}

}  // namespace SRWM_ISA_NAME
