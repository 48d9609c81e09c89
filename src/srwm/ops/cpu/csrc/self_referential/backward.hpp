// Backward pass of the self-referential weight matrix: reverse time, one (batch, head) after the other, two side by side.
//
// G, the gradient of the shift, lies as W does (vectors along the columns); W is kept transposed (vectors along the rows), since
// backward sums over its columns. A step makes one pass over each: G takes the rank-two gradient of the step after and is read;
// W is read for the gradient of that step's input, gives back its write, and is read for this step. W after a step is rebuilt
// from the start of its segment, or the last checkpoint, by the saved writes; nothing of its size is stored per step.
#pragma once

#include "kernels.hpp"
#include "self_referential/backward_passes.hpp"
#include "self_referential/forward.hpp"

namespace SRWM_ISA_NAME {

template <int kE, int kD>
class Backward {
    static constexpr int kChunk = 4;  // steps that are written into W at once when it is rebuilt
    static constexpr int kWorthTransposing = 16;  // steps from which on W is rather made from the final shift

    struct Head {
        int64_t number = -1;
        const float* weight;
        float *packed, *total;  // W_0 transposed; the weight's gradient so far
    };

    struct Stream {
        float *w, *g, *update, *read, *difference, *grad_value, *grad_out, *grad_x, *grad_difference, *grad_key;
        vf* partial;  // products of G's rows with the update, lanes not yet summed
        const Head* head;
        const float *x, *grad_y, *checkpoints;
        float *saved, *grad_x_out;
        const srwm::Steps* steps;
        int64_t item;
        float grad_beta[4];
        const float* pending_x;  // of the step after, whose gradient is not yet in G
        float* pending_grad_x;
        bool live;  // G is not zero
        bool total;  // G began as the gradient of the returned shift: weight gradients are summed apart
    };

public:
    Backward(const srwm_problem& p, const srwm_self_referential_backward_arrays& a, const srwm::Schedule& schedule)
        : p_(p), a_(a), schedule_(schedule), size_(static_cast<int>(p.e), static_cast<int>(p.d)), gradient_(e(), m(), kWidest),
          transposed_(m(), e(), kWidest), heads_(srwm::by_sequence(p) ? p.heads : 1) {
        const int rows = size().e16(), columns = gradient_matrix().padded() + 3 * kLanes;
        float* packed = scratch_.take(static_cast<int64_t>(heads_.size()) * (transposed().size() + gradient_matrix().size()));
        for (Head& head : heads_) {
            head.packed = packed;
            head.total = packed + transposed().size();
            packed = head.total + gradient_matrix().size();
        }
        zeros_ = scratch_.take_zeros(columns > rows ? columns : rows);
        updates_ = scratch_.take_zeros(kChunk * gradient_matrix().padded());
        for (Stream& s : streams_) {
            s.w = scratch_.take(transposed().size());
            s.g = scratch_.take(gradient_matrix().size());
            s.partial = reinterpret_cast<vf*>(scratch_.take_zeros(rows * kLanes));
            for (float** row : {&s.update, &s.read, &s.grad_value, &s.grad_out}) *row = scratch_.take_zeros(columns);
            for (float** row : {&s.difference, &s.grad_x, &s.grad_difference, &s.grad_key}) *row = scratch_.take_zeros(rows);
        }
        size().fill_sections(sections_, gradient_matrix().padded());
    }

    void run(int64_t first, int64_t last, const srwm::WeightGradients& weight_gradients) {
        for (int64_t i = first; i < last;) {
            const bool pair = i + 1 < last && srwm::pairs_with_next(p_, i);
            begin(streams_[0], srwm::item_of(p_, i), weight_gradients);
            if (pair) begin(streams_[1], srwm::item_of(p_, i + 1), weight_gradients);
            run_steps(pair);
            i += pair ? 2 : 1;
        }
        for (Head& head : heads_) finish(head, weight_gradients);
    }

private:
    SRWM_INLINE Size size() const { return kE ? Size(kE, kD) : size_; }
    int e() const { return size().e; }
    int d() const { return size().d; }
    int m() const { return size().m(); }
    SRWM_INLINE Blocked gradient_matrix() const { return kE ? Blocked(e(), m(), kWidest) : gradient_; }
    SRWM_INLINE Blocked transposed() const { return kE ? Blocked(m(), e(), kWidest) : transposed_; }

    void run_steps(bool pair) {
        Stream &s0 = streams_[0], &s1 = streams_[1];
        int j0 = s0.steps->n - 1, j1 = pair ? s1.steps->n - 1 : -1;
        for (; j0 > j1; --j0) step(s0, j0);
        for (; j1 > j0; --j1) step(s1, j1);
        for (int j = j0; j >= 0; --j) {
            gradient(s0, j), gradient(s1, j);
            values(s0, j), values(s1, j);
            matrix(s0, j), matrix(s1, j);
            gates<2>(streams_, j);
        }
        end(s0);
        if (pair) end(s1);
    }

    __attribute__((noinline)) void step(Stream& s, int j) { gradient(s, j), values(s, j), matrix(s, j), gates<1>(&s, j); }

    void start(Head& head, int64_t number) {
        head.number = number;
        head.weight = a_.weight + number * e() * m();
        transposed().pack_transposed(head.packed, head.weight);
        std::memset(head.total, 0, sizeof(float) * gradient_matrix().size());
    }

    void finish(const Head& head, const srwm::WeightGradients& weight_gradients) const {
        if (head.number >= 0)
            gradient_matrix().unpack(weight_gradients.of_head(weight_gradients.context, head.number), head.total);
    }

    void begin(Stream& s, const srwm::Item& item, const srwm::WeightGradients& weight_gradients) {
        const int64_t b = item.sequence, h = item.head;
        Head& head = heads_[heads_.size() == 1 ? 0 : h];
        if (head.number != h) {
            finish(head, weight_gradients);
            start(head, h);
        }
        s.head = &head;
        s.item = b * p_.heads + h;
        s.steps = srwm::steps_of(schedule_, b);
        s.x = a_.x + (b * p_.steps * p_.heads + h) * e();
        s.grad_x_out = a_.grad_x + (b * p_.steps * p_.heads + h) * e();
        s.grad_y = a_.grad_y + (b * p_.steps * p_.heads + h) * d();
        s.saved = const_cast<float*>(a_.saved) + s.item * p_.steps * size().row();
        const int64_t slots = p_.steps > 0 ? (p_.steps - 1) / p_.interval : 0;
        s.checkpoints = a_.checkpoints ? a_.checkpoints + s.item * slots * e() * m() : nullptr;
        s.total = s.live = a_.grad_shift_out && !s.steps->ends_reset;
        if (s.live)
            gradient_matrix().pack(s.g, a_.grad_shift_out + s.item * e() * m());
        else
            std::memset(s.g, 0, sizeof(float) * gradient_matrix().size());
        forget_pending(s);
        if (s.steps->n) rebuild(s, s.steps->n - 1);
    }

    void forget_pending(Stream& s) {
        s.pending_x = zeros_;
        s.pending_grad_x = nullptr;
        std::memset(s.difference, 0, sizeof(float) * size().e16());  // a NaN of the item before times zero would be NaN
        std::memset(s.grad_value, 0, sizeof(float) * gradient_matrix().padded());
        std::memset(s.grad_out, 0, sizeof(float) * gradient_matrix().padded());
    }

    SRWM_INLINE SavedRow row(const Stream& s, int j) const {
        return SavedRow(s.saved + static_cast<int64_t>(s.steps->t[j]) * size().row(), size());
    }

    // out = B W (phi(q) - phi(k)), what step j wrote with its key.
    SRWM_INLINE void load_update(const SavedRow& saved, float* out) const {
        const vf rates = learning_rates(saved);
        for (int c = 0; c < gradient_matrix().padded(); c += kLanes)
            store(out + c, spread(rates, sections_ + c) * load(saved.difference + c));
    }

    SRWM_INLINE static vf learning_rates(const SavedRow& saved) { return last_four(load(saved.sigma + 4 - kLanes)); }

    // W after step j, from the start of its segment or from the last checkpoint within it.
    void rebuild(Stream& s, int j) {
        int start = j;
        while (!s.steps->fresh[start] && start > 0) --start;
        const int checkpoint = j / static_cast<int>(p_.interval) * static_cast<int>(p_.interval);
        if (j + 1 == s.steps->n && !s.steps->ends_reset && j - (checkpoint > start ? checkpoint : start) >= kWorthTransposing) {
            transposed().pack_transposed(s.w, s.head->weight, a_.shift_out + s.item * e() * m());
            return;
        }
        if (checkpoint > start) {
            load_checkpoint(s, checkpoint);
            start = checkpoint;
        } else if (srwm::from_start(*s.steps, start) && a_.shift) {
            transposed().pack_transposed(s.w, s.head->weight, a_.shift + s.item * e() * m());
        } else {
            std::memcpy(s.w, s.head->packed, sizeof(float) * transposed().size());
        }
        for (; start <= j; start += kChunk) {
            const float* keys[kChunk];
            for (int k = 0; k < kChunk; ++k) {
                float* update = updates_ + k * gradient_matrix().padded();
                if (start + k <= j) {
                    const SavedRow saved = row(s, start + k);
                    keys[k] = saved.phi_k;
                    load_update(saved, update);
                } else {
                    keys[k] = zeros_;
                    std::memset(update, 0, sizeof(float) * gradient_matrix().padded());
                }
            }
            for (int b = 0; b < transposed().blocks; ++b)
                with_width<kWidest>(transposed().width(b), [&](auto n) {
                    write_again<n, kChunk>(transposed().at(s.w, b), m(), keys, transposed().first(b) * kLanes, updates_,
                                           gradient_matrix().padded());
                });
        }
    }

    void load_checkpoint(Stream& s, int j) {
        transposed().pack_transposed(s.w, s.checkpoints + (j / p_.interval - 1) * e() * m());
    }

    // G of step j, and its products with the key and the update.
    SRWM_INLINE void gradient(Stream& s, int j) {
        if (j + 1 < s.steps->n && s.steps->fresh[j + 1]) {
            end_segment(s);
            std::memset(s.g, 0, sizeof(float) * gradient_matrix().size());
            s.live = s.total = false;
            forget_pending(s);
            rebuild(s, j);
        } else if (j + 1 < s.steps->n && (j + 1) % p_.interval == 0) {
            load_checkpoint(s, j + 1);
        }
        if (j >= kAhead) {
            const int64_t ahead = static_cast<int64_t>(s.steps->t[j - kAhead]) * p_.heads;
            fetch<false>(s.x + ahead * e(), e());
            fetch<false>(s.grad_y + ahead * d(), d());
            fetch<true>(s.grad_x_out + ahead * e(), e());
        }
        fetch_rows(s, j);
        const SavedRow saved = row(s, j);
        load_update(saved, s.update);
        if (!s.live) return;
        const GradientStep step{s.difference, s.pending_x, s.grad_value, s.grad_out, saved.phi_k, s.update};
        for (int b = 0; b < gradient_matrix().blocks; ++b) {
            const int column = gradient_matrix().first(b) * kLanes;
            float *g = gradient_matrix().at(s.g, b), *total = gradient_matrix().at(s.head->total, b);
            with_width<kWidest>(gradient_matrix().width(b), [&](auto n) {
                if (s.total)
                    pass_gradient<n, true>(g, total, e(), step, column, s.read, s.partial);
                else
                    pass_gradient<n, false>(g, total, e(), step, column, s.read, s.partial);
            });
        }
    }

    // Ask for what was kept of a step soon to come; in the last steps for what the next sequence begins with.
    SRWM_INLINE void fetch_rows(const Stream& s, int j) {
        constexpr int kFirst = 8, kLargest = 4096;
        if (j >= kRowsAhead) fetch<false>(row(s, j - kRowsAhead).phi_q, size().row());
        if (j >= kFirst || s.item + 2 >= p_.batch * p_.heads) return;
        const int64_t ahead = p_.steps > kFirst ? p_.steps - kFirst + j : j;
        if (ahead < p_.steps) fetch<false>(a_.saved + ((s.item + 2) * p_.steps + ahead) * size().row(), size().row());
        const int matrix = e() * m(), share = matrix / kFirst + 1, start = j * share;
        const float* next = p_.steps > kWorthTransposing ? a_.shift_out : a_.shift;
        if (next && matrix <= kLargest && start < matrix)
            fetch<false>(next + (s.item + 2) * matrix + start, start + share < matrix ? share : matrix - start);
    }

    // Gradients of the value, of the key (through the write) and of the learning rates.
    SRWM_INLINE void values(Stream& s, int j) {
        const SavedRow saved = row(s, j);
        for (int i = 0; i < e(); i += kLanes) store(s.difference + i, load(saved.phi_q + i) - load(saved.phi_k + i));
        if (!s.live) {
            std::memset(s.grad_key, 0, sizeof(float) * size().e16());
            std::memset(s.grad_value, 0, sizeof(float) * gradient_matrix().padded());
            std::memset(s.grad_beta, 0, sizeof s.grad_beta);
            return;
        }
        for (int i = 0; i < e(); i += kLanes) store(s.grad_key + i, sums(s.partial + i));
        const vf rates = learning_rates(saved);
        for (int c = 0; c < gradient_matrix().padded(); c += kLanes) {
            const vf read = load(s.read + c);
            store(s.grad_value + c, spread(rates, sections_ + c) * read);
            store(s.read + c, read * load(saved.difference + c));
        }
        const vf products = four_sums(partial_sum(s.read, d()), partial_sum(s.read + d(), e()),
                                      partial_sum(s.read + d() + e(), e()), partial_sum(s.read + d() + 2 * e(), 4));
        float grads[kLanes];
        store(grads, products * rates * (set1(1.0f) - rates));
        std::memcpy(s.grad_beta, grads + kLanes - 4, sizeof s.grad_beta);
    }

    SRWM_INLINE void matrix(Stream& s, int j) {
        const float* key = row(s, j).phi_k;
        for (int b = 0; b < transposed().blocks; ++b) {
            const int row = transposed().first(b) * kLanes;
            with_width<kWidest>(transposed().width(b), [&](auto n) {
                pass_matrix<n>(transposed().at(s.w, b), m(), s.grad_out, key + row, s.update, s.grad_value, s.grad_x + row,
                               s.grad_difference + row);
            });
        }
        if (s.pending_grad_x) copy_exactly(s.pending_grad_x, s.grad_x, e());
    }

    // The gradient of everything that W gave out at this step.
    template <int kStreams>
    SRWM_INLINE void gates(Stream* streams, int j) {
        SoftmaxGradientRow rows[2 * kStreams];
        for (int i = 0; i < kStreams; ++i) {
            const Stream& s = streams[i];
            const SavedRow saved = row(s, j);
            for (int k = 0; k < e(); k += kLanes) store(s.grad_key + k, load(s.grad_key + k) - load(s.grad_difference + k));
            rows[2 * i] = {saved.phi_q, s.grad_difference, s.grad_out + d()};
            rows[2 * i + 1] = {saved.phi_k, s.grad_key, s.grad_out + d() + e()};
        }
        softmax_gradient(rows, e());
        for (int i = 0; i < kStreams; ++i) {
            Stream& s = streams[i];
            const int64_t position = static_cast<int64_t>(s.steps->t[j]) * p_.heads;
            copy_exactly(s.grad_out, s.grad_y + position * d(), d());
            for (int c = d() + 2 * e(); c < gradient_matrix().padded(); c += kLanes) store(s.grad_out + c, set1(0.0f));
            std::memcpy(s.grad_out + d() + 2 * e(), s.grad_beta, sizeof s.grad_beta);
            s.pending_x = s.x + position * e();
            s.pending_grad_x = s.grad_x_out + position * e();
            s.live = true;
        }
    }

    // The first step of a segment is done: its input's gradient, and its part in G and in the weight's gradient.
    void end_segment(Stream& s) {
        for (int b = 0; b < transposed().blocks; ++b)
            with_width<kWidest>(transposed().width(b), [&](auto n) {
                read_transposed<n>(transposed().at(s.w, b), m(), s.grad_out, s.grad_x + transposed().first(b) * kLanes);
            });
        copy_exactly(s.pending_grad_x, s.grad_x, e());
        const GradientStep step{s.difference, s.pending_x, s.grad_value, s.grad_out, nullptr, nullptr};
        for (int b = 0; b < gradient_matrix().blocks; ++b) {
            const int column = gradient_matrix().first(b) * kLanes;
            float *g = gradient_matrix().at(s.g, b), *total = gradient_matrix().at(s.head->total, b);
            with_width<kWidest>(gradient_matrix().width(b), [&](auto n) {
                if (s.total)
                    close_gradient<n, true>(g, total, e(), step, column);
                else
                    close_gradient<n, false>(g, total, e(), step, column);
            });
        }
    }

    void end(Stream& s) {
        if (s.steps->n) end_segment(s);
        if (!a_.grad_shift) return;
        float* out = a_.grad_shift + s.item * e() * m();
        if (s.steps->n == 0 || srwm::from_start(*s.steps, 0))
            gradient_matrix().unpack(out, s.g);
        else
            std::memset(out, 0, sizeof(float) * e() * m());
    }

    const srwm_problem& p_;
    const srwm_self_referential_backward_arrays& a_;
    const srwm::Schedule& schedule_;
    const Size size_;
    const Blocked gradient_, transposed_;
    Scratch scratch_;
    int32_t* sections_ = reinterpret_cast<int32_t*>(scratch_.take(gradient_matrix().padded()));
    float *zeros_, *updates_;
    std::vector<Head> heads_;  // all, or the one that is worked on
    Stream streams_[2];
};

}  // namespace SRWM_ISA_NAME
