// What one instruction set offers; `library.cpp` chooses among them at run time and shares out the items.
#pragma once

#include "api.h"
#include "core/schedule.hpp"

namespace srwm {

// Where backward puts the weight gradient of one head, summed over the items it was given: dense (e, m).
struct WeightGradients {
    void* context;
    float* (*of_head)(void* context, int64_t head);
};

// Kernels for narrow matrices, which take several heads of a sequence side by side. They work on groups of heads, numbered as by
// `HeadGroup`.
struct GroupedKernels {
    int heads;                                    // in a group
    int64_t (*saved_floats)(int64_t e, int64_t d);  // kept of a step of a group
    void (*forward)(const srwm_problem&, const srwm_self_referential_forward_arrays&, const Schedule&, int64_t first,
                    int64_t last);
    void (*backward)(const srwm_problem&, const srwm_self_referential_backward_arrays&, const Schedule&, int64_t first,
                     int64_t last, const WeightGradients&);
};

// The passes of pooling/norm_pool.hpp, each over the images first ... last - 1.
struct NormPoolKernels {
    void (*reduce)(const srwm_norm_pool&, const srwm_norm_pool_forward_arrays&, const float* pivots, int64_t first,
                   int64_t last, double* sums);
    void (*finish)(const srwm_norm_pool&, const srwm_norm_pool_forward_arrays&, const float* scales, const float* shifts,
                   int64_t first, int64_t last);
    void (*gradient_sums)(const srwm_norm_pool&, const srwm_norm_pool_backward_arrays&, int64_t first, int64_t last,
                          double* sums);
    void (*gradient)(const srwm_norm_pool&, const srwm_norm_pool_backward_arrays&, const float* scales, const float* slopes,
                     const float* levels, int64_t first, int64_t last);
};

// The state of the experts of one stream, as api.h says.
struct ExpertState {
    double* sums;
    float* window;
    int32_t* labels;
};

// Samples of one stream for streams/experts.hpp.
struct ExpertSamples {
    const float *asked, *given;  // (steps, features)
    const int64_t* labels;       // (steps); below 0: nothing is learned
    int64_t steps;
    float *answers, *answers_given;  // (steps, experts, classes); null: given are those asked
    float* losses;                   // (steps, experts, 2), before each
};

// One sample of a stream for streams/step.hpp.
struct StreamSample {
    const float *weights, *inputs;
    const float* answers;           // of the experts (experts, classes); null: there are none
    int64_t label;                  // classes: the question
    const float* memory;
    float* memory_out;  // null: nothing is written
    float* logits;      // null: nobody asks for them
};

// Each works on the items first ... last - 1 of batch * heads. `item_of` says which SRWM item a number is.
struct Kernels {
    const char* name;
    void (*forward)(const srwm_problem&, const srwm_self_referential_forward_arrays&, const Schedule&, int64_t first,
                    int64_t last);
    void (*backward)(const srwm_problem&, const srwm_self_referential_backward_arrays&, const Schedule&, int64_t first,
                     int64_t last, const WeightGradients&);
    const GroupedKernels* grouped;
    void (*fast_forward)(const srwm_problem&, const srwm_fast_weights_forward_arrays&, const Schedule&, int64_t first,
                         int64_t last);
    void (*fast_backward)(const srwm_problem&, const srwm_fast_weights_backward_arrays&, const Schedule&, int64_t first,
                          int64_t last);
    NormPoolKernels norm_pool;
    // Over the images first ... last - 1.
    void (*max_pool_forward)(const srwm_max_pool&, const srwm_max_pool_forward_arrays&, int64_t first, int64_t last);
    void (*max_pool_backward)(const srwm_max_pool&, const srwm_max_pool_backward_arrays&, int64_t first, int64_t last);
    void (*stream_step)(const srwm_stream&, const StreamSample&);
    void (*follow_experts)(const srwm_experts&, const ExpertState&, const ExpertSamples&, int64_t number, uint8_t* seen);
};

extern const Kernels baseline_kernels;
#if defined(SRWM_X86)
extern const Kernels avx2_kernels, avx512vl_kernels, avx512_kernels;
extern const GroupedKernels avx512_grouped;
#endif

}  // namespace srwm
