// Running statistics of the features, as srwm/streams/statistics.py defines them, and the state that holds them.
#pragma once

#include <cmath>

#include "api.h"

namespace srwm {

constexpr int64_t expert_sums(const srwm_experts& p) {
    const int64_t side = p.features + 1;
    return 2 * (p.classes * (1 + 2 * p.features) + side * (side + p.classes) + SRWM_EXPERTS);
}
constexpr int64_t expert_sums(const srwm_stream& p) {
    return p.window ? expert_sums(srwm_experts{p.features, p.classes, p.window}) : 0;
}

// The parts of a state; see api.h.
template <class Byte, class Double, class Integer, class Float, class Short>
struct StreamStateOf {
    Double *number, *origin, *total, *squares;
    Integer* count;
    Double* sums;
    Float *memory, *window;
    Short* window_labels;
    Byte* seen;
    StreamStateOf(const srwm_stream& p, Byte* state)
        : number(reinterpret_cast<Double*>(state)), origin(number + p.features), total(origin + p.features),
          squares(total + p.features), count(reinterpret_cast<Integer*>(squares + p.features)),
          sums(reinterpret_cast<Double*>(count + 1)), memory(reinterpret_cast<Float*>(sums + expert_sums(p))),
          window(memory + p.layers * p.width * (p.width / p.heads)),
          window_labels(reinterpret_cast<Short*>(window + p.features * p.window)),
          seen(reinterpret_cast<Byte*>(window_labels + p.window)) {}
};
using StreamState = StreamStateOf<uint8_t, double, int64_t, float, int32_t>;
using ConstStreamState = StreamStateOf<const uint8_t, const double, const int64_t, const float, const int32_t>;

// Feature i by the statistics before it; NaN stays NaN.
inline float standardized(const srwm_stream& p, const ConstStreamState& s, int64_t i, double x) {
    const double value = s.number[i] == 0.0 ? 0.0 : x - s.origin[i], count = s.number[i] + 1.0;
    const double mean = (s.total[i] + value) / count;
    const double variance = (s.squares[i] + value * value) / count - mean * mean;
    const double deviation = variance <= p.noise * (mean * mean) ? HUGE_VAL : std::sqrt(variance);
    const double z = (value - mean) / deviation;
    return static_cast<float>(z < -p.limit ? -p.limit : z > p.limit ? p.limit : z);
}

// Statistics of feature i after the value x.
inline void follow(const srwm_stream& p, const ConstStreamState& s, int64_t i, double x, StreamState& out) {
    const double origin = s.number[i] == 0.0 ? x : s.origin[i], value = x - origin;
    const double kept = s.number[i] >= p.memory ? 1.0 - 1.0 / p.memory : 1.0;
    out.origin[i] = origin;
    out.number[i] = s.number[i] * kept + 1.0;
    out.total[i] = s.total[i] * kept + value;
    out.squares[i] = s.squares[i] * kept + value * value;
}

}  // namespace srwm
