// The C interface.
#include <cstring>
#include <new>
#include <string>

#include "core/instruction_sets.hpp"
#include "fast_weights/calls.hpp"
#include "pooling/calls.hpp"
#include "self_referential/calls.hpp"
#include "streams/calls.hpp"

namespace {

constexpr int kNoMemory = -1, kOtherInstructionSet = -2;

template <class F>
int guarded(F&& f) {
    try {
        f();
        return 0;
    } catch (const std::bad_alloc&) {
        return kNoMemory;
    }
}

}  // namespace

extern "C" {

int32_t srwm_api_version(void) { return SRWM_API_VERSION; }

int64_t srwm_saved_floats(int64_t heads, int64_t e, int64_t d) { return srwm::saved_room(heads, e, d); }

int32_t srwm_groups_heads(int64_t batch, int64_t heads, int64_t e, int64_t d, int64_t threads) {
    return srwm::groups_heads(batch, heads, e, d, threads);
}

int srwm_self_referential_forward(const srwm_problem* p, const srwm_self_referential_forward_arrays* a) {
    return guarded([&] { srwm::self_referential_forward(*p, *a); });
}
int srwm_self_referential_backward(const srwm_problem* p, const srwm_self_referential_backward_arrays* a) {
    bool same = true;
    const int status = guarded([&] { same = srwm::self_referential_backward(*p, *a); });
    return same ? status : kOtherInstructionSet;
}
int srwm_fast_weights_forward(const srwm_problem* p, const srwm_fast_weights_forward_arrays* a) {
    return guarded([&] { srwm::fast_weights_forward(*p, *a); });
}
int srwm_fast_weights_backward(const srwm_problem* p, const srwm_fast_weights_backward_arrays* a) {
    return guarded([&] { srwm::fast_weights_backward(*p, *a); });
}
int srwm_norm_pool_forward(const srwm_norm_pool* p, const srwm_norm_pool_forward_arrays* a) {
    return guarded([&] { srwm::norm_pool_forward(*p, *a); });
}
int srwm_norm_pool_backward(const srwm_norm_pool* p, const srwm_norm_pool_backward_arrays* a) {
    return guarded([&] { srwm::norm_pool_backward(*p, *a); });
}
int srwm_max_pool_forward(const srwm_max_pool* p, const srwm_max_pool_forward_arrays* a) {
    return guarded([&] { srwm::max_pool_forward(*p, *a); });
}
int srwm_max_pool_backward(const srwm_max_pool* p, const srwm_max_pool_backward_arrays* a) {
    return guarded([&] { srwm::max_pool_backward(*p, *a); });
}
int srwm_stream_question(const srwm_stream* p, const float* weights, const double* x, const uint8_t* present,
                         const uint8_t* state, float* logits) {
    return guarded([&] { srwm::stream_question(*p, weights, {x, present}, state, logits); });
}
int srwm_stream_example(const srwm_stream* p, const float* weights, const double* x, const uint8_t* present,
                        const uint8_t* state, int64_t label, uint8_t* state_out) {
    return guarded([&] { srwm::stream_example(*p, weights, {x, present}, state, label, state_out); });
}
int srwm_stream_experts(const srwm_experts* p, int64_t batch, int64_t steps, const float* asked, const float* given,
                        const int64_t* labels, double* sums, float* window, int32_t* window_labels, int64_t* number,
                        uint8_t* seen, float* answers, float* answers_given, float* losses) {
    return guarded([&] {
        const int64_t inputs = steps * p->features, outputs = steps * SRWM_EXPERTS * p->classes;
        for (int64_t b = 0; b < batch; ++b) {
            const srwm::ExpertState state{sums + b * srwm::expert_sums(*p), window + b * p->window * p->features,
                                          window_labels + b * p->window};
            const srwm::ExpertSamples samples{asked + b * inputs,
                                              given + b * inputs,
                                              labels + b * steps,
                                              steps,
                                              answers + b * outputs,
                                              answers_given ? answers_given + b * outputs : nullptr,
                                              losses + b * steps * 2 * SRWM_EXPERTS};
            srwm::selected->follow_experts(*p, state, samples, number[b], seen + b * p->classes);
            for (int64_t t = 0; t < steps; ++t) number[b] += labels[b * steps + t] >= 0;
        }
    });
}

const char* srwm_isa_names(void) {
    static const std::string names = [] {
        std::string list;
        for (const srwm::Kernels* kernels : srwm::runnable) list += (list.empty() ? "" : " ") + std::string(kernels->name);
        return list;
    }();
    return names.c_str();
}

int srwm_select_isa(const char* name) {
    for (const srwm::Kernels* kernels : srwm::runnable)
        if (!std::strcmp(name, kernels->name)) {
            srwm::selected = kernels;
            return 0;
        }
    return -1;
}

const char* srwm_selected_isa(void) { return srwm::selected->name; }

}  // extern "C"
