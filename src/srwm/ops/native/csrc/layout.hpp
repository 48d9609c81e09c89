// How a matrix lies in scratch memory: in blocks of a few vectors of columns, each block contiguous over its rows.
#pragma once

#include <cstdlib>
#include <initializer_list>
#include <new>
#include <type_traits>

#include "simd.hpp"

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

// Memory of one thread for one call, handed out in aligned pieces. A thread keeps what it needed for its next call: asking the
// system for it again and again costs more than a short call computes.
class Scratch {
public:
    // A matrix that is written before it is read.
    float* take(int64_t floats) {
        const int64_t bytes = (floats * static_cast<int64_t>(sizeof(float)) + 127) / 64 * 64;
        used_ += bytes;
        if (used_ <= kept().bytes) return reinterpret_cast<float*>(kept().start + used_ - bytes);
        extra_[extras_] = allocate(bytes);
        return static_cast<float*>(extra_[extras_++]);
    }
    // A row whose padding is read, too.
    float* take_zeros(int64_t floats) {
        float* p = take(floats);
        std::memset(p, 0, sizeof(float) * floats);
        return p;
    }
    Scratch() = default;
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() {
        if (!extras_) return;
        while (extras_) std::free(extra_[--extras_]);
        std::free(kept().start);
        kept().bytes = 0;
        kept().start = static_cast<char*>(std::aligned_alloc(64, used_));
        if (kept().start) kept().bytes = used_;
    }

private:
    struct Kept {
        char* start = nullptr;
        int64_t bytes = 0;
        ~Kept() { std::free(start); }
    };
    static Kept& kept() {
        static thread_local Kept memory;
        return memory;
    }
    static void* allocate(int64_t bytes) {
        void* p = std::aligned_alloc(64, bytes);
        if (!p) throw std::bad_alloc();
        return p;
    }

    void* extra_[48];
    int extras_ = 0;
    int64_t used_ = 0;
};

}  // namespace SRWM_ISA_NAME
