// What one instruction set offers; `library.cpp` chooses among them at run time and shares out the items.
#pragma once

#include "api.h"
#include "schedule.hpp"

namespace srwm {

// Where backward puts the weight gradient of one head, summed over the items it was given: dense (e, m).
struct WeightGradients {
    void* context;
    float* (*of_head)(void* context, int64_t head);
};

// Each works on the items first ... last - 1 of batch * heads. `item_of` says which SRWM item a number is.
struct Kernels {
    const char* name;
    void (*forward)(const srwm_problem&, const srwm_forward_arrays&, const Schedule&, int64_t first, int64_t last);
    void (*backward)(const srwm_problem&, const srwm_backward_arrays&, const Schedule&, int64_t first, int64_t last,
                     const WeightGradients&);
    // These work on groups of heads side by side, as `HeadsGroup` numbers them.
    int heads;                                               // in a group
    int64_t (*heads_saved)(int64_t e, int64_t d);            // floats that backward keeps of a step of a group
    void (*heads_forward)(const srwm_problem&, const srwm_forward_arrays&, const Schedule&, int64_t first, int64_t last);
    void (*heads_backward)(const srwm_problem&, const srwm_backward_arrays&, const Schedule&, int64_t first, int64_t last,
                           const WeightGradients&);
    void (*fast_forward)(const srwm_problem&, const srwm_fast_forward_arrays&, const Schedule&, int64_t first, int64_t last);
    void (*fast_backward)(const srwm_problem&, const srwm_fast_backward_arrays&, const Schedule&, int64_t first, int64_t last);
    double (*fma_operations)(int64_t rounds);
};

extern const Kernels baseline_kernels;
#if defined(SRWM_X86)
extern const Kernels avx2_kernels, avx512vl_kernels, avx512_kernels;
#endif

}  // namespace srwm
