// Calls of the pools: shared out over threads, and what is computed once for all images.
#pragma once

#include <cmath>
#include <cstring>
#include <vector>

#include "core/instruction_sets.hpp"
#include "core/parallel.hpp"

namespace srwm {

// Sums over images, (2, channels), by threads that are added in their order.
template <class F>
std::vector<double> summed_over_images(const srwm_norm_pool& p, int threads, F&& f) {
    std::vector<std::vector<double>> sums(threads, std::vector<double>(2 * p.channels));
    share(threads, p.images, [&](int thread, int64_t first, int64_t last) { f(first, last, sums[thread].data()); });
    for (int thread = 1; thread < threads; ++thread)
        for (int64_t c = 0; c < 2 * p.channels; ++c) sums[0][c] += sums[thread][c];
    return sums[0];
}

template <class Problem>
int threads_for_images(const Problem& p) {
    return useful_threads(p.threads, p.images, static_cast<double>(p.height * p.width * p.channels));
}

inline float pixel(const srwm_norm_pool& p, const void* x, int64_t i) {
    if (!p.half) return static_cast<const float*>(x)[i];
    const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(x)[i]) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

inline void norm_pool_forward(const srwm_norm_pool& p, const srwm_norm_pool_forward_arrays& a) {
    const int threads = threads_for_images(p);
    const double count = static_cast<double>(p.images * p.height * p.width);
    std::vector<float> pivots(p.channels), scales(p.channels), shifts(p.channels);
    for (int64_t c = 0; c < p.channels; ++c) pivots[c] = pixel(p, a.x, c);  // so that squares do not cancel
    const auto& kernels = selected->norm_pool;
    const auto sums = summed_over_images(
        p, threads, [&](int64_t first, int64_t last, double* to) { kernels.reduce(p, a, pivots.data(), first, last, to); });
    for (int64_t c = 0; c < p.channels; ++c) {
        const double mean = sums[c] / count, found = sums[p.channels + c] / count - mean * mean;
        const double variance = found < 0.0 ? 0.0 : found;  // what is no number stays so
        a.mean[c] = static_cast<float>(pivots[c] + mean);
        a.variance[c] = static_cast<float>(variance);
        const double scale = a.weight[c] / std::sqrt(variance + p.eps);
        scales[c] = static_cast<float>(scale);
        shifts[c] = static_cast<float>(a.bias[c] - (pivots[c] + mean) * scale);
    }
    share(threads, p.images,
          [&](int, int64_t first, int64_t last) { kernels.finish(p, a, scales.data(), shifts.data(), first, last); });
}

inline void norm_pool_backward(const srwm_norm_pool& p, const srwm_norm_pool_backward_arrays& a) {
    const int threads = threads_for_images(p);
    const double count = static_cast<double>(p.images * p.height * p.width);
    std::vector<float> scales(p.channels), slopes(p.channels), levels(p.channels);
    const auto& kernels = selected->norm_pool;
    const auto sums = summed_over_images(
        p, threads, [&](int64_t first, int64_t last, double* to) { kernels.gradient_sums(p, a, first, last, to); });
    for (int64_t c = 0; c < p.channels; ++c) {
        const double deviation = std::sqrt(static_cast<double>(a.variance[c]) + p.eps);
        const double grad_bias = sums[c], grad_weight = sums[p.channels + c] / deviation;
        const double scale = a.weight[c] / deviation, slope = -scale * grad_weight / deviation / count;
        a.grad_bias[c] = static_cast<float>(grad_bias);
        a.grad_weight[c] = static_cast<float>(grad_weight);
        scales[c] = static_cast<float>(scale);
        slopes[c] = static_cast<float>(slope);
        levels[c] = static_cast<float>(-scale * grad_bias / count - slope * a.mean[c]);
    }
    share(threads, p.images, [&](int, int64_t first, int64_t last) {
        kernels.gradient(p, a, scales.data(), slopes.data(), levels.data(), first, last);
    });
}

inline void max_pool_forward(const srwm_max_pool& p, const srwm_max_pool_forward_arrays& a) {
    share(threads_for_images(p), p.images,
          [&](int, int64_t first, int64_t last) { selected->max_pool_forward(p, a, first, last); });
}

inline void max_pool_backward(const srwm_max_pool& p, const srwm_max_pool_backward_arrays& a) {
    share(threads_for_images(p), p.images,
          [&](int, int64_t first, int64_t last) { selected->max_pool_backward(p, a, first, last); });
}

}  // namespace srwm
