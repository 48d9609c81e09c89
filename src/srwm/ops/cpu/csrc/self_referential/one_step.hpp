// One step of the self-referential weight matrix without backward, as streaming takes them: every matrix is read and written
// where the caller has it, since packing it would cost as much as the step.
#pragma once

#include "core/layout.hpp"
#include "core/scratch.hpp"
#include "kernels.hpp"
#include "self_referential/layout.hpp"

namespace SRWM_ISA_NAME {

// N vectors of columns of dense matrices; the last vector holds `tail` columns.
template <int N, bool kShift>
SRWM_INLINE vf dense(const float* weight, const float* shift, int v, int tail) {
    auto at = [&](const float* p) { return v < N - 1 ? load(p + v * kLanes) : load_exactly(p + v * kLanes, tail); };
    return kShift ? at(weight) + at(shift) : at(weight);
}

// out = x (weight + shift).
template <int N, bool kShift>
SRWM_INLINE void read_dense(const float* weight, const float* shift, int rows, int stride, int tail, const float* x,
                            float* out) {
    vf acc[N];
    for (int v = 0; v < N; ++v) acc[v] = set1(0.0f);
    for (int r = 0; r < rows; ++r, weight += stride, shift += kShift ? stride : 0)
        for (int v = 0; v < N; ++v) acc[v] = fma(set1(x[r]), dense<N, kShift>(weight, shift, v, tail), acc[v]);
    for (int v = 0; v < N; ++v) store(out + v * kLanes, acc[v]);
}

// out = shift + key update.
template <int N, bool kShift>
SRWM_INLINE void write_dense(const float* shift, float* out, int rows, int stride, int tail, const float* key,
                             const float* update) {
    vf u[N];
    for (int v = 0; v < N; ++v) u[v] = load(update + v * kLanes);
    for (int r = 0; r < rows; ++r, out += stride, shift += kShift ? stride : 0)
        for (int v = 0; v < N; ++v) {
            const vf start = kShift ? dense<N, false>(shift, nullptr, v, tail) : set1(0.0f);
            store_exactly(out + v * kLanes, fma(set1(key[r]), u[v], start), v < N - 1 ? kLanes : tail);
        }
}

template <int kE, int kD>
class OneStep {
    struct Stream {
        float *out, *phi_q, *key, *difference, *update;
        const float *x, *weight, *shift;  // shift null: zero
        float *y, *shift_out;
    };

public:
    OneStep(const srwm_problem& p, const srwm_self_referential_forward_arrays& a, const srwm::Schedule& schedule)
        : p_(p), a_(a), schedule_(schedule), size_(static_cast<int>(p.e), static_cast<int>(p.d)), matrix_(e(), m(), kMaxBlock) {
        for (Stream& s : streams_) {
            s.out = scratch_.take_zeros(matrix().padded() + 4 * kLanes) + kLanes;  // rates are read with what is before them
            s.update = scratch_.take(matrix().padded());
            for (float** row : {&s.phi_q, &s.key, &s.difference}) *row = scratch_.take_zeros(size().e16());
        }
        size().fill_sections(sections_, matrix().padded());
    }

    // Items are numbered as they lie in memory: sequence * heads + head.
    void run(int64_t first, int64_t last) {
        int waiting = 0;
        for (int64_t item = first; item < last; ++item) {
            if (!begin(streams_[waiting], item)) continue;
            if (++waiting == 2) step<2>(), waiting = 0;
        }
        if (waiting) step<1>();
    }

private:
    SRWM_INLINE Size size() const { return kE ? Size(kE, kD) : size_; }
    int e() const { return size().e; }
    int d() const { return size().d; }
    int m() const { return size().m(); }
    SRWM_INLINE Blocked matrix() const { return kE ? Blocked(e(), m(), kMaxBlock) : matrix_; }

    // Whether there is a step to make; a masked one is done with.
    bool begin(Stream& s, int64_t item) {
        const int64_t sequence = item / p_.heads, matrix = static_cast<int64_t>(e()) * m();
        const srwm::Steps& steps = *srwm::steps_of(schedule_, sequence);
        s.shift_out = a_.shift_out + item * matrix;
        s.shift = a_.shift ? a_.shift + item * matrix : nullptr;
        if (!steps.n) {
            if (s.shift && !steps.ends_reset)
                std::memcpy(s.shift_out, s.shift, sizeof(float) * matrix);
            else
                std::memset(s.shift_out, 0, sizeof(float) * matrix);
            return false;
        }
        if (steps.fresh[0]) s.shift = nullptr;
        s.weight = a_.weight + item % p_.heads * matrix;
        s.x = a_.x + item * e();
        s.y = a_.y + item * d();
        return true;
    }

    // f(number of vectors, first column, columns in the last vector) for every block.
    template <class F>
    SRWM_INLINE void for_blocks(F&& f) const {
        for (int b = 0; b < matrix().blocks; ++b) {
            const int column = matrix().first(b) * kLanes, left = m() - column - (matrix().width(b) - 1) * kLanes;
            with_width<kMaxBlock>(matrix().width(b), [&](auto n) { f(n, column, left < kLanes ? left : kLanes); });
        }
    }

    SRWM_INLINE void read(const Stream& s, const float* x, float* out) const {
        for_blocks([&](auto n, int column, int tail) {
            if (s.shift)
                read_dense<n, true>(s.weight + column, s.shift + column, e(), m(), tail, x, out + column);
            else
                read_dense<n, false>(s.weight + column, nullptr, e(), m(), tail, x, out + column);
        });
    }

    template <int kStreams>
    void step() {
        SoftmaxRow rows[2 * kStreams];
        for (int i = 0; i < kStreams; ++i) {
            const Stream& s = streams_[i];
            read(s, s.x, s.out);
            copy_exactly(s.y, s.out, d());
            rows[2 * i] = {s.out + d(), s.phi_q};
            rows[2 * i + 1] = {s.out + d() + e(), s.key};
        }
        softmax(rows, e());
        for (int i = 0; i < kStreams; ++i) {
            const Stream& s = streams_[i];
            for (int k = 0; k < e(); k += kLanes) store(s.difference + k, load(s.phi_q + k) - load(s.key + k));
            read(s, s.difference, s.update);
            const vf rates = last_four(sigmoid(load(s.out + d() + 2 * e() + 4 - kLanes)));
            for (int c = 0; c < matrix().padded(); c += kLanes)
                store(s.update + c, spread(rates, sections_ + c) * load(s.update + c));
            for_blocks([&](auto n, int column, int tail) {
                if (s.shift)
                    write_dense<n, true>(s.shift + column, s.shift_out + column, e(), m(), tail, s.key, s.update + column);
                else
                    write_dense<n, false>(nullptr, s.shift_out + column, e(), m(), tail, s.key, s.update + column);
            });
        }
    }

    const srwm_problem& p_;
    const srwm_self_referential_forward_arrays& a_;
    const srwm::Schedule& schedule_;
    const Size size_;
    const Blocked matrix_;
    Scratch scratch_;
    int32_t* sections_ = reinterpret_cast<int32_t*>(scratch_.take(matrix().padded()));
    Stream streams_[2];
};

}  // namespace SRWM_ISA_NAME
