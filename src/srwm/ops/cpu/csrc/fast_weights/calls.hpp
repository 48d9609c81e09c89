// Calls of fast weights: shared out over threads.
#pragma once

#include "core/instruction_sets.hpp"
#include "core/pieces.hpp"

namespace srwm {

inline void fast_weights_forward(const srwm_problem& p, const srwm_fast_weights_forward_arrays& a) {
    const ScheduleOf schedule(p);
    share(Pieces(p).threads(3 * p.e * p.d), p.batch * p.heads,
          [&](int, int64_t first, int64_t last) { selected->fast_forward(p, a, schedule, first, last); });
}

inline void fast_weights_backward(const srwm_problem& p, const srwm_fast_weights_backward_arrays& a) {
    const ScheduleOf schedule(p);
    share(Pieces(p).threads((a.decay ? 11 : 7) * p.e * p.d), p.batch * p.heads,
          [&](int, int64_t first, int64_t last) { selected->fast_backward(p, a, schedule, first, last); });
}

}  // namespace srwm
