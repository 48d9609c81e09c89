// Compiled once for each instruction set, with SRWM_ISA_NAME naming it.
#include "kernels.hpp"

#include "fast_weights/decay.hpp"
#include "fast_weights/narrow.hpp"
#include "fast_weights/wide.hpp"
#include "pooling/max_pool.hpp"
#include "pooling/norm_pool.hpp"
#include "self_referential/backward.hpp"
#include "self_referential/forward.hpp"
#if !defined(SRWM_HALF_VECTORS)  // which take those of whole vectors: they are faster everywhere
#include "self_referential/grouped_backward.hpp"
#endif
#include "self_referential/one_step.hpp"
#include "streams/experts.hpp"
#include "streams/step.hpp"

namespace SRWM_ISA_NAME {
namespace {

// Call f with the sizes as compile-time numbers where they are common ones, else with (0, 0): sizes known at run time only.
template <class F>
void with_sizes(int64_t e, int64_t d, F&& f) {
    auto known = [&](auto n) { f(n, n); };
    if (e == 16 && d == 16) return known(std::integral_constant<int, 16>{});
    if (e == 32 && d == 32) return known(std::integral_constant<int, 32>{});
    if (e == 64 && d == 64) return known(std::integral_constant<int, 64>{});
    known(std::integral_constant<int, 0>{});
}

void forward(const srwm_problem& p, const srwm_self_referential_forward_arrays& a, const srwm::Schedule& schedule,
             int64_t first, int64_t last) {
    with_sizes(p.e, p.d, [&](auto e, auto d) {
        if (p.steps == 1 && !a.saved)
            OneStep<e, d>(p, a, schedule).run(first, last);
        else
            Forward<e, d>(p, a, schedule).run(first, last);
    });
}

void backward(const srwm_problem& p, const srwm_self_referential_backward_arrays& a, const srwm::Schedule& schedule,
              int64_t first, int64_t last, const srwm::WeightGradients& weight_gradients) {
    with_sizes(p.e, p.d, [&](auto e, auto d) { Backward<e, d>(p, a, schedule).run(first, last, weight_gradients); });
}

#if !defined(SRWM_HALF_VECTORS)

template <class F>
void with_narrow_sizes(int64_t e, int64_t d, F&& f) {
    auto known = [&](auto n) { f(n, n); };
    if (e == 16 && d == 16) return known(std::integral_constant<int, 16>{});
    if (e == 32 && d == 32) return known(std::integral_constant<int, 32>{});
    known(std::integral_constant<int, 0>{});
}

int64_t grouped_saved(int64_t e, int64_t d) { return GroupedSize(static_cast<int>(e), static_cast<int>(d)).saved_floats(); }

void grouped_forward(const srwm_problem& p, const srwm_self_referential_forward_arrays& a, const srwm::Schedule& schedule,
                     int64_t first, int64_t last) {
    with_narrow_sizes(p.e, p.d, [&](auto e, auto d) { GroupedForward<e, d>(p, a, schedule).run(first, last); });
}

void grouped_backward(const srwm_problem& p, const srwm_self_referential_backward_arrays& a, const srwm::Schedule& schedule,
                      int64_t first, int64_t last, const srwm::WeightGradients& weight_gradients) {
    with_narrow_sizes(p.e, p.d,
                      [&](auto e, auto d) { GroupedBackward<e, d>(p, a, schedule).run(first, last, weight_gradients); });
}

#endif

template <bool kDelta, bool kDecay>
void fast_forward_of(const srwm_problem& p, const srwm_fast_weights_forward_arrays& a, const srwm::Schedule& schedule,
                     int64_t first, int64_t last) {
    if (p.e == kLanes && p.d == kLanes) return NarrowForward<true, kDelta, kDecay>(p, a, schedule).run(first, last);
    if constexpr (kLanes > 4)  // fewer are copied one by one, which takes longer than it saves
        if (p.e <= kLanes && p.d <= kLanes) return NarrowForward<false, kDelta, kDecay>(p, a, schedule).run(first, last);
    with_sizes(p.e, p.d, [&](auto e, auto d) { FastForward<e, d, kDelta, kDecay>(p, a, schedule).run(first, last); });
}

void fast_forward(const srwm_problem& p, const srwm_fast_weights_forward_arrays& a, const srwm::Schedule& schedule,
                  int64_t first, int64_t last) {
#if defined(SRWM_HALF_VECTORS)  // what only whole vectors hold in registers
    if ((p.e > kLanes || p.d > kLanes) && p.e <= 2 * kLanes && p.d <= 2 * kLanes)
        return srwm::avx512_kernels.fast_forward(p, a, schedule, first, last);
#endif
    const auto run = a.beta    ? a.decay ? fast_forward_of<true, true> : fast_forward_of<true, false>
                     : a.decay ? fast_forward_of<false, true>
                               : fast_forward_of<false, false>;
    run(p, a, schedule, first, last);
}

void fast_backward(const srwm_problem& p, const srwm_fast_weights_backward_arrays& a, const srwm::Schedule& schedule,
                   int64_t first, int64_t last) {
    with_sizes(p.e, p.d, [&](auto e, auto d) {
        if (a.beta && a.decay)
            DecayBackward<e, d, true>(p, a, schedule).run(first, last);
        else if (a.decay)
            DecayBackward<e, d, false>(p, a, schedule).run(first, last);
        else if (a.beta)
            FastBackward<e, d, true>(p, a, schedule).run(first, last);
        else
            FastBackward<e, d, false>(p, a, schedule).run(first, last);
    });
}

void norm_pool_reduce(const srwm_norm_pool& p, const srwm_norm_pool_forward_arrays& a, const float* pivots, int64_t first,
                      int64_t last, double* sums) {
    with_pixels<NormPool>(p, [&](const auto& images) { images.reduce(a, pivots, first, last, sums); });
}

void norm_pool_finish(const srwm_norm_pool& p, const srwm_norm_pool_forward_arrays& a, const float* scales, const float* shifts,
                      int64_t first, int64_t last) {
    with_pixels<NormPool>(p, [&](const auto& images) { images.finish(a, scales, shifts, first, last); });
}

void norm_pool_gradient_sums(const srwm_norm_pool& p, const srwm_norm_pool_backward_arrays& a, int64_t first, int64_t last,
                             double* sums) {
    with_pixels<NormPool>(p, [&](const auto& images) { images.gradient_sums(a, first, last, sums); });
}

void norm_pool_gradient(const srwm_norm_pool& p, const srwm_norm_pool_backward_arrays& a, const float* scales,
                        const float* slopes, const float* levels, int64_t first, int64_t last) {
    with_pixels<NormPool>(p, [&](const auto& images) { images.gradient(a, scales, slopes, levels, first, last); });
}

void max_pool_forward(const srwm_max_pool& p, const srwm_max_pool_forward_arrays& a, int64_t first, int64_t last) {
    with_pixels<MaxPool>(p, [&](const auto& images) {
        if (a.places)
            images.template forward<true>(a, first, last);
        else
            images.template forward<false>(a, first, last);
    });
}

void max_pool_backward(const srwm_max_pool& p, const srwm_max_pool_backward_arrays& a, int64_t first, int64_t last) {
    with_pixels<MaxPool>(p, [&](const auto& images) { images.backward(a, first, last); });
}

void stream_step(const srwm_stream& p, const srwm::StreamSample& s) { StreamStep(p, s).run(); }

void stream_experts(const srwm_experts& p, const srwm::ExpertState& state, const srwm::ExpertSamples& s, int64_t number,
                    uint8_t* seen) {
    follow_experts(p, state, s, number, seen);
}

}  // namespace
}  // namespace SRWM_ISA_NAME

#define SRWM_QUOTED(name) #name
#define SRWM_STRING(name) SRWM_QUOTED(name)
#define SRWM_JOINED(name, kind) name##_##kind
#define SRWM_TABLE(name, kind) SRWM_JOINED(name, kind)

namespace srwm {
#if defined(SRWM_HALF_VECTORS)
#define SRWM_GROUPED avx512_grouped
#else
#define SRWM_GROUPED SRWM_TABLE(SRWM_ISA_NAME, grouped)
extern const GroupedKernels SRWM_GROUPED;
const GroupedKernels SRWM_GROUPED = {
    SRWM_ISA_NAME::kHeads,
    SRWM_ISA_NAME::grouped_saved,
    SRWM_ISA_NAME::grouped_forward,
    SRWM_ISA_NAME::grouped_backward,
};
#endif
const Kernels SRWM_TABLE(SRWM_ISA_NAME, kernels) = {
    SRWM_STRING(SRWM_ISA_NAME),
    SRWM_ISA_NAME::forward,
    SRWM_ISA_NAME::backward,
    &SRWM_GROUPED,
    SRWM_ISA_NAME::fast_forward,
    SRWM_ISA_NAME::fast_backward,
    {SRWM_ISA_NAME::norm_pool_reduce, SRWM_ISA_NAME::norm_pool_finish, SRWM_ISA_NAME::norm_pool_gradient_sums,
     SRWM_ISA_NAME::norm_pool_gradient},
    SRWM_ISA_NAME::max_pool_forward,
    SRWM_ISA_NAME::max_pool_backward,
    SRWM_ISA_NAME::stream_step,
    SRWM_ISA_NAME::stream_experts,
};
}  // namespace srwm
