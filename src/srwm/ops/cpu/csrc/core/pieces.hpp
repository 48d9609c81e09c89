// How a call is cut up for the kernels and shared out over threads.
#pragma once

#include <vector>

#include "core/parallel.hpp"
#include "kernels.hpp"

namespace srwm {

// The schedule of a call, with the memory that it points to.
class ScheduleOf {
public:
    explicit ScheduleOf(const srwm_problem& p)
        : rows_(p.resets || p.mask ? p.batch : 1), positions_(rows_ * p.steps), fresh_(rows_ * p.steps) {
        for (int64_t b = 0; b < rows_; ++b) add(p, b);
    }
    operator Schedule() const { return {steps_.data(), rows_ == 1}; }

private:
    void add(const srwm_problem& p, int64_t b) {
        int32_t* t = positions_.data() + b * p.steps;
        uint8_t* fresh = fresh_.data() + b * p.steps;
        Steps s{t, fresh, 0, false};
        bool reset = false;
        for (int64_t i = 0; i < p.steps; ++i) {
            reset = reset || (p.resets && p.resets[b * p.steps + i]);
            if (p.mask && !p.mask[b * p.steps + i]) continue;
            t[s.n] = static_cast<int32_t>(i);
            fresh[s.n++] = reset;
            reset = false;
        }
        s.ends_reset = reset;
        steps_.push_back(s);
    }

    int64_t rows_;
    std::vector<int32_t> positions_;
    std::vector<uint8_t> fresh_;
    std::vector<Steps> steps_;
};

// How a call is cut up: into heads of a sequence one by one, or into groups of heads.
class Pieces {
public:
    explicit Pieces(const srwm_problem& p, const GroupedKernels* grouped = nullptr)
        : p_(p), heads_(grouped ? grouped->heads : 1), grouped_(grouped) {}

    int64_t count() const { return p_.batch * ((p_.heads + heads_ - 1) / heads_); }
    int threads(int64_t work_per_step_and_head) const {
        return useful_threads(p_.threads, count(), static_cast<double>(p_.steps * work_per_step_and_head * heads_));
    }
    // Whether all pieces with this head are among first ... last - 1.
    bool hold(int64_t first, int64_t last, int64_t head) const {
        if (p_.batch == 1 || last - first == count()) return true;
        const int64_t group = head / heads_;
        return (grouped_ || !by_sequence(p_)) && first <= group * p_.batch && (group + 1) * p_.batch <= last;
    }

private:
    const srwm_problem& p_;
    int64_t heads_;
    bool grouped_;
};

}  // namespace srwm
