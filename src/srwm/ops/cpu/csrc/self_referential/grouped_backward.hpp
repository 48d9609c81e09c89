// Backward pass of narrow self-referential weight matrices: reverse time, several heads of one sequence side by side.
//
// A step makes one pass over G, the gradient of the shift by what the steps so far gave, and one over W. G takes the rank-two
// gradient of the step after and is read by this step's key and update; W is read for the gradient of the next step's input, gives
// back this step's write, and is read by the gradient of the value. The gradient of the returned shift is kept apart and added to G
// where that is read: so what G holds at the start of a segment is what the weight's gradient gets.
#pragma once

#include "self_referential/grouped_forward.hpp"

namespace SRWM_ISA_NAME {

template <int kE, int kD>
class GroupedBackward {
    static constexpr int kChunk = 4, kChunkColumns = 4;  // steps that are written into W at once when it is rebuilt

public:
    GroupedBackward(const srwm_problem& p, const srwm_self_referential_backward_arrays& a, const srwm::Schedule& schedule)
        : p_(p), a_(a), schedule_(schedule), size_(static_cast<int>(p.e), static_cast<int>(p.d)) {
        for (float** matrix : {&weight_, &total_, &w_, &g_}) *matrix = scratch_.take(size().floats());
        given_ = a.grad_shift_out ? scratch_.take(size().floats()) : nullptr;
        for (float** row : {&read_, &grad_value_, &grad_out_}) *row = scratch_.take(size().row_floats());
        updates_ = scratch_.take(kChunk * size().row_floats());
        for (float** numbers : {&difference_, &x_, &grad_x_, &grad_difference_, &grad_key_})
            *numbers = scratch_.take(size().numbers_floats());
        dots_ = scratch_.take_zeros(4 * size().numbers_floats());  // those behind the last row stay zeros
    }

    void run(int64_t first, int64_t last, const srwm::WeightGradients& weight_gradients) {
        for (int64_t i = first; i < last; ++i) {
            const HeadGroup group(p_, i);
            if (head_ != group.head) {
                finish(weight_gradients);
                start(group);
            }
            more_ = i + 1 < last && (i + 1) % p_.batch > 0;
            begin(group);
            for (int j = steps_->n - 1; j >= 0; --j) step(j);
            end();
        }
        finish(weight_gradients);
        if (past_caches_) wait_for_memory();
    }

private:
    SRWM_INLINE GroupedSize size() const { return kE ? GroupedSize(kE, kD) : size_; }
    int64_t matrix() const { return static_cast<int64_t>(size().e) * size().m(); }
    Lanes lanes(int64_t stride) const { return {stride, count_}; }

    void start(const HeadGroup& group) {
        head_ = group.head;
        count_ = group.count;
        size().pack(lanes(matrix()), a_.weight + head_ * matrix(), weight_);
        std::memset(total_, 0, sizeof(float) * size().floats());
    }

    void finish(const srwm::WeightGradients& weight_gradients) {
        if (head_ < 0) return;
        for (int h = 0; h < count_; ++h)  // one head at a time: each may be put elsewhere
            size().unpack_one(weight_gradients.of_head(weight_gradients.context, head_ + h), total_, h);
    }

    void begin(const HeadGroup& group) {
        item_ = group.item(p_);
        steps_ = srwm::steps_of(schedule_, group.sequence);
        const int64_t row = group.sequence * p_.steps * p_.heads + group.head;
        x_of_group_ = a_.x + row * size().e;
        grad_x_of_group_ = a_.grad_x + row * size().e;
        grad_y_ = a_.grad_y + row * size().d;
        saved_ = const_cast<float*>(a_.saved) + group.first_row(p_) * size().saved_floats();
        slots_ = p_.steps > 0 ? (p_.steps - 1) / p_.interval : 0;
        given_live_ = given_ && !steps_->ends_reset;
        if (given_live_) size().pack(lanes(matrix()), a_.grad_shift_out + item_ * matrix(), given_);
        live_ = pending_ = false;
        if (!steps_->n) return;
        if (steps_->ends_reset)
            rebuild(steps_->n - 1);
        else
            pack_matrix(a_.shift_out + item_ * matrix(), matrix(), weight_);
    }

    // W = what is dense at `from` (+ `more`).
    void pack_matrix(const float* from, int64_t stride, const float* more) {
        size().pack(lanes(stride), from, w_);
        if (!more) return;
        for (int i = 0; i < size().floats(); i += kLanes) store(w_ + i, load(w_ + i) + load(more + i));
    }

    void load_checkpoint(int j) {
        pack_matrix(a_.checkpoints + (item_ * slots_ + j / p_.interval - 1) * matrix(), slots_ * matrix(), nullptr);
    }

    SRWM_INLINE GroupedSaved saved(int j) const {
        return GroupedSaved(saved_ + static_cast<int64_t>(steps_->t[j]) * size().saved_floats(), size());
    }

    // W after step j, from the start of its segment or from the last checkpoint within it.
    __attribute__((noinline)) void rebuild(int j) {
        int start = j;
        while (!steps_->fresh[start] && start > 0) --start;
        const int checkpoint = j / static_cast<int>(p_.interval) * static_cast<int>(p_.interval);
        if (checkpoint > start) {
            load_checkpoint(checkpoint);
            start = checkpoint;
        } else if (srwm::from_start(*steps_, start) && a_.shift) {
            pack_matrix(a_.shift + item_ * matrix(), matrix(), weight_);
        } else {
            std::memcpy(w_, weight_, sizeof(float) * size().floats());
        }
        for (; start <= j; start += kChunk) {
            const int count = j + 1 - start < kChunk ? j + 1 - start : kChunk;
            const float *keys[kChunk], *updates[kChunk];
            for (int k = 0; k < count; ++k) {
                const GroupedSaved row = saved(start + k);
                keys[k] = row.phi_k;
                updates[k] = updates_ + k * size().row_floats();
                times_rates(size(), load(row.rates), row.change, updates_ + k * size().row_floats());
            }
            with_width<kChunk>(count, [&](auto steps) {
                for_column_blocks<kChunkColumns>(size().columns(), [&](int first, auto n) {
                    write_heads_again<n, steps>(w_, size().e, size().row_floats(), keys, updates, first * kLanes);
                });
            });
        }
    }

    SRWM_INLINE void step(int j) {
        if (j + 1 < steps_->n && steps_->fresh[j + 1]) {
            end_segment();
            live_ = given_live_ = pending_ = false;
            rebuild(j);
        } else if (j + 1 < steps_->n && (j + 1) % p_.interval == 0) {
            load_checkpoint(j + 1);
        }
        fetch_ahead(j);
        const GroupedSaved row = saved(j);
        times_rates(size(), load(row.rates), row.change, updates_);
        vf grad_beta = set1(0.0f);
        if (pending_ || given_live_) {
            pass_gradient(row.phi_k);
            grad_beta = values(row);
        } else {
            std::memset(grad_value_, 0, sizeof(float) * size().row_floats());
            std::memset(grad_key_, 0, sizeof(float) * size().numbers_floats());
            std::memset(grad_out_, 0, sizeof(float) * size().row_floats());
        }
        pass_heads_matrix(w_, size().e, size().columns(), grad_out_, row.phi_k, updates_, grad_value_, grad_x_,
                          grad_difference_);
        if (pending_) store_grad_x();
        gates(j, row, grad_beta);
    }

    SRWM_INLINE void pass_gradient(const float* key) {
        if (given_live_ && !live_) {  // the first of a sequence: nothing is in G yet
            std::memset(g_, 0, sizeof(float) * size().floats());
            live_ = true;
        }
        if (!pending_) {
            for (float* row : {grad_value_, grad_out_}) std::memset(row, 0, sizeof(float) * size().row_floats());
            for (float* numbers : {difference_, x_}) std::memset(numbers, 0, sizeof(float) * size().numbers_floats());
        }
        for_column_blocks<kGradientColumns>(size().columns(), [&](int first, auto n) __attribute__((always_inline)) {
            const int c = first * kLanes;
            const GroupedGradientStep step{difference_, x_, grad_value_ + c, grad_out_ + c, key, updates_ + c};
            const int stride = size().row_floats();
            if (given_live_)
                pass_heads_gradient<n, true, true>(g_ + c, given_ + c, size().e, stride, step, first > 0, read_ + c, dots_);
            else if (live_)
                pass_heads_gradient<n, true, false>(g_ + c, nullptr, size().e, stride, step, first > 0, read_ + c, dots_);
            else
                pass_heads_gradient<n, false, false>(g_ + c, nullptr, size().e, stride, step, first > 0, read_ + c, dots_);
        });
        live_ = true;
    }

    // Gradients of the value and of the key (through the write); returns that of the learning rates.
    SRWM_INLINE vf values(const GroupedSaved& row) {
        const vf rates = load(row.rates);
        for (int i = 0; i < size().ev(); ++i) {
            const float* dot = dots_ + 4 * i * kLanes;
            store(grad_key_ + i * kLanes,
                  sums_in_blocks(load(dot), load(dot + kLanes), load(dot + 2 * kLanes), load(dot + 3 * kLanes)));
        }
        times_rates(size(), rates, read_, grad_value_);
        vf sums[4];
        auto section = [&](int s, int first, int last) __attribute__((always_inline)) {
            sums[s] = set1(0.0f);
            for (int v = first * kLanes; v < last * kLanes; v += kLanes)
                sums[s] = fma(load(read_ + v), load(row.change + v), sums[s]);
        };
        section(0, 0, size().dv());
        section(1, size().dv(), size().dv() + size().ev());
        section(2, size().dv() + size().ev(), size().dv() + 2 * size().ev());
        section(3, size().dv() + 2 * size().ev(), size().columns());
        return sums_in_blocks(sums[0], sums[1], sums[2], sums[3]) * rates * (set1(1.0f) - rates);
    }

    void store_grad_x() { lanes(size().e).store_numbers(pending_grad_x_, size().e, grad_x_); }

    // The gradient of everything that W gave out at this step.
    SRWM_INLINE void gates(int j, const GroupedSaved& row, vf grad_beta) {
        const int64_t position = static_cast<int64_t>(steps_->t[j]) * p_.heads;
        const int numbers = size().numbers_floats();
        float *q = grad_out_ + size().dv() * kLanes, *k = q + numbers;
        vf mean_q = set1(0.0f), mean_k = set1(0.0f);
        for (int i = 0; i < numbers; i += kLanes) {
            const vf d = load(grad_difference_ + i), key = load(grad_key_ + i) - d;
            store(k + i, key);
            mean_q = fma(load(row.phi_q + i), d, mean_q);
            mean_k = fma(load(row.phi_k + i), key, mean_k);
        }
        mean_q = sum_in_blocks(mean_q), mean_k = sum_in_blocks(mean_k);
        for (int i = 0; i < numbers; i += kLanes) {
            const vf pq = load(row.phi_q + i), pk = load(row.phi_k + i);
            store(q + i, pq * (load(grad_difference_ + i) - mean_q));
            store(k + i, pk * (load(k + i) - mean_k));
            store(difference_ + i, pq - pk);
        }
        store(k + numbers, grad_beta);
        lanes(size().d).load_numbers(grad_y_ + position * size().d, size().d, grad_out_);
        lanes(size().e).load_numbers(x_of_group_ + position * size().e, size().e, x_);
        pending_grad_x_ = grad_x_of_group_ + position * size().e;
        pending_ = true;
    }

    // Rows that are soon to be read and written, at last those of the next group, and what that begins with.
    SRWM_INLINE void fetch_ahead(int j) {
        const int n = steps_->n, ahead = j - kGroupsAhead;
        if (ahead >= 0) return fetch_rows(0, steps_->t[ahead]);
        if (!more_) return;
        if (ahead + p_.steps >= 0) fetch_rows(1, ahead + p_.steps);
        fetch_share<false>(a_.shift_out + (item_ + p_.heads) * matrix(), count_ * matrix(), j, n);
        if (given_) fetch_share<false>(a_.grad_shift_out + (item_ + p_.heads) * matrix(), count_ * matrix(), j, n);
    }
    SRWM_INLINE void fetch_rows(int sequences, int64_t t) {
        const int64_t row = (sequences * p_.steps + t) * p_.heads;
        fetch<false, 2>(x_of_group_ + row * size().e, count_ * size().e);
        fetch<false, 2>(grad_y_ + row * size().d, count_ * size().d);
        fetch<true, 2>(grad_x_of_group_ + row * size().e, count_ * size().e);
        const int64_t kept = sequences * HeadGroup::of_sequence(p_) * p_.steps + t;
        fetch<false, 2>(saved_ + kept * size().saved_floats(), size().saved_floats());
    }

    // The first step of a segment is done: its input's gradient, and its part in G; G goes into the weight's gradient.
    __attribute__((noinline)) void end_segment() {
        read_heads_transposed(w_, size().e, size().columns(), grad_out_, grad_x_);
        store_grad_x();
        const GroupedGradientStep step{difference_, x_, grad_value_, grad_out_, nullptr, nullptr};
        if (live_)
            close_heads_gradient<true>(g_, total_, size().e, size().columns(), step);
        else
            close_heads_gradient<false>(g_, total_, size().e, size().columns(), step);
    }

    void end() {
        if (steps_->n) end_segment();
        if (!a_.grad_shift) return;
        float* out = a_.grad_shift + item_ * matrix();
        if (steps_->n == 0 ? !given_live_ : !srwm::from_start(*steps_, 0)) {
            std::memset(out, 0, sizeof(float) * count_ * matrix());
            return;
        }
        if (steps_->n && given_live_)
            for (int i = 0; i < size().floats(); i += kLanes) store(g_ + i, load(g_ + i) + load(given_ + i));
        if (past_caches_)
            size().template unpack<true>(lanes(matrix()), out, steps_->n ? g_ : given_);
        else
            size().unpack(lanes(matrix()), out, steps_->n ? g_ : given_);
    }

    const srwm_problem& p_;
    const srwm_self_referential_backward_arrays& a_;
    const srwm::Schedule& schedule_;
    const GroupedSize size_;
    const bool past_caches_ = leaves_caches(p_, a_.grad_shift);
    Scratch scratch_;
    float *weight_, *total_, *w_, *g_, *given_;  // W_0, the weight's gradient, W, G, and the gradient of the returned shift
    float *read_, *grad_value_, *grad_out_, *updates_;
    float *difference_, *x_, *grad_x_, *grad_difference_, *grad_key_, *dots_;
    int64_t head_ = -1, item_, slots_;
    int count_;
    bool more_;  // the next group is of the same heads
    bool live_, given_live_, pending_;  // G is not zero; neither is what came in; the step after is not yet in G
    const srwm::Steps* steps_;
    const float *x_of_group_, *grad_y_;
    float *grad_x_of_group_, *pending_grad_x_, *saved_;
};

}  // namespace SRWM_ISA_NAME
