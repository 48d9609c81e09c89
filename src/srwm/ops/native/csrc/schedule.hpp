// Which steps of each sequence are computed, and where each begins anew: resets and masks, read once for all heads.
//
// Shared by code for several instruction sets: no function here has a name that the linker could merge between them.
#pragma once

#include <cstdint>

namespace srwm {

struct Steps {
    const int32_t* t;      // positions of the n unmasked steps
    const uint8_t* fresh;  // 1: a reset came at this step, or at a masked step since the one before
    int n;
    bool ends_reset;       // a reset at a masked step after the last unmasked one: the final state is zero
};

struct Schedule {
    const Steps* steps;
    bool shared;  // one entry serves every sequence
};

static inline const Steps* steps_of(const Schedule& schedule, int64_t sequence) {
    return schedule.steps + (schedule.shared ? 0 : sequence);
}

// Whether `step` is the first and reads the state that came in.
static inline bool from_start(const Steps& steps, int step) { return step == 0 && !steps.fresh[0]; }

}  // namespace srwm
