// Max-pool by windows of 3x3 pixels, every second row and column, with a border of one pixel that is never the largest, of images
// that lie channels last, float32 or bfloat16.
#pragma once

#include <cstring>
#include <type_traits>

#include "api.h"
#include "pooling/pixels.hpp"

namespace SRWM_ISA_NAME {

// Neighboring channels as their bits, which spares bfloat16 the way through float: 16 of them are one vector.
template <class Pixel>
struct PixelBits {
    using Bits = std::conditional_t<std::is_same_v<Pixel, float>, uint32_t, uint16_t>;
    static constexpr int kBytes = sizeof(vf) < 32 ? sizeof(vf) : 32;  // or bfloat16 would fill it with more than 16 channels
    static constexpr int kCount = kBytes / sizeof(Bits), kSign = 8 * sizeof(Bits) - 1;
    typedef Bits Vector __attribute__((vector_size(kBytes)));
    typedef std::make_signed_t<Bits> Signed __attribute__((vector_size(kBytes)));
    typedef uint32_t Words __attribute__((vector_size(kBytes)));
    typedef float Floats __attribute__((vector_size(kBytes)));

    SRWM_INLINE static Vector load(const Pixel* p) {
        Vector bits;
        std::memcpy(&bits, p, sizeof bits);
        return bits;
    }
    SRWM_INLINE static void store(Pixel* p, Vector bits) { std::memcpy(p, &bits, sizeof bits); }

    // Unsigned numbers in the order of the pixels, where -0 is less than 0 and what is no number is the largest; and back.
    SRWM_INLINE static Vector keys(Vector bits) { return turned(bits) + kOffset; }
    SRWM_INLINE static Vector of_keys(Vector keys) { return turned(keys - kOffset); }

    // The sum of floats; bfloat16 is rounded at the end alone, to nearest, ties to even.
    template <int kTerms>
    SRWM_INLINE static Vector sum(const Vector (&terms)[kTerms]) {
        if constexpr (kTerms == 1) return terms[0];
        if constexpr (sizeof(Bits) == 4) {
            Floats all = (Floats)terms[0];
            for (int i = 1; i < kTerms; ++i) all += (Floats)terms[i];
            return (Vector)all;
        }
        Floats low = lower(terms[0]), high = upper(terms[0]);
        for (int i = 1; i < kTerms; ++i) low += lower(terms[i]), high += upper(terms[i]);
        return (Vector)(rounded(low) >> 16 | (rounded(high) & 0xffff0000u));
    }

private:
    static constexpr Bits kMagnitude = static_cast<Bits>(~(Bits{1} << kSign));
    static constexpr Bits kNegativeNans = sizeof(Bits) == 4 ? 0x7fffff : 0x7f;  // which would be the least, but wrap around
    static constexpr Bits kOffset = static_cast<Bits>((Bits{1} << kSign) - kNegativeNans);

    // Negative numbers in the other order, as two's complement has them; and back.
    SRWM_INLINE static Vector turned(Vector bits) { return bits ^ ((Vector)((Signed)bits >> kSign) & kMagnitude); }
    SRWM_INLINE static Floats lower(Vector bits) { return (Floats)((Words)bits << 16); }
    SRWM_INLINE static Floats upper(Vector bits) { return (Floats)((Words)bits & 0xffff0000u); }
    // What is no number stays so: its lower half is zeros, as those of all that it came from.
    SRWM_INLINE static Words rounded(Floats v) { return (Words)v + 0x7fffu + ((Words)v >> 16 & 1u); }
};

template <class Pixel>
class MaxPool {
public:
    explicit MaxPool(const srwm_max_pool& p)
        : p_(p), pooled_height_((p.height + 1) / 2), pooled_width_((p.width + 1) / 2), row_(p.width * p.channels),
          pooled_row_(pooled_width_ * p.channels) {}

    // The largest pixel of every window and, with kPlaces, which of the nine it was: the first of equal ones.
    template <bool kPlaces>
    void forward(const srwm_max_pool_forward_arrays& a, int64_t first, int64_t last) const {
        for (int64_t n = first; n < last; ++n)
            for (int64_t i = 0; i < pooled_height_; ++i) {
                const Range rows(i, p_.height);
                const Pixel* middle = static_cast<const Pixel*>(a.x) + (n * p_.height + 2 * i) * row_;
                const int64_t to = (n * pooled_height_ + i) * pooled_row_;
                for (int64_t j = 0; j < pooled_width_; ++j) {
                    const Range columns(j, p_.width);
                    const Pixel* center = middle + 2 * j * p_.channels;
                    Pixel* y = static_cast<Pixel*>(a.y) + to + j * p_.channels;
                    uint8_t* places = kPlaces ? a.places + to + j * p_.channels : nullptr;
                    if (rows.whole() && columns.whole())
                        window<kPlaces>(center, Range(), Range(), y, places);
                    else
                        window<kPlaces>(center, rows, columns, y, places);
                }
            }
    }

    // Each pixel's gradient: the sum of those of the up to four windows whose largest it was.
    void backward(const srwm_max_pool_backward_arrays& a, int64_t first, int64_t last) const {
        for (int64_t n = first; n < last; ++n)
            for (int64_t r = 0; r < p_.height; ++r) {
                const int64_t to = (n * p_.height + r) * row_, from = (n * pooled_height_ + r / 2) * pooled_row_;
                if (r % 2 == 0)
                    gradient_row<1>(a, to, from, 1);
                else if (r / 2 + 1 < pooled_height_)
                    gradient_row<2>(a, to, from, 2);
                else
                    gradient_row<1>(a, to, from, 2);
            }
    }

private:
    using L = PixelBits<Pixel>;
    using Bits = typename L::Bits;
    using Vector = typename L::Vector;

    // Which of a window's three rows or columns, numbered from its middle, lie in the image.
    struct Range {
        int first = -1, end = 2;
        Range() = default;
        Range(int64_t window, int64_t size) : first(window == 0 ? 0 : -1), end(2 * window + 1 < size ? 2 : 1) {}
        bool whole() const { return first == -1 && end == 2; }
    };

    template <bool kPlaces>
    SRWM_INLINE void window(const Pixel* center, Range rows, Range columns, Pixel* y, uint8_t* places) const {
        for (int64_t c = 0; c < p_.channels; c += L::kCount) {
            Vector best = {}, place = {};
            for (int k = rows.first; k < rows.end; ++k)
                for (int l = columns.first; l < columns.end; ++l) {
                    const Vector key = L::keys(L::load(center + k * row_ + l * p_.channels + c));
                    if (kPlaces) {
                        const Vector here = Vector{} + static_cast<Bits>(3 * (k + 1) + l + 1);
                        place = (k == rows.first && l == columns.first) ? here : key > best ? here : place;
                    }
                    best = key > best ? key : best;
                }
            L::store(y + c, L::of_keys(best));
            if (kPlaces) store_places(places + c, place);
        }
    }

    // The gradient of a row of pixels, from one or two rows of windows; it is row `middle` of the first, and row 0 of the second.
    template <int kRows>
    SRWM_INLINE void gradient_row(const srwm_max_pool_backward_arrays& a, int64_t to, int64_t from, int middle) const {
        for (int64_t c = 0; c < p_.channels; c += L::kCount) {
            Pixel* out = static_cast<Pixel*>(a.grad_x) + to + c;
            Vector gradient[kRows], place[kRows], even[kRows], odd[2 * kRows];
            auto read = [&](int64_t j) __attribute__((always_inline)) {
                for (int k = 0; k < kRows; ++k) {
                    const int64_t at = from + k * pooled_row_ + j * p_.channels + c;
                    gradient[k] = L::load(static_cast<const Pixel*>(a.grad_y) + at);
                    const Bits before = static_cast<Bits>(k ? 0 : 3 * middle);
                    place[k] = load_places<Vector>(a.places + at) - before;
                }
            };
            auto part = [&](int k, Bits wanted)
                            __attribute__((always_inline)) { return (Vector)(place[k] == wanted) & gradient[k]; };
            read(0);
            for (int64_t j = 0; j < pooled_width_; ++j, out += 2 * p_.channels) {
                for (int k = 0; k < kRows; ++k) even[k] = part(k, 1), odd[k] = part(k, 2), odd[kRows + k] = Vector{};
                L::store(out, L::sum(even));
                if (2 * j + 1 == p_.width) break;
                if (j + 1 < pooled_width_) {
                    read(j + 1);
                    for (int k = 0; k < kRows; ++k) odd[kRows + k] = part(k, 0);
                }
                L::store(out + p_.channels, L::sum(odd));
            }
        }
    }

    const srwm_max_pool& p_;
    int64_t pooled_height_, pooled_width_, row_, pooled_row_;
};

}  // namespace SRWM_ISA_NAME
