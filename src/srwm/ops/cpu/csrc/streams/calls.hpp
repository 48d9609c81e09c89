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

// What goes into the features' network, and the experts' answers.
struct StreamInputs {
    std::vector<float> inputs, answers;
    const float* answers_or_null() const { return answers.empty() ? nullptr : answers.data(); }
};

// Of a sample whose label, where it is not below 0, the experts learn in their state.
inline StreamInputs stream_inputs(const srwm_stream& p, const ConstStreamState& s, const StreamFeatures& features,
                                  const ExpertState& experts, int64_t label, uint8_t* seen) {
    const int64_t before = 2 * p.features + 1, answers = p.window ? SRWM_EXPERTS * p.classes : 0;
    StreamInputs all{std::vector<float>(before + answers + (p.window ? 2 * SRWM_EXPERTS : 0)), std::vector<float>(answers)};
    float* inputs = all.inputs.data();
    for (int64_t i = 0; i < p.features; ++i)
        if (features.present[i]) {
            inputs[i] = standardized(p, s, i, features.x[i]);
            inputs[p.features + i] = 1.0f;
        }
    inputs[before - 1] = std::log(static_cast<float>(std::min(*s.count + 1, p.max_count))) / 6.0f;
    if (!p.window) return all;
    float* losses = inputs + before + answers;
    const ExpertSamples sample{inputs, inputs, &label, 1, all.answers.data(), nullptr, losses};
    selected->follow_experts(srwm_experts{p.features, p.classes, p.window}, experts, sample, *s.count, seen);
    for (int64_t i = 0; i < answers; ++i) inputs[before + i] = all.answers[i] / 4.0f;
    for (int64_t i = 0; i < 2 * SRWM_EXPERTS; ++i) losses[i] -= 1.0f;
    return all;
}

inline void stream_question(const srwm_stream& p, const float* weights, const StreamFeatures& features, const uint8_t* state,
                            float* logits) {
    const ConstStreamState s(p, state);
    if (std::none_of(s.seen, s.seen + p.classes, [](uint8_t seen) { return seen; })) {
        std::fill(logits, logits + p.classes, 0.0f);
        return;
    }
    const StreamState same(p, const_cast<uint8_t*>(state));  // not written: nothing is learned
    const auto all = stream_inputs(p, s, features, {same.sums, same.window, same.window_labels}, -1, same.seen);
    selected->stream_step(p, {weights, all.inputs.data(), all.answers_or_null(), p.classes, s.memory, nullptr, logits});
    for (int64_t c = 0; c < p.classes; ++c)
        if (!s.seen[c]) logits[c] = -HUGE_VALF;
}

inline void stream_example(const srwm_stream& p, const float* weights, const StreamFeatures& features, const uint8_t* state,
                           int64_t label, uint8_t* state_out) {
    const ConstStreamState s(p, state);
    StreamState out(p, state_out);
    if (state != state_out) {
        std::memcpy(out.sums, s.sums, sizeof(double) * expert_sums(p));
        std::memcpy(out.window, s.window, (sizeof(float) * p.features + sizeof(int32_t)) * p.window);
        std::memcpy(out.seen, s.seen, p.classes);
    }
    const auto all = stream_inputs(p, s, features, {out.sums, out.window, out.window_labels}, label, out.seen);
    selected->stream_step(p, {weights, all.inputs.data(), nullptr, label, s.memory, out.memory, nullptr});
    std::memmove(out.number, s.number, 4 * sizeof(double) * p.features);
    for (int64_t i = 0; i < p.features; ++i)
        if (features.present[i]) follow(p, s, i, features.x[i], out);
    *out.count = *s.count + 1;
    out.seen[label] = 1;
}

}  // namespace srwm
