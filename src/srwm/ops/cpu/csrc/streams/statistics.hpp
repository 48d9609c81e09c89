// Running statistics of the features, as srwm/streams/statistics.py defines them, and the state that holds them.
#pragma once

#include <cmath>

#include "api.h"

namespace srwm {

// The parts of a state; see api.h.
template <class Byte, class Double, class Integer, class Float>
struct StreamStateOf {
    Double *number, *origin, *total, *squares;
    Integer* count;
    Float* memory;
    Byte* seen;
    StreamStateOf(const srwm_stream& p, Byte* state)
        : number(reinterpret_cast<Double*>(state)), origin(number + p.features), total(origin + p.features),
          squares(total + p.features), count(reinterpret_cast<Integer*>(squares + p.features)),
          memory(reinterpret_cast<Float*>(count + 1)),
          seen(reinterpret_cast<Byte*>(memory + p.layers * p.width * (p.width / p.heads))) {}
};
using StreamState = StreamStateOf<uint8_t, double, int64_t, float>;
using ConstStreamState = StreamStateOf<const uint8_t, const double, const int64_t, const float>;

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
