// Forward pass of the self-referential weight matrix: one (batch, head) after the other, two side by side.
//
// W stays in cache for the whole sequence and is not written at every step: what the steps since its last renewal have written
// is kept as keys and updates, and added to what is read. So one pass over W reads phi(q) - phi(k) and the next step's x. Two
// independent sequences take turns phase by phase, so that the latency of one's softmax is hidden behind the other's. The shift
// is accumulated apart from W, because W_T - W_0 would cancel; W is made anew from W_0 and the shift, because rounding to the
// size of W at every step would add up.
#pragma once

#include <utility>
#include <vector>

#include "core/layout.hpp"
#include "core/scratch.hpp"
#include "kernels.hpp"
#include "self_referential/forward_passes.hpp"
#include "self_referential/layout.hpp"

namespace SRWM_ISA_NAME {

template <int kE, int kD>
class Forward {
    static constexpr int kChunk = kE && kE <= 32 ? 8 : 16;  // steps between two additions to the shift, each with a new W
    static constexpr int kKeys = (kChunk + kLanes - 1) / kLanes * kLanes;

    struct Head {
        int64_t number = -1;
        const float* weight;
        float* packed;
        bool is_packed;
    };

    struct Stream {
        float *w, *shift, *out, *out_next, *phi_q, *difference, *keys, *updates, *products;
        Head* head;
        const float *x, *start;  // start: the shift at the start of the segment, null for zero
        float *y, *saved, *checkpoints;
        const srwm::Steps* steps;
        int64_t item;
        bool accumulated;  // `shift` holds the start and the chunks so far
        int slot;  // where this step's key and update go: so many are not yet in W
    };

public:
    Forward(const srwm_problem& p, const srwm_self_referential_forward_arrays& a, const srwm::Schedule& schedule)
        : p_(p), a_(a), schedule_(schedule), size_(static_cast<int>(p.e), static_cast<int>(p.d)), matrix_(e(), m(), kMaxBlock),
          heads_(srwm::by_sequence(p) ? p.heads : 1) {
        float* packed = scratch_.take(static_cast<int64_t>(heads_.size()) * matrix().size());
        for (Head& head : heads_) head.packed = packed, packed += matrix().size();
        for (Stream& s : streams_) {
            s.w = scratch_.take(matrix().size());
            s.shift = scratch_.take(matrix().size());
            for (float** out : {&s.out, &s.out_next})  // rates are read with what is before them
                *out = scratch_.take_zeros(matrix().padded() + 4 * kLanes) + kLanes;
            s.phi_q = scratch_.take_zeros(size().e16());
            s.difference = scratch_.take_zeros(size().e16());
            s.keys = scratch_.take_zeros(kKeys * size().e16());
            s.updates = scratch_.take(kChunk * matrix().padded());
            s.products = scratch_.take(kKeys + kLanes);
        }
        size().fill_sections(sections_, matrix().padded());
    }

    void run(int64_t first, int64_t last) {
        for (int64_t i = first; i < last;) {
            const bool pair = i + 1 < last && srwm::pairs_with_next(p_, i);
            begin(streams_[0], srwm::item_of(p_, i));
            if (pair) begin(streams_[1], srwm::item_of(p_, i + 1));
            run_steps(pair);
            i += pair ? 2 : 1;
        }
        if (past_caches_) wait_for_memory();
    }

private:
    SRWM_INLINE Size size() const { return kE ? Size(kE, kD) : size_; }
    int e() const { return size().e; }
    int d() const { return size().d; }
    int m() const { return size().m(); }
    SRWM_INLINE Blocked matrix() const { return kE ? Blocked(e(), m(), kMaxBlock) : matrix_; }

    void run_steps(bool pair) {
        Stream &s0 = streams_[0], &s1 = streams_[1];
        const int n0 = s0.steps->n, n1 = pair ? s1.steps->n : 0;
        const int both = n0 < n1 ? n0 : n1;
        for (int j = 0; j < both; ++j) {
            prepare(s0, j), prepare(s1, j);
            gates<2>(streams_, j);
            advance(s0, j), advance(s1, j);
        }
        for (int j = both; j < n0; ++j) step(s0, j);
        for (int j = both; j < n1; ++j) step(s1, j);
        end(s0);
        if (pair) end(s1);
    }

    __attribute__((noinline)) void step(Stream& s, int j) { prepare(s, j), gates<1>(&s, j), advance(s, j); }

    void begin(Stream& s, const srwm::Item& item) {
        const int64_t b = item.sequence, h = item.head;
        Head& head = heads_[heads_.size() == 1 ? 0 : h];
        if (head.number != h) {
            head.number = h;
            head.weight = a_.weight + h * e() * m();
            head.is_packed = false;
        }
        s.head = &head;
        s.item = b * p_.heads + h;
        s.steps = srwm::steps_of(schedule_, b);
        s.x = a_.x + (b * p_.steps * p_.heads + h) * e();
        s.y = a_.y + (b * p_.steps * p_.heads + h) * d();
        s.saved = a_.saved ? a_.saved + s.item * p_.steps * size().row() : nullptr;
        const int64_t slots = p_.steps > 0 ? (p_.steps - 1) / p_.interval : 0;
        s.checkpoints = a_.checkpoints ? a_.checkpoints + s.item * slots * e() * m() : nullptr;
        start_segment(s, a_.shift ? a_.shift + s.item * e() * m() : nullptr);
    }

    const float* packed(Head& head) const {
        if (!head.is_packed) matrix().pack(head.packed, head.weight);
        head.is_packed = true;
        return head.packed;
    }

    void start_segment(Stream& s, const float* shift) {
        s.start = shift;
        s.accumulated = false;
        s.slot = 0;
        if (shift || (p_.steps == 1 && p_.batch == 1))
            matrix().pack(s.w, s.head->weight, shift);
        else
            std::memcpy(s.w, packed(*s.head), sizeof(float) * matrix().size());
    }

    const float* x_of(const Stream& s, int j) const { return s.x + static_cast<int64_t>(s.steps->t[j]) * p_.heads * e(); }

    // W and what x reads from it, where the step before has not left them.
    SRWM_INLINE void prepare(Stream& s, int j) {
        const bool fresh = s.steps->fresh[j], checkpoint = s.checkpoints && j > 0 && j % p_.interval == 0;
        if (fresh) start_segment(s, nullptr);
        if (fresh || j == 0)
            for (int b = 0; b < matrix().blocks; ++b)
                with_width<kMaxBlock>(matrix().width(b), [&](auto n) {
                    read_matrix<n>(matrix().at(s.w, b), e(), x_of(s, j), s.out + matrix().first(b) * kLanes);
                });
        if (s.slot == kChunk || (checkpoint && s.slot)) renew(s);
        if (checkpoint) matrix().unpack(s.checkpoints + (j / p_.interval - 1) * e() * m(), s.w);
        if (j + kAhead < s.steps->n) {
            const int64_t ahead = static_cast<int64_t>(s.steps->t[j + kAhead]) * p_.heads;
            fetch<false>(s.x + ahead * e(), e());
            fetch<true>(s.y + ahead * d(), d());
        }
        if (s.saved && j + kRowsAhead < s.steps->n)
            fetch<true>(s.saved + static_cast<int64_t>(s.steps->t[j + kRowsAhead]) * size().row(), size().row());
        fetch_shifts(s, j);
    }

    // The last steps ask for the memory of the shift, and of the next sequence's, so that neither stops what comes.
    SRWM_INLINE void fetch_shifts(const Stream& s, int j) {
        constexpr int kSpread = 8, kLargest = 4096;
        const int left = s.steps->n - j, size = e() * m();
        if (left > kSpread || size > kLargest) return;
        const int share = size / (s.steps->n < kSpread ? s.steps->n : kSpread) + 1;
        const int start = (left - 1) * share, n = start + share < size ? share : size - start;
        if (start >= size) return;
        if (!past_caches_) fetch<true>(a_.shift_out + s.item * size + start, n);
        if (a_.shift && s.item + 2 < p_.batch * p_.heads) fetch<false>(a_.shift + (s.item + 2) * size + start, n);
    }

    float* key_of(const Stream& s) const { return s.keys + s.slot * size().e16(); }

    template <int kStreams>
    SRWM_INLINE void gates(Stream* streams, int j) {
        SoftmaxRow rows[2 * kStreams];
        for (int i = 0; i < kStreams; ++i) {
            const Stream& s = streams[i];
            copy_exactly(s.y + static_cast<int64_t>(s.steps->t[j]) * p_.heads * d(), s.out, d());
            rows[2 * i] = {s.out + d(), s.phi_q};
            rows[2 * i + 1] = {s.out + d() + e(), key_of(s)};
        }
        softmax(rows, e());
    }

    // What this step writes, and what the next x reads.
    SRWM_INLINE void advance(Stream& s, int j) {
        const float *key = key_of(s), *x = j + 1 < s.steps->n && !s.steps->fresh[j + 1] ? x_of(s, j + 1) : nullptr;
        float* update = s.updates + s.slot * matrix().padded();
        for (int i = 0; i < e(); i += kLanes) store(s.difference + i, load(s.phi_q + i) - load(key + i));
        for (int b = 0; b < matrix().blocks; ++b) {
            const int column = matrix().first(b) * kLanes;
            with_width<kMaxBlock>(matrix().width(b), [&](auto n) {
                if (x)
                    read_twice<n>(matrix().at(s.w, b), e(), x, s.difference, s.out_next + column, update + column);
                else
                    read_matrix<n>(matrix().at(s.w, b), e(), s.difference, update + column);
            });
        }
        add_writes_to(s, update, s.difference, s.slot);
        const vf rates = last_four(sigmoid(load(s.out + d() + 2 * e() + 4 - kLanes)));
        if (s.saved) {
            SavedRow row(s.saved + static_cast<int64_t>(s.steps->t[j]) * size().row(), size());
            copy(row.phi_q, s.phi_q, size().e16());
            copy(row.phi_k, key, size().e16());
            copy(row.difference, update, matrix().padded());
            std::memset(row.sigma, 0, sizeof(float) * (row.end - row.sigma));
            float sigma[kLanes];
            store(sigma, rates);
            std::memcpy(row.sigma, sigma + kLanes - 4, sizeof(float) * 4);
        }
        for (int c = 0; c < matrix().padded(); c += kLanes) store(update + c, spread(rates, sections_ + c) * load(update + c));
        ++s.slot;
        if (!x) return;
        std::swap(s.out, s.out_next);
        add_writes_to(s, s.out, x, s.slot);
    }

    // out, read from W by x, becomes what x reads after the first `count` writes since W was renewed.
    SRWM_INLINE void add_writes_to(const Stream& s, float* out, const float* x, int count) {
        key_products(x, s.keys, size().e16(), e(), count, s.products);
        for (int b = 0; b < matrix().blocks; ++b) {
            const int column = matrix().first(b) * kLanes;
            with_width<kMaxBlock>(matrix().width(b), [&](auto n) {
                add_writes<n>(out + column, s.products, s.updates + column, matrix().padded(), count);
            });
        }
    }

    void add_to_shift(Stream& s) {
        for (int b = 0; b < matrix().blocks; ++b)
            with_width<kMaxBlock>(matrix().width(b), [&](auto n) {
                add_products<n>(matrix().at(s.shift, b), e(), s.keys, size().e16(), s.updates + matrix().first(b) * kLanes,
                                matrix().padded(), s.slot);
            });
        s.slot = 0;
    }

    void renew(Stream& s) {
        if (!s.accumulated && s.start) matrix().pack(s.shift, s.start);
        if (!s.accumulated && !s.start) std::memset(s.shift, 0, sizeof(float) * matrix().size());
        s.accumulated = true;
        add_to_shift(s);
        const float* weight = packed(*s.head);
        for (int64_t i = 0; i < matrix().size(); i += kLanes) store(s.w + i, load(weight + i) + load(s.shift + i));
    }

    void end(Stream& s) {
        float* place = a_.shift_out + s.item * e() * m();
        float* out = past_caches_ ? s.w : place;
        if (s.steps->ends_reset) {
            std::memset(out, 0, sizeof(float) * e() * m());
        } else if (s.accumulated) {
            add_to_shift(s);
            matrix().unpack(out, s.shift);
        } else {
            for (int b = 0; b < matrix().blocks; ++b)
                with_width<kMaxBlock>(matrix().width(b), [&](auto n) {
                    const int column = matrix().first(b) * kLanes;
                    sum_products<n>(out, s.start, e(), m(), column, s.keys, size().e16(), s.updates + column, matrix().padded(),
                                    s.slot);
                });
        }
        if (past_caches_) copy_past_caches(place, out, static_cast<int64_t>(e()) * m());
    }

    const srwm_problem& p_;
    const srwm_self_referential_forward_arrays& a_;
    const srwm::Schedule& schedule_;
    const Size size_;
    const bool past_caches_ = p_.batch * p_.heads * p_.e * (p_.d + 2 * p_.e + 4) >= 1 << 18;
    const Blocked matrix_;
    Scratch scratch_;
    int32_t* sections_ = reinterpret_cast<int32_t*>(scratch_.take(matrix().padded()));
    std::vector<Head> heads_;  // all, or the one that is worked on
    Stream streams_[2];
};

}  // namespace SRWM_ISA_NAME
