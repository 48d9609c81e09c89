// Which steps of each sequence are computed, and where each begins anew: resets and masks, read once for all heads.
//
// Shared by code for several instruction sets: no function here has a name that the linker could merge between them.
#pragma once

#include <cstdint>

#include "api.h"

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

// One head of one sequence. They are numbered sequence by sequence where the matrices of all heads fit in cache, so that a
// sequence's rows come from memory once for all heads; else head by head, so that a head's matrix does.
struct Item {
    int64_t sequence, head;
};

static inline bool by_sequence(const srwm_problem& p) {
    constexpr int64_t kFits = 1 << 15;  // floats
    return p.batch == 1 || p.heads * p.e * (p.d + 2 * p.e + 4) <= kFits;
}

static inline Item item_of(const srwm_problem& p, int64_t number) {
    if (by_sequence(p)) return {number / p.heads, number % p.heads};
    return {number % p.batch, number / p.batch};
}

// Two items that follow each other may run side by side; head by head, they have to share their head.
static inline bool pairs_with_next(const srwm_problem& p, int64_t number) {
    return by_sequence(p) || item_of(p, number + 1).head == item_of(p, number).head;
}

// Whether `step` is the first and reads the state that came in.
static inline bool from_start(const Steps& steps, int step) { return step == 0 && !steps.fresh[0]; }

}  // namespace srwm
