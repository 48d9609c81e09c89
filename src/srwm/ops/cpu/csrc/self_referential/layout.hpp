// Sizes of a self-referential weight matrix, and what backward keeps of a step.
#pragma once

#include "simd/vectors.hpp"

namespace SRWM_ISA_NAME {

struct Size {
    int e, d;
    constexpr Size(int e_, int d_) : e(e_), d(d_) {}
    int m() const { return d + 2 * e + 4; }
    int e16() const { return (e + 15) / 16 * 16; }
    int row() const { return 2 * e16() + (m() + 4 + 15) / 16 * 16; }

    // For every column the lane of its learning rate, those of y, q, k and beta being the last four; in the padding a zero.
    void fill_sections(int32_t* sections, int padded) const {
        for (int c = 0; c < padded; ++c)
            sections[c] = c < m() ? kLanes - 4 + (c < d ? 0 : c < d + e ? 1 : c < d + 2 * e ? 2 : 3) : kNoRate;
    }
};

// phi(q), phi(k), W (phi(q) - phi(k)) and the four learning rates of one step; the same for every instruction set.
struct SavedRow {
    float *phi_q, *phi_k, *difference, *sigma, *end;
    SRWM_INLINE SavedRow(float* row, const Size& size)
        : phi_q(row), phi_k(row + size.e16()), difference(row + 2 * size.e16()), sigma(difference + size.m()),
          end(row + size.row()) {}
};

}  // namespace SRWM_ISA_NAME
