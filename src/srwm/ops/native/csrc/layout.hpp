// How a matrix lies in scratch memory: in blocks of a few vectors of columns, each block contiguous over its rows.
#pragma once

#include <cstdlib>
#include <initializer_list>
#include <new>
#include <type_traits>

#include "simd.hpp"

namespace SRWM_ISA_NAME {

// A matrix of `rows` x `columns`; columns are padded to whole vectors and split into blocks of nearly equal width.
struct Blocked {
    int rows, columns, vectors, blocks;
    Blocked(int rows_, int columns_, int widest)
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
            const int start = first(b) * kLanes, end = start + width(b) * kLanes;
            for (int r = 0; r < rows; ++r) {
                const int64_t row = static_cast<int64_t>(r) * columns;
                int c = start;
                for (; c < end && c < columns; ++c) *out++ = more ? from[row + c] + more[row + c] : from[row + c];
                for (; c < end; ++c) *out++ = 0.0f;
            }
        }
    }
    // `to` = the transpose of `from` (+ `more`): from is dense, columns x rows of this matrix.
    void pack_transposed(float* to, const float* from, const float* more = nullptr) const {
        for (int b = 0; b < blocks; ++b) {
            float* out = at(to, b);
            const int start = first(b) * kLanes, stride = width(b) * kLanes;
            for (int c = start; c < start + stride; ++c) {
                const float* source = from + static_cast<int64_t>(c) * rows;
                const float* second = more ? more + static_cast<int64_t>(c) * rows : nullptr;
                for (int r = 0; r < rows; ++r)
                    out[static_cast<int64_t>(r) * stride + c - start] =
                        c >= columns ? 0.0f : second ? source[r] + second[r] : source[r];
            }
        }
    }
    // Dense `to` = the matrix.
    void unpack(float* to, const float* from) const {
        for (int b = 0; b < blocks; ++b) {
            const int start = first(b) * kLanes, stride = width(b) * kLanes;
            const int count = (columns < start + stride ? columns : start + stride) - start;
            const float* in = at(from, b);
            for (int r = 0; r < rows; ++r, in += stride)
                std::memcpy(to + static_cast<int64_t>(r) * columns + start, in, sizeof(float) * count);
        }
    }
};

constexpr int kWidest = 4;  // vectors of a block where a pass keeps several sets of them in registers

// Call f with the width of a block, at most kWidest, as a compile-time number.
template <int kWidest, class F>
inline void with_width(int width, F&& f) {
    if constexpr (kWidest > 1)
        if (width < kWidest) return with_width<kWidest - 1>(width, f);
    f(std::integral_constant<int, kWidest>{});
}

// Memory of one thread for one call, handed out in aligned, zeroed pieces.
class Scratch {
public:
    float* take(int64_t floats) {
        const int64_t bytes = (floats * static_cast<int64_t>(sizeof(float)) + 127) / 64 * 64;
        void* p = std::aligned_alloc(64, bytes);
        if (!p) throw std::bad_alloc();
        std::memset(p, 0, bytes);
        pieces_[used_++] = p;
        return static_cast<float*>(p);
    }
    Scratch() = default;
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() {
        while (used_) std::free(pieces_[--used_]);
    }

private:
    void* pieces_[48];
    int used_ = 0;
};

}  // namespace SRWM_ISA_NAME
