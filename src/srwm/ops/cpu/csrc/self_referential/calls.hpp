// Calls of the self-referential weight matrix: by heads or groups of heads, shared out over threads.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "core/instruction_sets.hpp"
#include "core/pieces.hpp"
#include "self_referential/layout.hpp"

namespace srwm {

constexpr int64_t kNarrow = 64 * (3 * 64 + 4);  // numbers in W: at E = D = 64 the two kinds of kernels are about equally fast

inline int64_t whole_parts(int64_t n, int64_t of) { return (n + of - 1) / of; }

// Whether the heads of a sequence can be taken in groups that fill vectors: W is narrow, and at most a quarter of the lanes is idle.
inline bool may_group(int64_t heads, int64_t e, int64_t d) {
    const int64_t width = selected->grouped->heads;
    return e * (d + 2 * e + 4) < kNarrow && 3 * whole_parts(heads, width) * width <= 4 * heads;
}

// Whether they are: where groups keep the threads as busy. A head takes about 5/7 of its time by itself.
inline bool groups_heads(int64_t batch, int64_t heads, int64_t e, int64_t d, int64_t threads) {
    if (!may_group(heads, e, d)) return false;
    const int64_t width = selected->grouped->heads, groups = whole_parts(heads, width);
    return 5 * width * whole_parts(batch * groups, threads) <= 7 * whole_parts(batch * heads, threads);
}

// Floats that one step of a sequence needs in `saved`.
inline int64_t saved_floats(bool grouped, int64_t heads, int64_t e, int64_t d) {
    if (!grouped) return heads * SRWM_ISA_NAME::Size(static_cast<int>(e), static_cast<int>(d)).row();
    const GroupedKernels& kernels = *selected->grouped;
    return whole_parts(heads, kernels.heads) * kernels.saved_floats(e, d);
}

// The same whichever way the forward takes: what `saved` has room for.
inline int64_t saved_room(int64_t heads, int64_t e, int64_t d) {
    const int64_t apart = saved_floats(false, heads, e, d);
    return may_group(heads, e, d) ? std::max(apart, saved_floats(true, heads, e, d)) : apart;
}

// `saved` begins with what the backward has to know of its forward. Room that the forward has no use for becomes zeros.
struct SavedHeader {
    float grouped, isa;

    void write(const srwm_problem& p, float* saved) const {
        std::fill_n(saved, SRWM_SAVED_HEADER, 0.0f);
        saved[0] = grouped, saved[1] = isa;
        const int64_t steps = p.batch * p.steps, used = steps * saved_floats(grouped != 0.0f, p.heads, p.e, p.d);
        std::fill(saved + SRWM_SAVED_HEADER + used, saved + SRWM_SAVED_HEADER + steps * saved_room(p.heads, p.e, p.d), 0.0f);
    }
    static SavedHeader read(const float* saved) { return {saved[0], saved[1]}; }
};

inline float selected_number() {
    return static_cast<float>(std::find(runnable.begin(), runnable.end(), selected) - runnable.begin());
}

// Weight gradients of the heads that one thread works on: those it has for itself go straight to their place.
class ThreadGradients {
public:
    ThreadGradients(const srwm_problem& p, const Pieces& pieces, float* grad_weight, int64_t first, int64_t last)
        : pieces_(pieces), size_(p.e * (p.d + 2 * p.e + 4)), grad_weight_(grad_weight), first_(first), last_(last) {}

    WeightGradients sink() {
        return {this, [](void* self, int64_t head) { return static_cast<ThreadGradients*>(self)->of_head(head); }};
    }
    // Threads are added in their order, so the same number of them gives the same bits.
    void add_shared_heads(std::vector<bool>& started) const {
        for (const auto& [head, sum] : shared_) {
            float* total = grad_weight_ + head * size_;
            for (int64_t i = 0; i < size_; ++i) total[i] = started[head] ? total[i] + sum[i] : sum[i];
            started[head] = true;
        }
    }

private:
    float* of_head(int64_t head) {
        if (pieces_.hold(first_, last_, head)) return grad_weight_ + head * size_;
        shared_.emplace_back(head, std::vector<float>(size_));
        return shared_.back().second.data();
    }

    const Pieces& pieces_;
    int64_t size_;
    float* grad_weight_;
    int64_t first_, last_;
    std::vector<std::pair<int64_t, std::vector<float>>> shared_;
};

inline void self_referential_forward(const srwm_problem& p, srwm_self_referential_forward_arrays a) {
    const ScheduleOf schedule(p);
    const bool one_step = p.steps == 1 && !a.saved;
    const bool grouped = !one_step && groups_heads(p.batch, p.heads, p.e, p.d, p.threads);
    if (a.saved) {
        SavedHeader{grouped ? 1.0f : 0.0f, selected_number()}.write(p, a.saved);
        a.saved += SRWM_SAVED_HEADER;
    }
    const Pieces pieces(p, grouped ? selected->grouped : nullptr);
    const auto kernel = grouped ? selected->grouped->forward : selected->forward;
    share(pieces.threads(4 * p.e * (p.d + 2 * p.e + 4)), pieces.count(),
          [&](int, int64_t first, int64_t last) { kernel(p, a, schedule, first, last); });
}

// False: the forward ran with another instruction set.
inline bool self_referential_backward(const srwm_problem& p, srwm_self_referential_backward_arrays a) {
    const SavedHeader header = SavedHeader::read(a.saved);
    if (header.isa != selected_number()) return false;
    a.saved += SRWM_SAVED_HEADER;
    const ScheduleOf schedule(p);
    const int64_t size = p.e * (p.d + 2 * p.e + 4);
    const GroupedKernels* grouped = header.grouped != 0.0f ? selected->grouped : nullptr;
    const Pieces pieces(p, grouped);
    const auto kernel = grouped ? grouped->backward : selected->backward;
    const int threads = pieces.threads(8 * size);
    std::vector<std::unique_ptr<ThreadGradients>> gradients(threads);
    share(threads, pieces.count(), [&](int thread, int64_t first, int64_t last) {
        gradients[thread] = std::make_unique<ThreadGradients>(p, pieces, a.grad_weight, first, last);
        kernel(p, a, schedule, first, last, gradients[thread]->sink());
    });
    if (p.batch == 0) std::fill_n(a.grad_weight, p.heads * size, 0.0f);
    std::vector<bool> started(p.heads);
    for (const auto& of_thread : gradients)
        if (of_thread) of_thread->add_shared_heads(started);
    return true;
}

}  // namespace srwm
