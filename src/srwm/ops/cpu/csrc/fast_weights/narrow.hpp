// Forward of fast weights whose state is at most one vector wide and as many rows high: it stays in registers from a sequence's
// first step to its last, and a step neither loads nor stores it.
#pragma once

#include "fast_weights/wide.hpp"

namespace SRWM_ISA_NAME {

// kWhole: E and D are both kLanes; else rows of E are read from copies with zeros behind, and rows of D under a mask.
template <bool kWhole, bool kDelta, bool kDecay>
class NarrowForward {
public:
    NarrowForward(const srwm_problem& p, const srwm_fast_weights_forward_arrays& a, const srwm::Schedule& schedule)
        : p_(p), a_(a), schedule_(schedule), matrix_(e(), d(), 1), zeros_(scratch_.take_zeros(kLanes * kLanes)),
          state_(scratch_.take_zeros(kLanes * kLanes)), q_(scratch_.take(kLanes)),
          keys_{scratch_.take(kLanes), scratch_.take(kLanes)} {}

    void run(int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
            const Place place(p_, schedule_, i);
            const srwm::Steps& steps = *place.steps;
            const int64_t at = i * e() * d();
            const bool carried = a_.state && (steps.n == 0 || srwm::from_start(steps, 0));
            if (carried && !kWhole) matrix_.pack(state_, a_.state + at);
            run_steps(place, carried ? kWhole ? a_.state + at : state_ : zeros_, carried, kWhole ? a_.state_out + at : state_);
            if (steps.ends_reset)
                std::memset(a_.state_out + at, 0, sizeof(float) * e() * d());
            else if (!kWhole)
                matrix_.unpack(a_.state_out + at, state_);
        }
    }

private:
    int e() const { return kWhole ? kLanes : static_cast<int>(p_.e); }
    int d() const { return kWhole ? kLanes : static_cast<int>(p_.d); }

    // All steps, with the state from `in` (zeros unless `carried`) in registers and at the end in `out`: kLanes rows of kLanes.
    SRWM_PASS void run_steps(const Place& place, const float* in, bool carried, float* out) {
        const srwm_fast_weights_forward_arrays a = a_;  // a store of a vector could change what is not in a local variable
        const int e = this->e(), d = this->d(), n = place.steps->n;
        vf state[kLanes], read = set1(0.0f);
#pragma GCC unroll 16
        for (int r = 0; r < kLanes; ++r) state[r] = load(in + r * kLanes);
        const float* next_key = n ? row_of_e(a.k + place.at(0) * e, keys_[0], e) : nullptr;
        if (kDelta && n && carried) read = product(next_key, state);
        for (int j = 0; j < n; ++j) {
            if (place.steps->fresh[j]) {
#pragma GCC unroll 16
                for (int r = 0; r < kLanes; ++r) state[r] = set1(0.0f);
                read = set1(0.0f);
            }
            const int64_t at = place.at(j);
            if (j + kAhead < n) {
                const int64_t ahead = place.at(j + kAhead);
                fetch<false>(a.q + ahead * e, 1);
                fetch<false>(a.k + ahead * e, 1);
                fetch<false>(a.v + ahead * d, 1);
                fetch<true>(a.y + ahead * d, 1);
                if (a.error) fetch<true>(a.error + ahead * d, 1);
            }
            vf update = load_row_of_d(a.v + at * d, d);
            const vf decay = set1(kDecay ? a.decay[at] : 1.0f);
            if (kDelta) {
                update = update - (kDecay ? decay * read : read);
                if (a.error) store_row_of_d(a.error + at * d, update, d);
                update = set1(a.beta[at]) * update;
            }
            const float* key = next_key;
            if (j + 1 < n) next_key = row_of_e(a.k + place.at(j + 1) * e, keys_[(j + 1) % 2], e);
#pragma GCC unroll 16
            for (int r = 0; r < kLanes; ++r) state[r] = fma(set1(key[r]), update, kDecay ? decay * state[r] : state[r]);
            if (kDelta) read = product(next_key, state);
            store_row_of_d(a.y + at * d, product(row_of_e(a.q + at * e, q_, e), state), d);
        }
#pragma GCC unroll 16
        for (int r = 0; r < kLanes; ++r)
            if (r < e) store(out + r * kLanes, state[r]);  // NaN may have come into the rows behind: they stay zeros in `out`
    }

    static SRWM_INLINE const float* row_of_e(const float* row, float* copy, int e) {
        if (kWhole) return row;
        store(copy, load_some(row, e));
        return copy;
    }
    static SRWM_INLINE vf load_row_of_d(const float* p, int d) { return kWhole ? load(p) : load_some(p, d); }
    static SRWM_INLINE void store_row_of_d(float* p, vf v, int d) { kWhole ? store(p, v) : store_some(p, v, d); }

    static SRWM_INLINE vf product(const float* row, const vf (&state)[kLanes]) {
        vf sum[4];
#pragma GCC unroll 4
        for (int r = 0; r < 4; ++r) sum[r] = set1(row[r]) * state[r];
#pragma GCC unroll 16
        for (int r = 4; r < kLanes; ++r) sum[r % 4] = fma(set1(row[r]), state[r], sum[r % 4]);
        return (sum[0] + sum[1]) + (sum[2] + sum[3]);
    }

    const srwm_problem& p_;
    const srwm_fast_weights_forward_arrays& a_;
    const srwm::Schedule& schedule_;
    const Blocked matrix_;
    Scratch scratch_;
    const float* zeros_;
    float *state_, *q_, *keys_[2];
};

}  // namespace SRWM_ISA_NAME
