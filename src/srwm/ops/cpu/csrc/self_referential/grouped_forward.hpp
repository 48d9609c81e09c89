// Forward pass of narrow self-referential weight matrices: several heads of one sequence side by side in every vector.
//
// What is kept in cache is W_0 and the shift S; W is their sum, made while it is read: S is as exact as it can be in float32. A
// step makes one pass, in which W_0 + S is read by phi(q) - phi(k) and by the next step's x. Writes wait until there are two of
// them, which the next pass puts into S first; until then they are added to what is read.
#pragma once

#include <utility>

#include "core/scratch.hpp"
#include "self_referential/grouped_passes.hpp"

namespace SRWM_ISA_NAME {

// Softmax of e numbers in each block, of both rows at once; `tail` is -inf in the lanes behind the last number, else 0.
SRWM_INLINE void softmax_of_heads(const float* q, const float* k, int vectors, vf tail, float* phi_q, float* phi_k) {
    vf top_q = load(q + (vectors - 1) * kLanes) + tail, top_k = load(k + (vectors - 1) * kLanes) + tail;
    for (int i = 0; i < vectors - 1; ++i) {
        top_q = max(load(q + i * kLanes), top_q);
        top_k = max(load(k + i * kLanes), top_k);
    }
    top_q = largest_in_blocks(top_q), top_k = largest_in_blocks(top_k);
    vf sum_q = set1(0.0f), sum_k = set1(0.0f);
    auto few = [&](int first, auto n) __attribute__((always_inline)) {
        vf v[2 * n];
        for (int i = 0; i < n; ++i) {
            v[i] = load(q + (first + i) * kLanes) - top_q;
            v[n + i] = load(k + (first + i) * kLanes) - top_k;
        }
        if (first + n == vectors) v[n - 1] = v[n - 1] + tail, v[2 * n - 1] = v[2 * n - 1] + tail;
        exp_negative(v);
        for (int i = 0; i < n; ++i) {
            store(phi_q + (first + i) * kLanes, v[i]);
            store(phi_k + (first + i) * kLanes, v[n + i]);
            sum_q = sum_q + v[i], sum_k = sum_k + v[n + i];
        }
    };
    int i = 0;
    for (; i + 4 <= vectors; i += 4) few(i, Number<4>{});
    for (; i < vectors; ++i) few(i, Number<1>{});
    const vf scale_q = set1(1.0f) / sum_in_blocks(sum_q), scale_k = set1(1.0f) / sum_in_blocks(sum_k);
    for (i = 0; i < vectors; ++i) {
        store(phi_q + i * kLanes, load(phi_q + i * kLanes) * scale_q);
        store(phi_k + i * kLanes, load(phi_k + i * kLanes) * scale_k);
    }
}

// out[v] = rates, of which every block has four, for the sections of a row, times row[v].
SRWM_INLINE void times_rates(const GroupedSize& size, vf rates, const float* row, float* out) {
    auto section = [&](int first, int last, vf rate) __attribute__((always_inline)) {
        for (int v = first; v < last; ++v) store(out + v * kLanes, rate * load(row + v * kLanes));
    };
    section(0, size.dv(), lane_of_four<0>(rates));
    section(size.dv(), size.dv() + size.ev(), lane_of_four<1>(rates));
    section(size.dv() + size.ev(), size.dv() + 2 * size.ev(), lane_of_four<2>(rates));
    section(size.dv() + 2 * size.ev(), size.columns(), lane_of_four<3>(rates));
}

template <int kE, int kD>
class GroupedForward {
public:
    GroupedForward(const srwm_problem& p, const srwm_self_referential_forward_arrays& a, const srwm::Schedule& schedule)
        : p_(p), a_(a), schedule_(schedule), size_(static_cast<int>(p.e), static_cast<int>(p.d)) {
        weight_ = scratch_.take(size().floats());
        shift_ = scratch_.take(size().floats());
        whole_ = a.checkpoints && p.steps > p.interval ? scratch_.take(size().floats()) : nullptr;
        for (float** row : {&out_, &out_next_, &updates_[0], &updates_[1]}) *row = scratch_.take(size().row_floats());
        for (float** numbers : {&difference_, &x_}) *numbers = scratch_.take_zeros(size().numbers_floats());
        for (float*& saved : unsaved_) saved = scratch_.take(size().saved_floats());
        float tail[kLanes];
        for (int i = 0; i < kLanes; ++i) tail[i] = 4 * (size().ev() - 1) + i % 4 < size().e ? 0.0f : -__builtin_inff();
        tail_ = load(tail);
    }

    void run(int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
            more_ = i + 1 < last && (i + 1) % p_.batch > 0;
            begin(HeadGroup(p_, i));
            for (int j = 0; j < steps_->n; ++j) step(j);
            end();
        }
        if (past_caches_) wait_for_memory();
    }

private:
    SRWM_INLINE GroupedSize size() const { return kE ? GroupedSize(kE, kD) : size_; }
    int64_t matrix() const { return static_cast<int64_t>(size().e) * size().m(); }
    Lanes lanes(int64_t stride) const { return {stride, count_}; }

    void begin(const HeadGroup& group) {
        count_ = group.count;
        item_ = group.item(p_);
        if (head_ != group.head) {
            head_ = group.head;
            size().pack(lanes(matrix()), a_.weight + head_ * matrix(), weight_);
        }
        steps_ = srwm::steps_of(schedule_, group.sequence);
        const int64_t row = group.sequence * p_.steps * p_.heads + group.head;
        x_of_group_ = a_.x + row * size().e;
        y_ = a_.y + row * size().d;
        saved_ = a_.saved ? a_.saved + group.first_row(p_) * size().saved_floats() : nullptr;
        slots_ = p_.steps > 0 ? (p_.steps - 1) / p_.interval : 0;
        checkpoints_ = a_.checkpoints ? a_.checkpoints + item_ * slots_ * matrix() : nullptr;
        live_ = a_.shift != nullptr;
        if (live_) size().pack(lanes(matrix()), a_.shift + item_ * matrix(), shift_);
        waiting_ = 0;
    }

    SRWM_INLINE void load_x(int j) {
        lanes(size().e).load_numbers(x_of_group_ + static_cast<int64_t>(steps_->t[j]) * p_.heads * size().e, size().e, x_);
    }

    SRWM_INLINE void step(int j) {
        if (j == 0 || steps_->fresh[j]) start_segment(j);
        if (checkpoints_ && j > 0 && j % p_.interval == 0) save_matrix(j / p_.interval - 1);
        fetch_ahead(j);
        lanes(size().d).store_numbers(y_ + static_cast<int64_t>(steps_->t[j]) * p_.heads * size().d, size().d, out_);
        const float *q = out_ + size().dv() * kLanes, *k = q + size().numbers_floats(), *beta = k + size().numbers_floats();
        const GroupedSaved saved(saved_ ? saved_row(j) : unsaved_[j % 3], size());  // the key is read for two more steps
        const vf rates = sigmoid(load(beta));  // before the softmax, which does not wait for it
        store(saved.rates, rates);
        softmax_of_heads(q, k, size().ev(), tail_, saved.phi_q, saved.phi_k);
        for (int i = 0; i < size().numbers_floats(); i += kLanes)
            store(difference_ + i, load(saved.phi_q + i) - load(saved.phi_k + i));
        const bool next = j + 1 < steps_->n && !steps_->fresh[j + 1];
        if (next) load_x(j + 1);
        pass(waiting_ == 2, true, next, saved.change);
        if (waiting_ == 1) add_writes<1>(difference_, saved.change);
        times_rates(size(), rates, saved.change, updates_[waiting_]);
        keys_[waiting_++] = saved.phi_k;
        if (!next) return;
        waiting_ == 1 ? add_writes<1>(x_, out_next_) : add_writes<2>(x_, out_next_);
        std::swap(out_, out_next_);
    }

    float* saved_row(int j) const { return saved_ + static_cast<int64_t>(steps_->t[j]) * size().saved_floats(); }

    // What a fresh or the first x reads.
    __attribute__((noinline)) void start_segment(int j) {
        if (steps_->fresh[j]) live_ = false;
        waiting_ = 0;
        load_x(j);
        pass(false, false, true, nullptr);
        std::swap(out_, out_next_);
    }

    // Reads with this step's difference and the next one's x, of W without the writes that wait; `write`: S takes them first.
    SRWM_INLINE void pass(bool write, bool change, bool next, float* changes) {
        const GroupedForwardStep step{difference_, x_, {keys_[0], keys_[1]}, {updates_[0], updates_[1]}};
        for_column_blocks<kForwardColumns>(size().columns(), [&](int first, auto n) __attribute__((always_inline)) {
            auto run = [&](auto writes, auto changing, auto following) __attribute__((always_inline)) {
                const int stride = size().row_floats(), column = first * kLanes;
                if (live_)
                    pass_forward<n, true, writes, changing, following>(shift_, weight_, size().e, stride, step, column, changes,
                                                                       out_next_);
                else
                    pass_forward<n, false, writes, changing, following>(shift_, weight_, size().e, stride, step, column,
                                                                        changes, out_next_);
            };
            constexpr std::true_type yes;
            constexpr std::false_type no;
            if (!change)
                run(no, no, yes);
            else if (write)
                next ? run(yes, yes, yes) : run(yes, yes, no);
            else
                next ? run(no, yes, yes) : run(no, yes, no);
        });
        if (!write) return;
        live_ = true;
        waiting_ = 0;
    }

    // out, read by `numbers` from W without the writes that wait, becomes what they read with them.
    template <int kCount>
    SRWM_INLINE void add_writes(const float* numbers, float* out) {
        vf products[kCount];
        for (int k = 0; k < kCount; ++k) {
            products[k] = set1(0.0f);
            for (int i = 0; i < size().numbers_floats(); i += kLanes)
                products[k] = fma(load(numbers + i), load(keys_[k] + i), products[k]);
            products[k] = sum_in_blocks(products[k]);
        }
        for (int v = 0; v < size().row_floats(); v += kLanes) {
            vf value = load(out + v);
            for (int k = 0; k < kCount; ++k) value = fma(products[k], load(updates_[k] + v), value);
            store(out + v, value);
        }
    }

    // S takes the writes that wait.
    __attribute__((noinline)) void settle() {
        if (waiting_)
            for_column_blocks<kForwardColumns>(size().columns(), [&](int first, auto n) {
                auto run = [&](auto live, auto count) {
                    write_heads_again<n, count, live>(shift_, size().e, size().row_floats(), keys_, updates_, first * kLanes);
                };
                if (live_)
                    waiting_ == 1 ? run(std::true_type{}, Number<1>{}) : run(std::true_type{}, Number<2>{});
                else
                    waiting_ == 1 ? run(std::false_type{}, Number<1>{}) : run(std::false_type{}, Number<2>{});
            });
        else if (!live_)
            std::memset(shift_, 0, sizeof(float) * size().floats());
        live_ = true;
        waiting_ = 0;
    }

    // Rows that are soon to be read and written, at last those of the next group, and what that begins with.
    SRWM_INLINE void fetch_ahead(int j) {
        const int n = steps_->n, ahead = j + kGroupsAhead;
        if (ahead < n) return fetch_rows(0, steps_->t[ahead]);
        if (!past_caches_) fetch_share<true>(a_.shift_out + item_ * matrix(), count_ * matrix(), n - 1 - j, n);
        if (!more_) return;
        if (ahead - n < p_.steps) fetch_rows(1, ahead - n);
        if (a_.shift) fetch_share<false>(a_.shift + (item_ + p_.heads) * matrix(), count_ * matrix(), n - 1 - j, n);
    }
    SRWM_INLINE void fetch_rows(int sequences, int64_t t) {
        const int64_t row = (sequences * p_.steps + t) * p_.heads;
        fetch<false, 2>(x_of_group_ + row * size().e, count_ * size().e);
        fetch<true, 2>(y_ + row * size().d, count_ * size().d);
        const int64_t kept = sequences * HeadGroup::of_sequence(p_) * p_.steps + t;
        if (saved_) fetch<true, 2>(saved_ + kept * size().saved_floats(), size().saved_floats());
    }

    __attribute__((noinline)) void save_matrix(int64_t slot) {
        settle();
        for (int i = 0; i < size().floats(); i += kLanes) store(whole_ + i, load(weight_ + i) + load(shift_ + i));
        size().unpack(lanes(slots_ * matrix()), checkpoints_ + slot * matrix(), whole_);
    }

    void end() {
        float* out = a_.shift_out + item_ * matrix();
        if (steps_->ends_reset) {
            std::memset(out, 0, sizeof(float) * count_ * matrix());
            return;
        }
        settle();
        if (past_caches_)
            size().template unpack<true>(lanes(matrix()), out, shift_);
        else
            size().unpack(lanes(matrix()), out, shift_);
    }

    const srwm_problem& p_;
    const srwm_self_referential_forward_arrays& a_;
    const srwm::Schedule& schedule_;
    const GroupedSize size_;
    const bool past_caches_ = leaves_caches(p_, a_.shift_out);
    Scratch scratch_;
    float *weight_, *shift_, *whole_;  // W_0, S, and their sum where it is saved
    float *out_, *out_next_, *difference_, *x_, *unsaved_[3];
    const float* keys_[2] = {};  // writes that are not yet in S: so many wait
    float* updates_[2];
    int waiting_;
    vf tail_;
    int64_t head_ = -1, item_, slots_;  // whose W_0 is packed; the first head of the group
    int count_;
    bool live_, more_;  // S is not zero; the next group is of the same heads
    const srwm::Steps* steps_;
    const float* x_of_group_;
    float *y_, *saved_, *checkpoints_;
};

}  // namespace SRWM_ISA_NAME
