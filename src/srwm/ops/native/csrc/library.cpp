// The C interface: one set of kernels is chosen, the best that this machine runs unless another is asked for.
#if defined(SRWM_X86)
#include <cpuid.h>
#endif

#include <chrono>
#include <cmath>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "kernels.hpp"
#include "parallel.hpp"
#include "srwm_layout.hpp"

namespace {

using srwm::HeadsKernels;
using srwm::Kernels;
using srwm::Schedule;
using srwm::Steps;
using srwm::WeightGradients;

#if defined(SRWM_X86)

bool runs_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
}

// AMD's family 19h (Zen 4) executes a 512-bit operation as two: vectors of 256 bits waste less of them.
bool splits_512_bits() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid(0, &a, &b, &c, &d) || b != signature_AMD_ebx) return false;
    __get_cpuid(1, &a, &b, &c, &d);
    return ((a >> 8) & 15) + ((a >> 20) & 255) == 0x19;
}

// The kernels that this machine runs, best first.
std::vector<const Kernels*> find_kernels() {
    __builtin_cpu_init();
    std::vector<const Kernels*> found;
    if (runs_avx512()) {
        found = {&srwm::avx512_kernels, &srwm::avx512vl_kernels};
        if (splits_512_bits()) std::swap(found[0], found[1]);
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back(&srwm::avx2_kernels);
    found.push_back(&srwm::baseline_kernels);
    return found;
}

#else

std::vector<const Kernels*> find_kernels() { return {&srwm::baseline_kernels}; }

#endif

const std::vector<const Kernels*> runnable = find_kernels();
const Kernels* selected = runnable.front();

// The schedule of a call, with the memory that it points to.
class ScheduleOf {
public:
    explicit ScheduleOf(const srwm_problem& p)
        : rows_(p.resets || p.mask ? p.batch : 1), positions_(rows_ * p.steps), fresh_(rows_ * p.steps) {
        for (int64_t b = 0; b < rows_; ++b) add(p, b);
    }
    operator Schedule() const { return {steps_.data(), rows_ == 1}; }

private:
    void add(const srwm_problem& p, int64_t b) {
        int32_t* t = positions_.data() + b * p.steps;
        uint8_t* fresh = fresh_.data() + b * p.steps;
        Steps s{t, fresh, 0, false};
        bool reset = false;
        for (int64_t i = 0; i < p.steps; ++i) {
            reset = reset || (p.resets && p.resets[b * p.steps + i]);
            if (p.mask && !p.mask[b * p.steps + i]) continue;
            t[s.n] = static_cast<int32_t>(i);
            fresh[s.n++] = reset;
            reset = false;
        }
        s.ends_reset = reset;
        steps_.push_back(s);
    }

    int64_t rows_;
    std::vector<int32_t> positions_;
    std::vector<uint8_t> fresh_;
    std::vector<Steps> steps_;
};

// How a call is cut up: into heads of a sequence one by one, or into groups of heads side by side.
class Pieces {
public:
    explicit Pieces(const srwm_problem& p, const HeadsKernels* side_by_side = nullptr)
        : p_(p), heads_(side_by_side ? side_by_side->heads : 1), grouped_(side_by_side) {}

    int64_t count() const { return p_.batch * ((p_.heads + heads_ - 1) / heads_); }
    int threads(int64_t work_per_step_and_head) const {
        return srwm::useful_threads(p_.threads, count(), static_cast<double>(p_.steps * work_per_step_and_head * heads_));
    }
    // Whether all pieces with this head are among first ... last - 1.
    bool hold(int64_t first, int64_t last, int64_t head) const {
        if (p_.batch == 1 || last - first == count()) return true;
        const int64_t group = head / heads_;
        return (grouped_ || !srwm::by_sequence(p_)) && first <= group * p_.batch && (group + 1) * p_.batch <= last;
    }

private:
    const srwm_problem& p_;
    int64_t heads_;
    bool grouped_;
};

// Weight gradients of the heads that one thread works on: those it has for itself go straight to their place.
class ThreadGradients {
public:
    ThreadGradients(const srwm_problem& p, const Pieces& pieces, float* grad_weight, int64_t first, int64_t last)
        : pieces_(pieces), size_(p.e * (p.d + 2 * p.e + 4)), grad_weight_(grad_weight), first_(first), last_(last) {}

    WeightGradients sink() {
        return {this, [](void* self, int64_t head) { return static_cast<ThreadGradients*>(self)->of_head(head); }};
    }
    // Threads are added in their order, so the same number of them gives the same bits.
    void add_shared_heads(std::vector<bool>& started) const {
        for (const auto& [head, sum] : shared_) {
            float* total = grad_weight_ + head * size_;
            for (int64_t i = 0; i < size_; ++i) total[i] = started[head] ? total[i] + sum[i] : sum[i];
            started[head] = true;
        }
    }

private:
    float* of_head(int64_t head) {
        if (pieces_.hold(first_, last_, head)) return grad_weight_ + head * size_;
        shared_.emplace_back(head, std::vector<float>(size_));
        return shared_.back().second.data();
    }

    const Pieces& pieces_;
    int64_t size_;
    float* grad_weight_;
    int64_t first_, last_;
    std::vector<std::pair<int64_t, std::vector<float>>> shared_;
};

int threads_for(const srwm_problem& p, int64_t work_per_step) { return Pieces(p).threads(work_per_step); }

const HeadsKernels* heads_kernels(const srwm_problem& p) { return p.side_by_side ? selected->side_by_side : nullptr; }

template <class F>
int guarded(F&& f) {
    try {
        f();
        return 0;
    } catch (const std::bad_alloc&) {
        return -1;
    }
}

void forward(const srwm_problem& p, const srwm_forward_arrays& a) {
    const ScheduleOf schedule(p);
    const bool one_step = p.steps == 1 && !a.saved;
    const HeadsKernels* heads = one_step ? nullptr : heads_kernels(p);
    const Pieces pieces(p, heads);
    const auto kernel = heads ? heads->forward : selected->forward;
    srwm::share(pieces.threads(4 * p.e * (p.d + 2 * p.e + 4)), pieces.count(),
                [&](int, int64_t first, int64_t last) { kernel(p, a, schedule, first, last); });
}

void backward(const srwm_problem& p, const srwm_backward_arrays& a) {
    const ScheduleOf schedule(p);
    const int64_t size = p.e * (p.d + 2 * p.e + 4);
    const HeadsKernels* heads = heads_kernels(p);
    const Pieces pieces(p, heads);
    const auto kernel = heads ? heads->backward : selected->backward;
    const int threads = pieces.threads(8 * size);
    std::vector<std::unique_ptr<ThreadGradients>> gradients(threads);
    srwm::share(threads, pieces.count(), [&](int thread, int64_t first, int64_t last) {
        gradients[thread] = std::make_unique<ThreadGradients>(p, pieces, a.grad_weight, first, last);
        kernel(p, a, schedule, first, last, gradients[thread]->sink());
    });
    if (p.batch == 0) std::fill_n(a.grad_weight, p.heads * size, 0.0f);
    std::vector<bool> started(p.heads);
    for (const auto& of_thread : gradients)
        if (of_thread) of_thread->add_shared_heads(started);
}

void fast_forward(const srwm_problem& p, const srwm_fast_forward_arrays& a) {
    const ScheduleOf schedule(p);
    srwm::share(threads_for(p, 3 * p.e * p.d), p.batch * p.heads,
                [&](int, int64_t first, int64_t last) { selected->fast_forward(p, a, schedule, first, last); });
}

void fast_backward(const srwm_problem& p, const srwm_fast_backward_arrays& a) {
    const ScheduleOf schedule(p);
    srwm::share(threads_for(p, 7 * p.e * p.d), p.batch * p.heads,
                [&](int, int64_t first, int64_t last) { selected->fast_backward(p, a, schedule, first, last); });
}

// Sums over images, (2, channels), by threads that are added in their order.
template <class F>
std::vector<double> summed_over_images(const srwm_norm_pool& p, int threads, F&& f) {
    std::vector<std::vector<double>> sums(threads, std::vector<double>(2 * p.channels));
    srwm::share(threads, p.images, [&](int thread, int64_t first, int64_t last) { f(first, last, sums[thread].data()); });
    for (int thread = 1; thread < threads; ++thread)
        for (int64_t c = 0; c < 2 * p.channels; ++c) sums[0][c] += sums[thread][c];
    return sums[0];
}

template <class Problem>
int threads_for_images(const Problem& p) {
    return srwm::useful_threads(p.threads, p.images, static_cast<double>(p.height * p.width * p.channels));
}

float pixel(const srwm_norm_pool& p, const void* x, int64_t i) {
    if (!p.half) return static_cast<const float*>(x)[i];
    const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(x)[i]) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

void norm_pool_forward(const srwm_norm_pool& p, const srwm_norm_pool_forward_arrays& a) {
    const int threads = threads_for_images(p);
    const double count = static_cast<double>(p.images * p.height * p.width);
    std::vector<float> pivots(p.channels), scales(p.channels), shifts(p.channels);
    for (int64_t c = 0; c < p.channels; ++c) pivots[c] = pixel(p, a.x, c);  // so that squares do not cancel
    const auto& kernels = selected->norm_pool;
    const auto sums = summed_over_images(p, threads, [&](int64_t first, int64_t last, double* to) {
        kernels.reduce(p, a, pivots.data(), first, last, to);
    });
    for (int64_t c = 0; c < p.channels; ++c) {
        const double mean = sums[c] / count, found = sums[p.channels + c] / count - mean * mean;
        const double variance = found < 0.0 ? 0.0 : found;  // what is no number stays so
        a.mean[c] = static_cast<float>(pivots[c] + mean);
        a.variance[c] = static_cast<float>(variance);
        const double scale = a.weight[c] / std::sqrt(variance + p.eps);
        scales[c] = static_cast<float>(scale);
        shifts[c] = static_cast<float>(a.bias[c] - (pivots[c] + mean) * scale);
    }
    srwm::share(threads, p.images, [&](int, int64_t first, int64_t last) {
        kernels.finish(p, a, scales.data(), shifts.data(), first, last);
    });
}

void norm_pool_backward(const srwm_norm_pool& p, const srwm_norm_pool_backward_arrays& a) {
    const int threads = threads_for_images(p);
    const double count = static_cast<double>(p.images * p.height * p.width);
    std::vector<float> scales(p.channels), slopes(p.channels), levels(p.channels);
    const auto& kernels = selected->norm_pool;
    const auto sums = summed_over_images(p, threads, [&](int64_t first, int64_t last, double* to) {
        kernels.gradient_sums(p, a, first, last, to);
    });
    for (int64_t c = 0; c < p.channels; ++c) {
        const double deviation = std::sqrt(static_cast<double>(a.variance[c]) + p.eps);
        const double grad_bias = sums[c], grad_weight = sums[p.channels + c] / deviation;
        const double scale = a.weight[c] / deviation, slope = -scale * grad_weight / deviation / count;
        a.grad_bias[c] = static_cast<float>(grad_bias);
        a.grad_weight[c] = static_cast<float>(grad_weight);
        scales[c] = static_cast<float>(scale);
        slopes[c] = static_cast<float>(slope);
        levels[c] = static_cast<float>(-scale * grad_bias / count - slope * a.mean[c]);
    }
    srwm::share(threads, p.images, [&](int, int64_t first, int64_t last) {
        kernels.gradient(p, a, scales.data(), slopes.data(), levels.data(), first, last);
    });
}

void max_pool_forward(const srwm_max_pool& p, const srwm_max_pool_forward_arrays& a) {
    srwm::share(threads_for_images(p), p.images,
                [&](int, int64_t first, int64_t last) { selected->max_pool_forward(p, a, first, last); });
}

void max_pool_backward(const srwm_max_pool& p, const srwm_max_pool_backward_arrays& a) {
    srwm::share(threads_for_images(p), p.images,
                [&](int, int64_t first, int64_t last) { selected->max_pool_backward(p, a, first, last); });
}

}  // namespace

extern "C" {

int32_t srwm_api_version(void) { return SRWM_API_VERSION; }

int32_t srwm_heads_side_by_side(void) { return selected->side_by_side->heads; }

int64_t srwm_saved_row(int32_t side_by_side, int64_t heads, int64_t e, int64_t d) {
    if (!side_by_side) return heads * SRWM_ISA_NAME::Size(static_cast<int>(e), static_cast<int>(d)).row();
    const HeadsKernels& kernels = *selected->side_by_side;
    return (heads + kernels.heads - 1) / kernels.heads * kernels.saved_floats(e, d);
}

int srwm_forward(const srwm_problem* p, const srwm_forward_arrays* a) {
    return guarded([&] { forward(*p, *a); });
}
int srwm_backward(const srwm_problem* p, const srwm_backward_arrays* a) {
    return guarded([&] { backward(*p, *a); });
}
int srwm_fast_forward(const srwm_problem* p, const srwm_fast_forward_arrays* a) {
    return guarded([&] { fast_forward(*p, *a); });
}
int srwm_fast_backward(const srwm_problem* p, const srwm_fast_backward_arrays* a) {
    return guarded([&] { fast_backward(*p, *a); });
}
int srwm_norm_pool_forward(const srwm_norm_pool* p, const srwm_norm_pool_forward_arrays* a) {
    return guarded([&] { norm_pool_forward(*p, *a); });
}
int srwm_norm_pool_backward(const srwm_norm_pool* p, const srwm_norm_pool_backward_arrays* a) {
    return guarded([&] { norm_pool_backward(*p, *a); });
}
int srwm_max_pool_forward(const srwm_max_pool* p, const srwm_max_pool_forward_arrays* a) {
    return guarded([&] { max_pool_forward(*p, *a); });
}
int srwm_max_pool_backward(const srwm_max_pool* p, const srwm_max_pool_backward_arrays* a) {
    return guarded([&] { max_pool_backward(*p, *a); });
}

const char* srwm_isa_names(void) {
    static const std::string names = [] {
        std::string list;
        for (const Kernels* kernels : runnable) list += (list.empty() ? "" : " ") + std::string(kernels->name);
        return list;
    }();
    return names.c_str();
}

int srwm_select_isa(const char* name) {
    for (const Kernels* kernels : runnable)
        if (!std::strcmp(name, kernels->name)) {
            selected = kernels;
            return 0;
        }
    return -1;
}

const char* srwm_selected_isa(void) { return selected->name; }

double srwm_fma_peak(int32_t threads) {
    constexpr int64_t kRounds = 4'000'000;
    double operations = 0;
    const auto start = std::chrono::steady_clock::now();
    std::vector<double> done(threads);
    srwm::share(threads, threads, [&](int thread, int64_t, int64_t) { done[thread] = selected->fma_operations(kRounds); });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    for (double d : done) operations += d;
    return operations / seconds.count();
}

}  // extern "C"
