// Simple learners of a stream, as srwm/streams/experts.py defines them: naive Bayes, least squares, nearest neighbors.
#pragma once

#include <cstring>

#include "core/scratch.hpp"
#include "kernels.hpp"
#include "simd/vectors.hpp"

namespace SRWM_ISA_NAME {

// The experts of one stream: their answers to samples and what they learn from examples, in its state, in place.
class Experts {
public:
    Experts(const srwm_experts& p, const srwm::ExpertState& s, int64_t number, const uint8_t* seen)
        : s_(s), features_(static_cast<int>(p.features)), classes_(static_cast<int>(p.classes)),
          window_(static_cast<int>(p.window)), side_(features_ + 1), number_(number), seen_(seen), used_(ints(features_)),
          nonzero_(ints(side_)), relevance_(scratch_.take(features_ + kLanes)), plain_(scratch_.take(window_ + kLanes)),
          weighted_(scratch_.take(window_ + kLanes)), scores_(scratch_.take(classes_)), x_(doubles(side_)),
          gain_(doubles(side_)), variance_(doubles(features_)) {
        find_used();
    }

    // Log-probabilities (experts, classes) of a sample's standardized features; zeros where no class was shown.
    void answer(const float* z, float* answers) {
        shown_ = 0;
        for (int c = 0; c < classes_; ++c) shown_ += seen_[c];
        if (!shown_) {
            std::memset(answers, 0, sizeof(float) * kExperts * classes_);
            return;
        }
        for (int rate = 0; rate < 2; ++rate, answers += classes_) bayes(z, rate, answers);
        for (int rate = 0; rate < 2; ++rate, answers += classes_) least_squares(z, rate, answers);
        distances(z);
        neighbors(plain_, window_, answers);
        neighbors(weighted_, window_, answers + classes_);
        neighbors(weighted_, kRecent, answers + 2 * classes_);
    }

    // `answers` are those to the same sample, before it.
    void learn(const float* z, int label, const float* answers, uint8_t* seen) {
        if (seen_[label])
            for (int e = 0; e < kExperts; ++e)
                for (int rate = 0; rate < 2; ++rate) {
                    double& loss = losses()[2 * e + rate];
                    loss += kLossRate[rate] * (-answers[e * classes_ + label] - loss);
                }
        for (int rate = 0; rate < 2; ++rate) {
            count_sums(z, label, rate);
            regress(z, label, rate);
        }
        const int64_t at = number_++ % window_;
        for (int f = 0; f < features_; ++f) s_.window[f * window_ + at] = z[f];
        s_.labels[at] = label;
        seen[label] = 1;
        find_used();
    }

    double* losses() { return s_.sums + 2 * classes_ * (1 + 2 * features_) + 2 * side_ * (side_ + classes_); }

private:
    static constexpr int kExperts = SRWM_EXPERTS, kRecent = 120, kNearest = 8;
    static constexpr double kBayesKept[2] = {1 - 1 / 500.0, 1 - 1 / 40.0}, kRegressionKept[2] = {1 - 1 / 1000.0, 1 - 1 / 100.0};
    static constexpr double kLossRate[2] = {0.05, 0.005};
    static constexpr float kFloor = -8.0f;

    int* ints(int64_t n) { return reinterpret_cast<int*>(scratch_.take(n)); }
    double* doubles(int64_t n) { return reinterpret_cast<double*>(scratch_.take(2 * n)); }

    // Of `rate`: weights of the classes (C), sums and sums of squares of the features (C, F) each.
    double* weights(int rate) { return s_.sums + rate * classes_; }
    double* totals(int rate) { return s_.sums + 2 * classes_ + rate * classes_ * features_; }
    double* squares(int rate) { return totals(2 + rate); }
    // Of `rate`: covariance (F + 1, F + 1) and coefficients (F + 1, C) of the regression.
    double* covariance(int rate) { return totals(4) + rate * side_ * side_; }
    double* coefficients(int rate) { return covariance(2) + rate * side_ * classes_; }

    // Features that have varied.
    void find_used() {
        num_used_ = 0;
        for (int f = 0; f < features_; ++f) {
            double total = 0;
            for (int c = 0; c < classes_; ++c) total += squares(0)[c * features_ + f];
            if (total > 0) used_[num_used_++] = f;
        }
    }

    // Scores of the classes shown to log-probabilities, at least kFloor.
    void normalize(float* answers) {
        float highest = -__builtin_huge_valf();
        for (int c = 0; c < classes_; ++c)
            if (seen_[c] && scores_[c] > highest) highest = scores_[c];
        float total = 0;
        for (int c = 0; c < classes_; ++c)
            if (seen_[c]) total += __builtin_expf(scores_[c] - highest);
        const float shift = highest + __builtin_logf(total);
        for (int c = 0; c < classes_; ++c) {
            const float answer = scores_[c] - shift;
            answers[c] = seen_[c] && answer > kFloor ? answer : kFloor;
        }
    }

    void bayes(const float* z, int rate, float* answers) {
        const double *n = weights(rate), *sums = totals(rate), *powers = squares(rate);
        double all = 0;
        for (int c = 0; c < classes_; ++c) all += n[c];
        const double freedom = all + 2.0 - (all < shown_ ? all : shown_) * 0.999;
        for (int i = 0; i < num_used_; ++i) {
            double within = 2.0;
            for (int c = 0; c < classes_; ++c) {
                const double sum = sums[c * features_ + used_[i]];
                if (n[c] > 1e-9) within += powers[c * features_ + used_[i]] - sum * sum / n[c];
            }
            variance_[i] = (within > 0 ? within : 0) / freedom;
        }
        for (int c = 0; c < classes_; ++c) {
            if (!seen_[c]) continue;
            const double *sum = sums + c * features_, *power = powers + c * features_, by = 1 / (n[c] + 0.5);
            double score = __builtin_log(n[c] + 0.5), product = 1;
            for (int i = 0; i < num_used_; ++i) {
                const int f = used_[i];
                const double mean = sum[f] * by, own = power[f] - mean * (2 * sum[f] - n[c] * mean);
                const double variance = ((own > 0 ? own : 0) + 10 * variance_[i]) / (n[c] + 10) + 0.01;
                const double difference = z[f] - mean;
                score -= 0.5 * difference * difference / variance;
                product *= variance;
                if (i % 8 == 7) score -= 0.5 * __builtin_log(product), product = 1;
            }
            scores_[c] = static_cast<float>(score - 0.5 * __builtin_log(product));
        }
        normalize(answers);
    }

    void least_squares(const float* z, int rate, float* answers) {
        const double* b = coefficients(rate);
        for (int c = 0; c < classes_; ++c) {
            if (!seen_[c]) continue;
            double share = b[features_ * classes_ + c];
            for (int i = 0; i < num_used_; ++i) share += z[used_[i]] * b[used_[i] * classes_ + c];
            scores_[c] = static_cast<float>(__builtin_log(share > 0.01 ? share : 0.01));
        }
        normalize(answers);
    }

    // Squared distances of the sample from all examples of the window: plain, and weighted by the features' relevance.
    void distances(const float* z) {
        find_relevance();
        const int n = static_cast<int>(number_ < window_ ? number_ : window_);
        for (int i = 0; i < n; i += kLanes) {
            vf a = set1(0.0f), b = a;
            for (int j = 0; j < num_used_; ++j) {
                const int f = used_[j];
                const vf difference = load_exactly(s_.window + f * window_ + i, window_ - i) - set1(z[f]);
                const vf square = difference * difference;
                a = a + square;
                b = fma(set1(relevance_[f]), square, b);
            }
            store(plain_ + i, a);
            store(weighted_ + i, b);
        }
    }

    // The share of a feature's variance that lies between the classes, less what chance would give it.
    void find_relevance() {
        const double *n = weights(0), *sums = totals(0), *powers = squares(0);
        double all = 0, mean = 0;
        for (int c = 0; c < classes_; ++c) all += n[c];
        const double freedom = all - shown_ > 1 ? all - shown_ : 1;
        for (int i = 0; i < num_used_; ++i) {
            const int f = used_[i];
            double sum = 0, power = 0, between = 0;
            for (int c = 0; c < classes_; ++c) {
                const double own = sums[c * features_ + f];
                sum += own;
                power += powers[c * features_ + f];
                if (n[c] > 1e-9) between += own * own / n[c];
            }
            const double level = all > 1e-9 ? sum * sum / all : 0, total = power - level;
            double share = total > 1e-9 ? (between - level) / total : 0;
            share -= (shown_ - 1) * (1 - share) / freedom;
            variance_[i] = share > 0 ? share : 0;
            mean += variance_[i] / num_used_;
        }
        for (int i = 0; i < num_used_; ++i) relevance_[used_[i]] = static_cast<float>(variance_[i] + 0.05 * mean + 1e-3);
    }

    // Votes of the latest `recent` examples, each weighted by how near it is, in units of the spread of the nearest ones.
    void neighbors(const float* squared, int recent, float* answers) {
        const int held = static_cast<int>(number_ < window_ ? number_ : window_), n = held < recent ? held : recent;
        const int newest = static_cast<int>((number_ - 1) % window_), kept = n < kNearest ? n : kNearest;
        float nearest[kNearest];
        for (float& distance : nearest) distance = __builtin_huge_valf();
        each(newest, n, [&](int i) {
            if (!(squared[i] < nearest[kNearest - 1])) return;
            int at = kNearest - 1;
            for (; at > 0 && nearest[at - 1] > squared[i]; --at) nearest[at] = nearest[at - 1];
            nearest[at] = squared[i];
        });
        const float low = nearest[0], scale = 2.0f / (nearest[kept - 1] - low + 1e-3f * low + 1e-6f),
                    limit = low + 8.0f / scale;
        std::memset(scores_, 0, sizeof(float) * classes_);
        float total = 0;
        each(newest, n, [&](int i) {
            if (!(squared[i] < limit)) return;
            const float vote = __builtin_expf((low - squared[i]) * scale);
            scores_[s_.labels[i]] += vote;
            total += vote;
        });
        for (int c = 0; c < classes_; ++c) scores_[c] = __builtin_logf((scores_[c] + 0.5f / shown_) / (total + 0.5f));
        normalize(answers);
    }

    // f(i) for the positions of the latest n examples in the window.
    template <class F>
    void each(int newest, int n, F&& f) {
        const int first = newest + 1 - n;
        for (int i = first < 0 ? 0 : first; i <= newest; ++i) f(i);
        for (int i = first + window_; i < window_; ++i) f(i);
    }

    void count_sums(const float* z, int label, int rate) {
        double *n = weights(rate), *sums = totals(rate), *powers = squares(rate);
        for (int c = 0; c < classes_; ++c) n[c] *= kBayesKept[rate];
        for (int i = 0; i < classes_ * features_; ++i) sums[i] *= kBayesKept[rate];
        for (int i = 0; i < classes_ * features_; ++i) powers[i] *= kBayesKept[rate];
        n[label] += 1;
        for (int f = 0; f < features_; ++f) {
            sums[label * features_ + f] += z[f];
            powers[label * features_ + f] += static_cast<double>(z[f]) * z[f];
        }
    }

    // Recursive least squares with forgetting, in which no variance exceeds its initial value of 1.
    void regress(const float* z, int label, int rate) {
        double *p = covariance(rate), *b = coefficients(rate);
        int n = 0;  // entries of z that are not 0, and the constant
        for (int f = 0; f < features_; ++f)
            if (z[f] != 0) nonzero_[n++] = f;
        nonzero_[n++] = features_;
        for (int f = 0; f < features_; ++f) x_[f] = z[f];
        x_[features_] = 1;
        const double grown = 1 / __builtin_sqrt(kRegressionKept[rate]);
        for (int i = 0; i < side_; ++i) {
            const double most = __builtin_sqrt(1 / p[i * side_ + i]);
            gain_[i] = grown < most ? grown : most;
        }
        for (int i = 0; i < side_; ++i)
            for (int j = 0; j < side_; ++j) p[i * side_ + j] *= gain_[i] * gain_[j];
        double spread = 1;
        for (int i = 0; i < side_; ++i) {
            double sum = 0;
            for (int j = 0; j < n; ++j) sum += p[i * side_ + nonzero_[j]] * x_[nonzero_[j]];
            gain_[i] = sum;
            spread += x_[i] * sum;
        }
        for (int c = 0; c < classes_; ++c) {
            double error = c == label;
            for (int j = 0; j < n; ++j) error -= b[nonzero_[j] * classes_ + c] * x_[nonzero_[j]];
            error /= spread;
            for (int i = 0; i < side_; ++i) b[i * classes_ + c] += gain_[i] * error;
        }
        const double by = 1 / spread;  // in an order that keeps the matrix symmetric to the last bit: a difference would grow
        for (int i = 0; i < side_; ++i)
            if (gain_[i] != 0)
                for (int j = 0; j < side_; ++j) p[i * side_ + j] -= gain_[i] * gain_[j] * by;
    }

    const srwm::ExpertState& s_;
    const int features_, classes_, window_, side_;
    int64_t number_;
    const uint8_t* seen_;
    Scratch scratch_;
    int *used_, *nonzero_, num_used_ = 0, shown_ = 0;
    float *relevance_, *plain_, *weighted_, *scores_;
    double *x_, *gain_, *variance_;
};

// Answers to a sequence of samples of one stream, each before its example is learned.
inline void follow_experts(const srwm_experts& p, const srwm::ExpertState& state, const srwm::ExpertSamples& s, int64_t number,
                           uint8_t* seen) {
    Experts experts(p, state, number, seen);
    const int64_t answers = SRWM_EXPERTS * p.classes;
    for (int64_t t = 0; t < s.steps; ++t) {
        const float *asked = s.asked + t * p.features, *given = s.given + t * p.features;
        float *to_asked = s.answers + t * answers, *to_given = s.answers_given ? s.answers_given + t * answers : to_asked;
        for (int e = 0; e < 2 * SRWM_EXPERTS; ++e) s.losses[t * 2 * SRWM_EXPERTS + e] = static_cast<float>(experts.losses()[e]);
        experts.answer(asked, to_asked);
        if (s.answers_given) experts.answer(given, to_given);
        if (s.labels[t] >= 0) experts.learn(given, static_cast<int>(s.labels[t]), to_given, seen);
    }
}

}  // namespace SRWM_ISA_NAME
