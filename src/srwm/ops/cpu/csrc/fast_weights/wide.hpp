// Fast weights: the delta rule and linear attention, one (batch, head) after the other, two side by side.
//
// Forward makes one pass over the state a step: write, answer q, and (delta rule) read the next key. Backward makes two sweeps
// and rebuilds nothing: the gradient of the state needs no state, so it runs backwards alone; what needs the state, the
// gradients of q and of the key that was read, is collected while the writes are repeated forwards.
#pragma once

#include "core/layout.hpp"
#include "core/scratch.hpp"
#include "fast_weights/passes.hpp"
#include "kernels.hpp"

namespace SRWM_ISA_NAME {

// Items that run side by side: two, to hide each other's latencies, unless one state alone fills the cache next to the core.
inline int items_at_once(const srwm_problem& p) { return p.e * p.d <= 2048 ? 2 : 1; }

// Runs so many items at a time; `Pass` gives begin(slot, item) -> its steps, step(slot, j) and end(slot).
template <class Pass>
void run_items(Pass& pass, int64_t first, int64_t last, int width, bool backwards) {
    for (int64_t i = first; i < last; i += width) {
        const bool pair = width > 1 && i + 1 < last;
        const int n0 = pass.begin(0, i)->n, n1 = pair ? pass.begin(1, i + 1)->n : 0;
        const int both = n0 < n1 ? n0 : n1;
        if (!backwards) {
            for (int j = 0; j < both; ++j) pass.step(0, j), pass.step(1, j);
            for (int j = both; j < n0; ++j) pass.step(0, j);
            for (int j = both; j < n1; ++j) pass.step(1, j);
        } else {
            for (int j = n0; j-- > both;) pass.step(0, j);
            for (int j = n1; j-- > both;) pass.step(1, j);
            for (int j = both; j-- > 0;) pass.step(0, j), pass.step(1, j);
        }
        pass.end(0);
        if (pair) pass.end(1);
    }
}

// Where one (batch, head) lies in the arrays (batch, steps, heads, ...).
struct Place {
    const srwm_problem& p;
    const srwm::Steps* steps;
    int64_t start, item;
    Place(const srwm_problem& problem, const srwm::Schedule& schedule, int64_t number)
        : p(problem), steps(srwm::steps_of(schedule, number / problem.heads)),
          start(number / problem.heads * problem.steps * problem.heads + number % problem.heads), item(number) {}
    int64_t at(int j) const { return start + static_cast<int64_t>(steps->t[j]) * p.heads; }
};

template <int kE, int kD, bool kDelta, bool kDecay>
class FastForward {
    // Fewer steps than elsewhere: a head's rows fall into few sets of the first cache, and at E = 64 its state fills half of each.
    static constexpr int kStepsAhead = 3;
    struct Stream {
        Place place;
        float *state, *update, *y, *read;
    };

public:
    FastForward(const srwm_problem& p, const srwm_fast_weights_forward_arrays& a, const srwm::Schedule& schedule)
        : p_(p), a_(a), schedule_(schedule), matrix_(e(), d(), kWidest), zeros_(scratch_.take_zeros(e())),
          streams_{make_stream(), make_stream()} {}

    void run(int64_t first, int64_t last) { run_items(*this, first, last, items_at_once(p_), false); }

    const srwm::Steps* begin(int slot, int64_t item) {
        Stream& s = streams_[slot];
        new (&s.place) Place(p_, schedule_, item);
        const srwm::Steps& steps = *s.place.steps;
        if (a_.state && (steps.n == 0 || srwm::from_start(steps, 0))) {
            matrix_.pack(s.state, a_.state + item * e() * d());
            if (kDelta && steps.n) read_first(s);
        } else {
            clear(s);
        }
        return &steps;
    }

    void step(int slot, int j) {
        Stream& s = streams_[slot];
        const srwm::Steps& steps = *s.place.steps;
        if (steps.fresh[j]) clear(s);
        const int64_t at = s.place.at(j);
        if (j + kStepsAhead < steps.n) {
            const int64_t ahead = s.place.at(j + kStepsAhead);
            fetch<false>(a_.q + ahead * e(), e());
            fetch<false>(a_.k + ahead * e(), e());
            fetch<false>(a_.v + ahead * d(), d());
            fetch<true>(a_.y + ahead * d(), d());
            if (a_.error) fetch<true>(a_.error + ahead * d(), d());
        }
        const float* v = a_.v + at * d();
        const float decay = kDecay ? a_.decay[at] : 1.0f;
        if (kDelta) {
            const float beta = a_.beta[at];
            float* error = a_.error ? a_.error + at * d() : s.update;
            for (int i = 0; i < d(); ++i) error[i] = v[i] - (kDecay ? decay * s.read[i] : s.read[i]);
            for (int i = 0; i < d(); ++i) s.update[i] = beta * error[i];
        } else {
            copy_exactly(s.update, v, d());
        }
        const bool more = kDelta && j + 1 < steps.n && !steps.fresh[j + 1];
        const float* next_key = more ? a_.k + s.place.at(j + 1) * e() : zeros_;
        for (int b = 0; b < matrix_.blocks; ++b) {
            const int column = matrix_.first(b) * kLanes;
            with_width<kWidest>(matrix_.width(b), [&](auto n) {
                pass_state<n, kDelta, kDecay>(matrix_.at(s.state, b), e(), a_.q + at * e(), a_.k + at * e(), next_key,
                                              s.update + column, decay, s.y + column, s.read + column);
            });
        }
        copy_exactly(a_.y + at * d(), s.y, d());
    }

    void end(int slot) {
        Stream& s = streams_[slot];
        float* out = a_.state_out + s.place.item * e() * d();
        if (s.place.steps->ends_reset)
            std::memset(out, 0, sizeof(float) * e() * d());
        else
            matrix_.unpack(out, s.state);
    }

private:
    int e() const { return kE ? kE : static_cast<int>(p_.e); }
    int d() const { return kD ? kD : static_cast<int>(p_.d); }

    Stream make_stream() {
        const int columns = matrix_.padded();
        return {Place(p_, schedule_, 0), scratch_.take(matrix_.size()), scratch_.take_zeros(columns),
                scratch_.take_zeros(columns), scratch_.take_zeros(columns)};
    }

    void clear(Stream& s) {
        std::memset(s.state, 0, sizeof(float) * matrix_.size());
        std::memset(s.read, 0, sizeof(float) * matrix_.padded());
    }

    void read_first(Stream& s) {
        std::memset(s.update, 0, sizeof(float) * matrix_.padded());
        for (int b = 0; b < matrix_.blocks; ++b) {
            const int column = matrix_.first(b) * kLanes;
            with_width<kWidest>(matrix_.width(b), [&](auto n) {
                pass_state<n, true, false>(matrix_.at(s.state, b), e(), zeros_, zeros_, a_.k + s.place.at(0) * e(),
                                           s.update + column, 1.0f, s.y + column, s.read + column);
            });
        }
    }

    const srwm_problem& p_;
    const srwm_fast_weights_forward_arrays& a_;
    const srwm::Schedule& schedule_;
    const Blocked matrix_;
    Scratch scratch_;
    const float* zeros_;
    Stream streams_[2];
};

template <int kE, int kD, bool kDelta>
class FastBackward {
    struct Stream {
        Place place;
        float *g, *state, *update, *grad_y, *next_grad_v, *read, *key, *grad_read, *grad_q;
        vf* partial;
        const float* next_key;
    };

    // One of the two sweeps, in the form that run_items wants.
    template <bool kReverse>
    struct Sweep {
        FastBackward& self;
        const srwm::Steps* begin(int slot, int64_t item) { return self.begin<kReverse>(self.streams_[slot], item); }
        void step(int slot, int j) {
            if constexpr (kReverse)
                self.reverse(self.streams_[slot], j);
            else
                self.repeat(self.streams_[slot], j);
        }
        void end(int slot) {
            if constexpr (kReverse) self.end_reverse(self.streams_[slot]);
        }
    };

public:
    FastBackward(const srwm_problem& p, const srwm_fast_weights_backward_arrays& a, const srwm::Schedule& schedule)
        : p_(p), a_(a), schedule_(schedule), gradient_(e(), d(), kWidest), transposed_(d(), e(), kWidest),
          zeros_(scratch_.take_zeros(e())), streams_{make_stream(), make_stream()} {}

    void run(int64_t first, int64_t last) {
        Sweep<true> reverse{*this};
        Sweep<false> repeat{*this};
        const int width = items_at_once(p_);
        for (int64_t i = first; i < last; i += width) {  // both sweeps of an item, while its rows are in cache
            const int64_t end = i + width < last ? i + width : last;
            run_items(reverse, i, end, width, true);
            run_items(repeat, i, end, width, false);
        }
    }

private:
    int e() const { return kE ? kE : static_cast<int>(p_.e); }
    int d() const { return kD ? kD : static_cast<int>(p_.d); }

    Stream make_stream() {
        const int columns = gradient_.padded(), rows = transposed_.padded();
        return {Place(p_, schedule_, 0),
                scratch_.take(gradient_.size()),
                scratch_.take(transposed_.size()),
                scratch_.take_zeros(columns),
                scratch_.take_zeros(columns),
                scratch_.take_zeros(columns),
                scratch_.take_zeros(columns),
                scratch_.take_zeros(rows),
                scratch_.take_zeros(rows),
                scratch_.take_zeros(rows),
                reinterpret_cast<vf*>(scratch_.take_zeros(rows * kLanes)),
                nullptr};
    }

    template <bool kReverse>
    const srwm::Steps* begin(Stream& s, int64_t item) {
        new (&s.place) Place(p_, schedule_, item);
        const srwm::Steps& steps = *s.place.steps;
        if (kReverse) {
            if (a_.grad_state_out && !steps.ends_reset)
                gradient_.pack(s.g, a_.grad_state_out + item * e() * d());
            else
                std::memset(s.g, 0, sizeof(float) * gradient_.size());
            forget_next(s);
        } else if (a_.state && steps.n && srwm::from_start(steps, 0)) {
            transposed_.pack_transposed(s.state, a_.state + item * e() * d());
        } else {
            std::memset(s.state, 0, sizeof(float) * transposed_.size());
        }
        return &steps;
    }

    void forget_next(Stream& s) {
        s.next_key = zeros_;
        std::memset(s.next_grad_v, 0, sizeof(float) * gradient_.padded());
    }

    void load_update(Stream& s, int64_t at) {
        if (kDelta)
            for (int i = 0; i < d(); ++i) s.update[i] = a_.beta[at] * a_.error[at * d() + i];
        else
            copy_exactly(s.update, a_.v + at * d(), d());
    }

    void pass_gradient_of(Stream& s, const float* q, const float* key) {
        for (int b = 0; b < gradient_.blocks; ++b) {
            const int column = gradient_.first(b) * kLanes;
            with_width<kWidest>(gradient_.width(b), [&](auto n) {
                pass_state_gradient<n, kDelta>(gradient_.at(s.g, b), e(), q, key, s.next_key, s.grad_y + column,
                                               s.next_grad_v + column, s.update + column, s.read + column, s.partial, b == 0);
            });
        }
    }

    void reverse(Stream& s, int j) {
        const srwm::Steps& steps = *s.place.steps;
        if (j + 1 < steps.n && steps.fresh[j + 1]) {
            std::memset(s.g, 0, sizeof(float) * gradient_.size());
            forget_next(s);
        }
        const int64_t at = s.place.at(j);
        if (j >= kAhead) {
            const int64_t ahead = s.place.at(j - kAhead);
            fetch<false>(a_.q + ahead * e(), e());
            fetch<false>(a_.k + ahead * e(), e());
            fetch<false>((kDelta ? a_.error : a_.v) + ahead * d(), d());
            fetch<false>(a_.grad_y + ahead * d(), d());
            fetch<true>(a_.grad_k + ahead * e(), e());
            fetch<true>(a_.grad_v + ahead * d(), d());
        }
        load_update(s, at);
        copy_exactly(s.grad_y, a_.grad_y + at * d(), d());
        pass_gradient_of(s, a_.q + at * e(), a_.k + at * e());
        for (int i = 0; i < e(); i += kLanes) store(s.grad_q + i, sums(s.partial + i));
        copy_exactly(a_.grad_k + at * e(), s.grad_q, e());
        if (kDelta) {
            const float* error = a_.error + at * d();
            float grad_beta = 0.0f;
            for (int i = 0; i < d(); ++i) {
                grad_beta += s.read[i] * error[i];
                s.next_grad_v[i] = a_.beta[at] * s.read[i];
            }
            a_.grad_beta[at] = grad_beta;
            s.next_key = a_.k + at * e();
        }
        copy_exactly(a_.grad_v + at * d(), kDelta ? s.next_grad_v : s.read, d());
    }

    void end_reverse(Stream& s) {
        if (!a_.grad_state) return;
        float* out = a_.grad_state + s.place.item * e() * d();
        const srwm::Steps& steps = *s.place.steps;
        if (steps.n && !srwm::from_start(steps, 0)) {
            std::memset(out, 0, sizeof(float) * e() * d());
            return;
        }
        if (kDelta && steps.n) {  // the write of the first step read the state, too
            std::memset(s.grad_y, 0, sizeof(float) * gradient_.padded());
            pass_gradient_of(s, zeros_, zeros_);
        }
        gradient_.unpack(out, s.g);
    }

    void repeat(Stream& s, int j) {
        if (s.place.steps->fresh[j]) std::memset(s.state, 0, sizeof(float) * transposed_.size());
        const int64_t at = s.place.at(j);
        if (j + kAhead < s.place.steps->n) {  // what the sweep before has not left in cache
            const int64_t ahead = s.place.at(j + kAhead);
            fetch<false>(a_.k + ahead * e(), e());
            fetch<false>((kDelta ? a_.error : a_.v) + ahead * d(), d());
            fetch<false>(a_.grad_v + ahead * d(), d());
            fetch<false>(a_.grad_y + ahead * d(), d());
            fetch<true>(a_.grad_q + ahead * e(), e());
        }
        load_update(s, at);
        copy_exactly(s.key, a_.k + at * e(), e());
        for (int b = 0; b < transposed_.blocks; ++b) {
            const int row = transposed_.first(b) * kLanes;
            with_width<kWidest>(transposed_.width(b), [&](auto n) {
                pass_state_again<n, kDelta>(transposed_.at(s.state, b), d(), s.key + row, s.update, a_.grad_v + at * d(),
                                            a_.grad_y + at * d(), s.grad_read + row, s.grad_q + row);
            });
        }
        copy_exactly(a_.grad_q + at * e(), s.grad_q, e());
        if (kDelta)
            for (int i = 0; i < e(); ++i) a_.grad_k[at * e() + i] -= s.grad_read[i];
    }

    const srwm_problem& p_;
    const srwm_fast_weights_backward_arrays& a_;
    const srwm::Schedule& schedule_;
    const Blocked gradient_, transposed_;
    Scratch scratch_;
    const float* zeros_;
    Stream streams_[2];
};

}  // namespace SRWM_ISA_NAME
