/* The C interface of the kernels. All arrays are dense, float32 unless said, in the shapes named; a null pointer means "not given".

   Results do not depend on anything but the arguments, the instruction set and `threads`. Returns 0; -1 when memory ran out; -2 from a
   backward whose forward ran with another instruction set. */
#ifndef SRWM_API_H
#define SRWM_API_H

#include <stdint.h>

#define SRWM_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int64_t threads;
    int64_t batch, steps, heads, e, d; /* x is (batch, steps, heads, e), y (batch, steps, heads, d) */
    int64_t interval; /* steps between two checkpoints of W */
    const uint8_t *resets, *mask; /* (batch, steps) */
} srwm_problem;

/* m = d + 2 e + 4; saved (SRWM_SAVED_HEADER + batch * steps * srwm_saved_floats(...)), which only the instruction set that wrote it
   reads; checkpoints (batch, heads, (steps - 1) / interval, e, m). */
typedef struct {
    const float *x, *weight, *shift;
    float *y, *shift_out, *saved, *checkpoints;
} srwm_self_referential_forward_arrays;

typedef struct {
    const float *x, *weight, *shift, *shift_out, *saved, *checkpoints, *grad_y, *grad_shift_out;
    float *grad_x, *grad_weight, *grad_shift;
} srwm_self_referential_backward_arrays;

/* beta null: linear attention. decay (batch, steps, heads): what the state is multiplied by before a step; null: it is kept. error
   (batch, steps, heads, d): v - k (decay state), kept for backward. */
typedef struct {
    const float *q, *k, *v, *beta, *decay, *state;
    float *y, *state_out, *error;
} srwm_fast_weights_forward_arrays;

typedef struct {
    const float *q, *k, *v, *beta, *decay, *state, *error, *grad_y, *grad_state_out;
    float *grad_q, *grad_k, *grad_v, *grad_beta, *grad_decay, *grad_state;
} srwm_fast_weights_backward_arrays;

/* Batch normalization, 2x2 max-pool, dropout and ReLU of images (images, height, width, channels), float32 or bfloat16. */
typedef struct {
    int32_t threads, half; /* half: bfloat16 */
    int64_t images, height, width, channels; /* channels: a multiple of 16 */
    uint64_t seed; /* of dropout */
    uint32_t drop_below; /* an output is dropped where 32 random bits are less */
    float grow, eps; /* what is left is multiplied by grow; eps is added to the variance */
} srwm_norm_pool;

/* x, y, pooled and their gradients are of the images' type; mean and variance (channels) are those of the images, divided by their
   number; pooled and places (images, height / 2, width / 2, channels) like y are kept for backward. */
typedef struct {
    const void* x;
    const float *weight, *bias;
    void *y, *pooled;
    uint8_t* places;
    float *mean, *variance;
} srwm_norm_pool_forward_arrays;

typedef struct {
    const void* x;
    const float* weight;
    const void *pooled, *grad_y;
    const uint8_t* places;
    const float *mean, *variance;
    void* grad_x;
    float *grad_weight, *grad_bias;
} srwm_norm_pool_backward_arrays;

/* Max-pool by windows of 3x3, stride 2, padded by 1, of images (images, height, width, channels), float32 or bfloat16. */
typedef struct {
    int32_t threads, half; /* half: bfloat16 */
    int64_t images, height, width, channels; /* channels: a multiple of 16 */
} srwm_max_pool;

/* y (images, (height + 1) / 2, (width + 1) / 2, channels); places like y, null in inference: which of the nine pixels. */
typedef struct {
    const void* x;
    void* y;
    uint8_t* places;
} srwm_max_pool_forward_arrays;

typedef struct {
    const uint8_t* places;
    const void* grad_y;
    void* grad_x;
} srwm_max_pool_backward_arrays;

/* A model of streams (srwm/streams/model.py) whose blocks are those of the delta rule, with residual connections. */
typedef struct {
    int64_t features, classes, width, layers, heads; /* the width of a head is e = width / heads */
    int64_t hidden; /* width within the feed-forward sub-layers; 0: there are none */
    int64_t max_count; /* number of samples beyond which the model does not see how many there were */
    double memory, limit, noise; /* of the statistics: srwm/streams/statistics.py */
    float norm_eps; /* of layer normalization */
    float feature_eps; /* of the feature map elu */
    int32_t l2_features; /* 1: the feature map l2; 0: elu */
    int32_t window; /* of the experts; 0: the model has none */
} srwm_stream;

/* The experts of a stream (srwm/streams/experts.py). */
typedef struct {
    int64_t features, classes, window;
} srwm_experts;

/* sums of a stream, dense, each for two rates of forgetting: weights of the classes (2, classes), sums and sums of squares
   (2, classes, features), covariance (2, features + 1, features + 1), coefficients (2, features + 1, classes); then losses
   (experts, 2). */
#define SRWM_EXPERTS 7

/* The state of a stream is dense: float64 number, origin, total and squares (features) each; int64 number of samples; float64 sums of
   the experts; float32 fast matrices (layers, heads, e, e); float32 window (features, window) and int32 its labels (window); uint8
   which classes were shown (classes).

   weights, aligned: everything in the order of its use. A matrix multiplies a row from the right; its columns, padded to half a
   block, lie in blocks of SRWM_STREAM_BLOCK, at the end of half of that where this is enough, each dense row by row. A vector is
   padded likewise. In this order: features' matrix (inputs, 2 width) and bias, matrix (2 width, width) and bias; rows of the
   labels (classes + 1, width), each padded; gain and bias of a normalization; for each layer gain and bias, the slow matrix
   (width, 3 width + heads) with columns [k, v, beta, q], of each those of all heads, the matrix of the output (width, width), and
   with hidden gain and bias, matrix (width, hidden) and bias, matrix (hidden, width) and bias; gain and bias, the matrix of the
   logits (width, classes) and bias. With experts their number of classes is followed by one column for the weight of each expert's
   answer. inputs are the features (features), which of them are there (features), the logarithm of the number of samples, and with
   experts a quarter of their answers (experts, classes) and their losses less 1 (experts, 2). */

#define SRWM_STREAM_BLOCK 32 /* columns */
#define SRWM_API_VERSION 9
#define SRWM_SAVED_HEADER 16 /* floats before the first step in `saved` */

SRWM_EXPORT int32_t srwm_api_version(void); /* SRWM_API_VERSION of the library that was compiled */
SRWM_EXPORT int64_t srwm_saved_floats(int64_t heads, int64_t e, int64_t d); /* kept of one step of a sequence, at most */
SRWM_EXPORT int32_t srwm_groups_heads(int64_t batch, int64_t heads, int64_t e, int64_t d,
                                      int64_t threads); /* the way of a forward */
SRWM_EXPORT int srwm_self_referential_forward(const srwm_problem*, const srwm_self_referential_forward_arrays*);
SRWM_EXPORT int srwm_self_referential_backward(const srwm_problem*, const srwm_self_referential_backward_arrays*);
SRWM_EXPORT int srwm_fast_weights_forward(const srwm_problem*, const srwm_fast_weights_forward_arrays*);
SRWM_EXPORT int srwm_fast_weights_backward(const srwm_problem*, const srwm_fast_weights_backward_arrays*);
SRWM_EXPORT int srwm_norm_pool_forward(const srwm_norm_pool*, const srwm_norm_pool_forward_arrays*);
SRWM_EXPORT int srwm_norm_pool_backward(const srwm_norm_pool*, const srwm_norm_pool_backward_arrays*);
SRWM_EXPORT int srwm_max_pool_forward(const srwm_max_pool*, const srwm_max_pool_forward_arrays*);
SRWM_EXPORT int srwm_max_pool_backward(const srwm_max_pool*, const srwm_max_pool_backward_arrays*);
/* x and present (features), logits (classes), label from 0; state_out may be state. Directly, not in a structure of addresses: ctypes passes
   bytes faster than anybody asks for their address. */
SRWM_EXPORT int srwm_stream_question(const srwm_stream*, const float* weights, const double* x, const uint8_t* present,
                                     const uint8_t* state, float* logits);
SRWM_EXPORT int srwm_stream_example(const srwm_stream*, const float* weights, const double* x, const uint8_t* present,
                                    const uint8_t* state, int64_t label, uint8_t* state_out);
/* Streams side by side: asked, given (batch, steps, features), labels (batch, steps); the state, in place: sums, window, labels of the
   window, number (batch), seen (batch, classes); answers, answers_given (batch, steps, experts, classes), the latter null where given
   are those asked; losses (batch, steps, experts, 2). */
SRWM_EXPORT int srwm_stream_experts(const srwm_experts*, int64_t batch, int64_t steps, const float* asked, const float* given,
                                    const int64_t* labels, double* sums, float* window, int32_t* window_labels, int64_t* number,
                                    uint8_t* seen, float* answers, float* answers_given, float* losses);

SRWM_EXPORT const char* srwm_isa_names(void); /* what this machine can run, best first, separated by spaces */
SRWM_EXPORT int srwm_select_isa(const char* name); /* 0, or -1 when this machine cannot run it */
SRWM_EXPORT const char* srwm_selected_isa(void);

#ifdef __cplusplus
}
#endif
#endif
