// One sample through a model of streams: features, blocks of the delta rule, logits.
#pragma once

#include "core/scratch.hpp"
#include "kernels.hpp"
#include "streams/heads.hpp"
#include "streams/layers.hpp"

namespace SRWM_ISA_NAME {

class StreamStep {
public:
    StreamStep(const srwm_stream& p, const srwm::StreamSample& s)
        : p_(p), s_(s), width_(static_cast<int>(p.width)), heads_(static_cast<int>(p.heads)), e_(width_ / heads_),
          weights_(s.weights), h_(take(width_)), normed_(take(width_)),
          hidden_(take(larger(columns_of_logits(), larger(p.hidden, 2 * width_)))), slow_(take(3 * width_ + heads_)),
          y_(take(width_)), before_(take(width_)) {}

    void run() {
        features();
        for (int64_t layer = 0; layer < p_.layers; ++layer) {
            const int64_t at = layer * width_ * e_;
            const bool ends = s_.memory_out && layer + 1 == p_.layers;  // nobody needs its output
            delta(s_.memory + at, s_.memory_out ? s_.memory_out + at : nullptr, ends);
            if (ends) return;
            if (p_.hidden) feed_forward();
        }
        if (s_.logits) logits();
    }

private:
    int64_t columns_of_logits() const { return p_.classes + (p_.window ? SRWM_EXPERTS : 0); }
    static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
    float* take(int64_t n) { return scratch_.take(n + kRoom); }

    void norm() {
        const float *gain = weights_.vector(width_), *bias = weights_.vector(width_);
        layer_norm(h_, width_, gain, bias, p_.norm_eps, normed_);
    }

    // out = x M + bias
    void linear(int64_t rows, int64_t columns, const float* x, float* out) {
        const float* matrix = weights_.matrix(rows, columns);
        const float* bias = weights_.vector(columns);
        product(matrix, static_cast<int>(rows), static_cast<int>(columns), static_cast<int>(columns), x, bias, out);
    }

    void features() {
        const int64_t inputs = 2 * p_.features + 1 + (p_.window ? SRWM_EXPERTS * (p_.classes + 2) : 0);
        linear(inputs, 2 * width_, s_.inputs, hidden_);
        gelu(hidden_, 2 * width_);
        linear(2 * width_, width_, hidden_, h_);
        const float* labels = weights_.matrix(p_.classes + 1, width_);
        add(h_, labels + s_.label * padded(width_), width_);
        norm();
        copy(h_, normed_, width_);
    }

    // The columns of the slow matrix: keys, values, learning rates, queries; of each those of all heads.
    void delta(const float* memory, float* memory_out, bool ends) {
        norm();
        const int columns = 3 * width_ + heads_, asked = columns - width_;
        product(weights_.matrix(width_, columns), width_, columns, ends ? asked : columns, normed_, nullptr, slow_);
        float *keys = slow_, *values = slow_ + width_, *rates = slow_ + 2 * width_, *queries = ends ? keys : slow_ + asked;
        for (int i = 0; i < heads_; i += kLanes)
            store_exactly(rates + i, sigmoid(load_exactly(rates + i, heads_ - i)), heads_ - i);
        for (int i = 0; i < heads_; ++i) {
            const int at = i * e_;
            const float* state = memory + static_cast<int64_t>(at) * e_;
            float *k = keys + at, *q = queries + at, *v = values + at, *y = y_ + at;
            phi(k);
            if (!ends) phi(q);
            read(state, e_, q, k, y, before_);
            for (int j = 0; j < e_; ++j) v[j] = rates[i] * (v[j] - before_[j]);
            if (memory_out) write(memory_out + static_cast<int64_t>(at) * e_, state, e_, k, v);
            const float match = dot(q, k, e_);
            for (int j = 0; j < e_; ++j) y[j] += match * v[j];
        }
        if (!ends) product(weights_.matrix(width_, width_), width_, width_, width_, y_, h_, h_);
    }

    void phi(float* x) const {
        if (p_.l2_features)
            l2_features(x, e_);
        else
            elu_features(x, e_, p_.feature_eps);
    }

    void feed_forward() {
        norm();
        linear(width_, p_.hidden, normed_, hidden_);
        relu(hidden_, static_cast<int>(p_.hidden));
        const float* matrix = weights_.matrix(p_.hidden, width_);
        add(h_, weights_.vector(width_), width_);
        product(matrix, static_cast<int>(p_.hidden), width_, width_, hidden_, h_, h_);
    }

    void logits() {
        norm();
        linear(width_, columns_of_logits(), normed_, hidden_);
        copy_exactly(s_.logits, hidden_, static_cast<int>(p_.classes));
        if (!s_.answers) return;
        for (int e = 0; e < SRWM_EXPERTS; ++e)
            for (int64_t c = 0; c < p_.classes; ++c) s_.logits[c] += hidden_[p_.classes + e] * s_.answers[e * p_.classes + c];
    }

    const srwm_stream& p_;
    const srwm::StreamSample& s_;
    const int width_, heads_, e_;
    Weights weights_;
    Scratch scratch_;
    float *h_, *normed_, *hidden_, *slow_, *y_, *before_;
};

}  // namespace SRWM_ISA_NAME
