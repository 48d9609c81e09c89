// Batch normalization by the batch's own statistics, 2x2 max-pool, dropout and ReLU as one operation on images that lie channels
// last, float32 or bfloat16. The images are read once forward and once backward, pooled ones once more each way.
//
// A pooled maximum commutes with the normalization, which is increasing or, where its weight is negative, decreasing: so the pool
// comes first, of images times the weight's sign.
#pragma once

#include "api.h"
#include "pooling/pixels.hpp"

namespace SRWM_ISA_NAME {

typedef uint32_t vw __attribute__((vector_size(sizeof(vf))));
typedef uint16_t vh __attribute__((vector_size(sizeof(vf) / 2)));

// A bfloat16 is the upper half of a float.
SRWM_INLINE vf load_pixels(const float* p) { return load(p); }
SRWM_INLINE vf load_pixels(const uint16_t* p) {
    vh half;
    std::memcpy(&half, p, sizeof half);
    return (vf)(__builtin_convertvector(half, vw) << 16);
}
SRWM_INLINE void store_pixels(float* p, vf v) { store(p, v); }
SRWM_INLINE void store_pixels(uint16_t* p, vf v) {  // rounds to nearest, ties to even
    const vw bits = (vw)v, nan = (vw)(v != v);
    const vw rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const vh half = __builtin_convertvector((nan & 0x7fc0) | (~nan & rounded), vh);
    std::memcpy(p, &half, sizeof half);
}
SRWM_INLINE vw either(vw condition, vw a, vw b) { return (condition & a) | (~condition & b); }
SRWM_INLINE vf only(vw condition, vf v) { return (vf)(condition & (vw)v); }

// Every bit of the result depends on every bit of the seed: the finaliser of SplitMix64 (Steele et al., 2014).
inline uint64_t mixed(uint64_t seed) {
    seed = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9u;
    seed = (seed ^ (seed >> 27)) * 0x94d049bb133111ebu;
    return seed ^ (seed >> 31);
}

// A number for each lane that is as good as random: the finaliser of MurmurHash3 (Appleby, public domain) over a count.
SRWM_INLINE vw random_bits(uint64_t first, uint64_t seed) {
    vw bits;
    for (int i = 0; i < kLanes; ++i) bits[i] = static_cast<uint32_t>(i);
    bits += static_cast<uint32_t>(first) + static_cast<uint32_t>(seed);
    bits = (bits ^ (bits >> 16)) * 0x85ebca6bu;
    bits ^= static_cast<uint32_t>((seed ^ first) >> 32);
    bits = (bits ^ (bits >> 13)) * 0xc2b2ae35u;
    return bits ^ (bits >> 16);
}

constexpr uint32_t kNoGradient =
    4;  // a place whose output is 0 whatever comes in; else which of the four pixels is the largest

template <class Pixel>
class NormPool {
public:
    explicit NormPool(const srwm_norm_pool& p)
        : p_(p), row_(p.width * p.channels), pooled_height_(p.height / 2), pooled_width_(p.width / 2), image_(p.height * row_),
          pooled_image_(pooled_height_ * pooled_width_ * p.channels), seed_(mixed(p.seed)) {}

    // sums += those of pixel - pivot and of its square, (2, channels); the largest pixels and their places.
    void reduce(const srwm_norm_pool_forward_arrays& a, const float* pivots, int64_t first, int64_t last, double* sums) const {
        for (int64_t n = first; n < last; ++n)
            for (int64_t i = 0; i < p_.height; i += 2)
                for (int64_t c = 0; c < p_.channels; c += kLanes) {
                    const Pixel* top = static_cast<const Pixel*>(a.x) + n * image_ + i * row_ + c;
                    const vf pivot = load(pivots + c);
                    vf sum = set1(0.0f), squares = set1(0.0f);
                    auto count = [&](vf v) __attribute__((always_inline)) {
                        const vf distance = v - pivot;
                        sum = sum + distance, squares = fma(distance, distance, squares);
                    };
                    if (i + 1 < p_.height) {
                        const int64_t to = n * pooled_image_ + i / 2 * pooled_width_ * p_.channels + c;
                        pool_row(top, load(a.weight + c), static_cast<Pixel*>(a.pooled) + to, a.places + to, count);
                    } else {
                        for (int64_t j = 0; j < p_.width; ++j) count(load_pixels(top + j * p_.channels));
                    }
                    for (int lane = 0; lane < kLanes; ++lane) {
                        sums[c + lane] += static_cast<double>(sum[lane]);
                        sums[p_.channels + c + lane] += static_cast<double>(squares[lane]);
                    }
                }
    }

    // y = ReLU(dropout(pooled * scale + shift)), and the places that pass no gradient.
    void finish(const srwm_norm_pool_forward_arrays& a, const float* scales, const float* shifts, int64_t first,
                int64_t last) const {
        const vf grow = set1(p_.grow), zero = set1(0.0f);
        for (int64_t at = first * pooled_image_; at < last * pooled_image_; at += p_.channels)
            for (int64_t c = 0; c < p_.channels; c += kLanes) {
                const vf pooled = load_pixels(static_cast<const Pixel*>(a.pooled) + at + c);
                const vf z = fma(pooled, load(scales + c), load(shifts + c));
                vw dead = (vw)(z <= zero);
                if (p_.drop_below) dead |= (vw)(random_bits(static_cast<uint64_t>(at + c), seed_) < p_.drop_below);
                store_pixels(static_cast<Pixel*>(a.y) + at + c, only(~dead, z * grow));
                store_places(a.places + at + c, load_places<vw>(a.places + at + c) | (dead & kNoGradient));
            }
    }

    // sums += those of the outputs' gradient and of its product with pooled - mean, (2, channels).
    void gradient_sums(const srwm_norm_pool_backward_arrays& a, int64_t first, int64_t last, double* sums) const {
        const int64_t row = pooled_width_ * p_.channels;
        for (int64_t at = first * pooled_image_; at < last * pooled_image_; at += row)
            for (int64_t c = 0; c < p_.channels; c += kLanes) {
                const vf mean = load(a.mean + c);
                vf sum = set1(0.0f), products = set1(0.0f);
                for (int64_t j = at + c; j < at + row; j += p_.channels) {
                    const vf g = live_gradient(a, j);
                    sum = sum + g;
                    products = fma(g, load_pixels(static_cast<const Pixel*>(a.pooled) + j) - mean, products);
                }
                for (int lane = 0; lane < kLanes; ++lane) {
                    sums[c + lane] += static_cast<double>(sum[lane]);
                    sums[p_.channels + c + lane] += static_cast<double>(products[lane]);
                }
            }
    }

    // grad_x = slope * x + level, and where x was the largest of four scale * the output's gradient more.
    void gradient(const srwm_norm_pool_backward_arrays& a, const float* scales, const float* slopes, const float* levels,
                  int64_t first, int64_t last) const {
        for (int64_t n = first; n < last; ++n)
            for (int64_t i = 0; i < p_.height; i += 2)
                for (int64_t c = 0; c < p_.channels; c += kLanes) {
                    const int64_t top = n * image_ + i * row_ + c;
                    const vf scale = load(scales + c), slope = load(slopes + c), level = load(levels + c);
                    const Pixel* x = static_cast<const Pixel*>(a.x);
                    Pixel* out = static_cast<Pixel*>(a.grad_x);
                    auto plain = [&](int64_t at)
                                     __attribute__((always_inline)) { return fma(load_pixels(x + at), slope, level); };
                    const bool pair = i + 1 < p_.height;
                    const int64_t pooled = n * pooled_image_ + i / 2 * pooled_width_ * p_.channels + c;
                    for (int64_t j = 0; pair && j < pooled_width_; ++j) {
                        const int64_t at = top + 2 * j * p_.channels, to = pooled + j * p_.channels;
                        const vf g = live_gradient(a, to) * scale;
                        const vw place = load_places<vw>(a.places + to) & 3;
                        store_pixels(out + at, plain(at) + only((vw)(place == 0), g));
                        store_pixels(out + at + p_.channels, plain(at + p_.channels) + only((vw)(place == 1), g));
                        store_pixels(out + at + row_, plain(at + row_) + only((vw)(place == 2), g));
                        store_pixels(out + at + row_ + p_.channels, plain(at + row_ + p_.channels) + only((vw)(place == 3), g));
                    }
                    for (int64_t j = pair ? 2 * pooled_width_ : 0; j < p_.width; ++j)
                        for (int64_t at = top + j * p_.channels; at <= top + j * p_.channels + (pair ? row_ : 0); at += row_)
                            store_pixels(out + at, plain(at));
                }
    }

private:
    // Two rows of pixels at `top`, one of the pool; `count` sees every pixel.
    template <class Count>
    SRWM_INLINE void pool_row(const Pixel* top, vf weight, Pixel* pooled, uint8_t* places, Count&& count) const {
        const vw sign = (vw)weight & 0x80000000u,
                 flat = (vw)(weight == set1(0.0f));  // where the first pixel counts, as all are equal
        const Pixel* bottom = top + row_;
        for (int64_t j = 0; j < pooled_width_; ++j, top += 2 * p_.channels, bottom += 2 * p_.channels) {
            const Pixel* at[4] = {top, top + p_.channels, bottom, bottom + p_.channels};
            const vf first = load_pixels(at[0]);
            count(first);
            vf best = (vf)((vw)first ^ sign);
            vw place = {};
            for (uint32_t k = 1; k < 4; ++k) {
                const vf v = load_pixels(at[k]);
                count(v);
                const vf signed_v = (vf)((vw)v ^ sign);
                place = either((vw)(best < signed_v), vw{} + k, place);
                best = select_less(best, signed_v, signed_v, best);
            }
            store_pixels(pooled + j * p_.channels, (vf)either(flat, (vw)first, (vw)best ^ sign));
            store_places(places + j * p_.channels, place & ~flat);
        }
        if (p_.width % 2) count(load_pixels(top)), count(load_pixels(bottom));
    }

    // The gradient of what dropout and ReLU let through, of the normalized maximum.
    SRWM_INLINE vf live_gradient(const srwm_norm_pool_backward_arrays& a, int64_t at) const {
        const vw dead = (vw)(load_places<vw>(a.places + at) >= kNoGradient);
        return only(~dead, load_pixels(static_cast<const Pixel*>(a.grad_y) + at) * set1(p_.grow));
    }

    const srwm_norm_pool& p_;
    int64_t row_, pooled_height_, pooled_width_, image_, pooled_image_;
    uint64_t seed_;
};

}  // namespace SRWM_ISA_NAME
