// Backward of fast weights with a decay.
//
// The gradient of a decay is a product of the state before its step with the gradient of the state after it, so both are needed at
// the same time. No state is kept for each step of the sequence: a first sweep repeats the writes and keeps the state at the start
// of every block of steps; then, block by block from the last, the states of one block are repeated and its steps are gone through
// in reverse.
#pragma once

#include "fast_weights/wide.hpp"

namespace SRWM_ISA_NAME {

// to = decay from + key update.
template <int N>
SRWM_PASS void pass_advance(float* to, const float* from, int rows, const float* key, const float* update, float decay) {
    const vf factor = set1(decay);
    vf u[N];
    for (int v = 0; v < N; ++v) u[v] = load(update + v * kLanes);
    for (int r = 0; r < rows; ++r, to += N * kLanes, from += N * kLanes) {
        const vf kr = set1(key[r]);
        for (int v = 0; v < N; ++v) store(to + v * kLanes, fma(kr, u[v], factor * load(from + v * kLanes)));
    }
}

// For each row of the sums over its columns: what the gradient of the key and of the query need.
struct RowSums {
    vf *key, *query;
};

// One step in reverse. g = next_decay (g - next_key next_grad_v (kDelta)) + q grad_y; read = key g; rows.key += g update;
// rows.query += (decay before + key update) grad_y; returns the sum of g before, where `before` is the state before the step.
template <int N, bool kDelta>
SRWM_PASS vf pass_decay_gradient(float* g, const float* before, int rows, const float* q, const float* key,
                                 const float* next_key, const float* grad_y, const float* next_grad_v, const float* update,
                                 float decay, float next_decay, float* read, RowSums sums_of, bool first) {
    constexpr int kUnroll = kSumsOf<N>;
    const vf factor = set1(decay), next_factor = set1(next_decay);
    vf gy[N], gv[N], u[N], acc[kUnroll][N], overlap[kUnroll][N];
    for (int v = 0; v < N; ++v) {
        gy[v] = load(grad_y + v * kLanes);
        gv[v] = kDelta ? load(next_grad_v + v * kLanes) : gy[v];
        u[v] = load(update + v * kLanes);
        for (int i = 0; i < kUnroll; ++i) acc[i][v] = overlap[i][v] = set1(0.0f);
    }
    auto row = [&](int r, int i) {
        const vf kr = set1(key[r]), qr = set1(q[r]), nr = kDelta ? set1(next_key[r]) : qr;
        vf of_key = first ? set1(0.0f) : sums_of.key[r], of_query = first ? set1(0.0f) : sums_of.query[r];
        for (int v = 0; v < N; ++v) {
            vf value = load(g + v * kLanes);
            if (kDelta) value = fnma(nr, gv[v], value);
            value = fma(qr, gy[v], next_factor * value);
            store(g + v * kLanes, value);
            const vf state = load(before + v * kLanes);
            acc[i][v] = fma(kr, value, acc[i][v]);
            overlap[i][v] = fma(value, state, overlap[i][v]);
            of_key = fma(value, u[v], of_key);
            of_query = fma(fma(kr, u[v], factor * state), gy[v], of_query);
        }
        sums_of.key[r] = of_key;
        sums_of.query[r] = of_query;
        g += N * kLanes;
        before += N * kLanes;
    };
    int r = 0;
    for (; r + kUnroll <= rows; r += kUnroll)
        for (int i = 0; i < kUnroll; ++i) row(r + i, i);
    for (; r < rows; ++r) row(r, 0);
    vf total = set1(0.0f);
    for (int v = 0; v < N; ++v) {
        for (int i = 1; i < kUnroll; ++i) {
            acc[0][v] = acc[0][v] + acc[i][v];
            overlap[0][v] = overlap[0][v] + overlap[i][v];
        }
        store(read + v * kLanes, acc[0][v]);
        total = total + overlap[0][v];
    }
    return total;
}

// sums[row] += matrix row.
template <int N>
SRWM_PASS void pass_product(const float* matrix, int rows, const float* row, vf* sums, bool first) {
    vf x[N];
    for (int v = 0; v < N; ++v) x[v] = load(row + v * kLanes);
    for (int r = 0; r < rows; ++r, matrix += N * kLanes) {
        vf total = first ? set1(0.0f) : sums[r];
        for (int v = 0; v < N; ++v) total = fma(load(matrix + v * kLanes), x[v], total);
        sums[r] = total;
    }
}

template <int kE, int kD, bool kDelta>
class DecayBackward {
public:
    DecayBackward(const srwm_problem& p, const srwm_fast_weights_backward_arrays& a, const srwm::Schedule& schedule)
        : p_(p), a_(a), schedule_(schedule), matrix_(e(), d(), kWidest), block_(root(p.steps)),
          starts_(scratch_.take((p.steps + block_ - 1) / block_ * matrix_.size())),
          states_(scratch_.take(block_ * matrix_.size())), g_(scratch_.take(matrix_.size())), zeros_(scratch_.take_zeros(e())),
          update_(scratch_.take_zeros(matrix_.padded())), grad_y_(scratch_.take_zeros(matrix_.padded())),
          next_grad_v_(scratch_.take_zeros(matrix_.padded())), read_(scratch_.take_zeros(matrix_.padded())),
          row_(scratch_.take_zeros(padded_rows())), sums_{take_sums(), take_sums()} {}

    void run(int64_t first, int64_t last) {
        for (int64_t item = first; item < last; ++item) run_item(Place(p_, schedule_, item));
    }

private:
    int e() const { return kE ? kE : static_cast<int>(p_.e); }
    int d() const { return kD ? kD : static_cast<int>(p_.d); }
    int padded_rows() const { return whole_vectors(e()) * kLanes; }
    vf* take_sums() { return reinterpret_cast<vf*>(scratch_.take_zeros(static_cast<int64_t>(padded_rows()) * kLanes)); }

    // The smallest number whose square is not smaller, at least 1.
    static int root(int64_t n) {
        int r = 1;
        while (static_cast<int64_t>(r) * r < n) ++r;
        return r;
    }

    void run_item(const Place& place) {
        const int n = place.steps->n;
        if (a_.grad_state_out && !place.steps->ends_reset)
            matrix_.pack(g_, a_.grad_state_out + place.item * e() * d());
        else
            clear(g_);
        forget_next();
        keep_starts(place);
        for (int first = (n - 1) / block_ * block_; n && first >= 0; first -= block_) {
            const int last = first + block_ < n ? first + block_ : n;
            std::memcpy(states_, starts_ + first / block_ * matrix_.size(), sizeof(float) * matrix_.size());
            for (int j = first; j + 1 < last; ++j) advance(place, j, state(j - first), state(j - first + 1));
            for (int j = last; j-- > first;) reverse(place, j, state(j - first));
        }
        finish(place);
    }

    float* state(int number) { return states_ + number * matrix_.size(); }
    void clear(float* matrix) { std::memset(matrix, 0, sizeof(float) * matrix_.size()); }

    void forget_next() {
        next_key_ = zeros_;
        next_decay_ = 1.0f;
        std::memset(next_grad_v_, 0, sizeof(float) * matrix_.padded());
    }

    // The state before the first step of each block; the place of the next one is the working memory of a block.
    void keep_starts(const Place& place) {
        const srwm::Steps& steps = *place.steps;
        if (!steps.n) return;
        if (a_.state && srwm::from_start(steps, 0))
            matrix_.pack(starts_, a_.state + place.item * e() * d());
        else
            clear(starts_);
        for (int j = 0; (j / block_ + 1) * block_ < steps.n; ++j) {
            float* start = starts_ + j / block_ * matrix_.size();
            float* working = start + matrix_.size();
            advance(place, j, j % block_ ? working : start, working);
        }
    }

    // The state before step j + 1 from that before step j.
    void advance(const Place& place, int j, const float* from, float* to) {
        if (place.steps->fresh[j + 1]) return clear(to);
        const int64_t at = place.at(j);
        load_update(at);
        for (int b = 0; b < matrix_.blocks; ++b)
            with_width<kWidest>(matrix_.width(b), [&](auto n) {
                pass_advance<n>(matrix_.at(to, b), matrix_.at(from, b), e(), a_.k + at * e(),
                                update_ + matrix_.first(b) * kLanes, a_.decay[at]);
            });
    }

    void load_update(int64_t at) {
        if (kDelta)
            for (int i = 0; i < d(); ++i) update_[i] = a_.beta[at] * a_.error[at * d() + i];
        else
            copy_exactly(update_, a_.v + at * d(), d());
    }

    vf pass_gradient(const float* before, const float* q, const float* key, float decay) {
        vf overlap = set1(0.0f);
        for (int b = 0; b < matrix_.blocks; ++b) {
            const int column = matrix_.first(b) * kLanes;
            with_width<kWidest>(matrix_.width(b), [&](auto n) {
                overlap =
                    overlap + pass_decay_gradient<n, kDelta>(matrix_.at(g_, b), matrix_.at(before, b), e(), q, key, next_key_,
                                                             grad_y_ + column, next_grad_v_ + column, update_ + column, decay,
                                                             next_decay_, read_ + column, sums_, b == 0);
            });
        }
        return overlap;
    }

    void store_sums(float* to, const vf* of_rows) {
        for (int i = 0; i < e(); i += kLanes) store(row_ + i, sums(of_rows + i));
        copy_exactly(to, row_, e());
    }

    void reverse(const Place& place, int j, const float* before) {
        const srwm::Steps& steps = *place.steps;
        if (j + 1 < steps.n && steps.fresh[j + 1]) {
            clear(g_);
            forget_next();
        }
        const int64_t at = place.at(j);
        const float* key = a_.k + at * e();
        load_update(at);
        copy_exactly(grad_y_, a_.grad_y + at * d(), d());
        float grad_decay = sum(pass_gradient(before, a_.q + at * e(), key, a_.decay[at]));
        store_sums(a_.grad_q + at * e(), sums_.query);
        store_sums(a_.grad_k + at * e(), sums_.key);
        if (kDelta) grad_decay -= reverse_read(at, before);
        copy_exactly(a_.grad_v + at * d(), kDelta ? next_grad_v_ : read_, d());
        a_.grad_decay[at] = grad_decay;
        next_key_ = key;
        next_decay_ = a_.decay[at];
    }

    // What comes back through the read of the key, which the write subtracts; returns its part of the gradient of the decay.
    float reverse_read(int64_t at, const float* before) {
        const float *key = a_.k + at * e(), *error = a_.error + at * d();
        float grad_beta = 0.0f;
        for (int i = 0; i < d(); ++i) {
            grad_beta += read_[i] * error[i];
            next_grad_v_[i] = a_.beta[at] * read_[i];
        }
        a_.grad_beta[at] = grad_beta;
        for (int b = 0; b < matrix_.blocks; ++b)
            with_width<kWidest>(matrix_.width(b), [&](auto n) {
                pass_product<n>(matrix_.at(before, b), e(), next_grad_v_ + matrix_.first(b) * kLanes, sums_.key, b == 0);
            });
        for (int i = 0; i < e(); i += kLanes) store(row_ + i, sums(sums_.key + i));
        float total = 0.0f;
        for (int i = 0; i < e(); ++i) {
            a_.grad_k[at * e() + i] -= a_.decay[at] * row_[i];
            total += key[i] * row_[i];
        }
        return total;
    }

    void finish(const Place& place) {
        if (!a_.grad_state) return;
        float* out = a_.grad_state + place.item * e() * d();
        const srwm::Steps& steps = *place.steps;
        if (steps.n && !srwm::from_start(steps, 0)) {
            std::memset(out, 0, sizeof(float) * e() * d());
            return;
        }
        if (steps.n) {  // the decay and the read of the first step
            std::memset(grad_y_, 0, sizeof(float) * matrix_.padded());
            pass_gradient(states_, zeros_, zeros_, 1.0f);
        }
        matrix_.unpack(out, g_);
    }

    const srwm_problem& p_;
    const srwm_fast_weights_backward_arrays& a_;
    const srwm::Schedule& schedule_;
    const Blocked matrix_;
    const int block_;
    Scratch scratch_;
    float *starts_, *states_, *g_;
    const float* zeros_;
    float *update_, *grad_y_, *next_grad_v_, *read_, *row_;
    RowSums sums_;
    const float* next_key_ = nullptr;
    float next_decay_ = 1.0f;
};

}  // namespace SRWM_ISA_NAME
