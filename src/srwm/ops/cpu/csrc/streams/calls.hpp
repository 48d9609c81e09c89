// A question and an example of a stream.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/instruction_sets.hpp"
#include "streams/statistics.hpp"

namespace srwm {

struct StreamFeatures {
    const double* x;
    const uint8_t* present;
};

// What goes into the features' network: standardized features, which of them are there, how many samples were shown.
inline std::vector<float> stream_inputs(const srwm_stream& p, const ConstStreamState& s, const StreamFeatures& features) {
    std::vector<float> inputs(2 * p.features + 1);
    for (int64_t i = 0; i < p.features; ++i)
        if (features.present[i]) {
            inputs[i] = standardized(p, s, i, features.x[i]);
            inputs[p.features + i] = 1.0f;
        }
    inputs.back() = std::log(static_cast<float>(std::min(*s.count + 1, p.max_count))) / 6.0f;
    return inputs;
}

inline void stream_question(const srwm_stream& p, const float* weights, const StreamFeatures& features, const uint8_t* state,
                            float* logits) {
    const ConstStreamState s(p, state);
    if (std::none_of(s.seen, s.seen + p.classes, [](uint8_t seen) { return seen; })) {
        std::fill(logits, logits + p.classes, 0.0f);
        return;
    }
    const auto inputs = stream_inputs(p, s, features);
    selected->stream_step(p, {weights, inputs.data(), p.classes, s.memory, nullptr, logits});
    for (int64_t c = 0; c < p.classes; ++c)
        if (!s.seen[c]) logits[c] = -HUGE_VALF;
}

inline void stream_example(const srwm_stream& p, const float* weights, const StreamFeatures& features, const uint8_t* state,
                           int64_t label, uint8_t* state_out) {
    const ConstStreamState s(p, state);
    StreamState out(p, state_out);
    const auto inputs = stream_inputs(p, s, features);
    selected->stream_step(p, {weights, inputs.data(), label, s.memory, out.memory, nullptr});
    std::memmove(out.number, s.number, 4 * sizeof(double) * p.features);
    for (int64_t i = 0; i < p.features; ++i)
        if (features.present[i]) follow(p, s, i, features.x[i], out);
    *out.count = *s.count + 1;
    std::memmove(out.seen, s.seen, p.classes);
    out.seen[label] = 1;
}

}  // namespace srwm
