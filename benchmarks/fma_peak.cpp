// Float32 operations per second from registers, in the instruction set that this is compiled for: fma_peak_<name> THREADS.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "core/parallel.hpp"
#include "simd/vectors.hpp"

namespace {

using namespace SRWM_ISA_NAME;

// Independent multiply-adds in registers, `rounds` times; returns how many operations that were.
double fma_operations(int64_t rounds) {
    constexpr int kSums = kMaxBlock > 4 ? 16 : 10;
    vf values[kSums];
    for (int i = 0; i < kSums; ++i) values[i] = set1(0.001f * static_cast<float>(i));
    const vf factor = set1(0.999f), term = set1(0.001f);
    for (int64_t r = 0; r < rounds; ++r)
        for (int i = 0; i < kSums; ++i) values[i] = fma(values[i], factor, term);
    float total = 0.0f;
    for (int i = 0; i < kSums; ++i) total += sum(values[i]);
    volatile float sink = total;  // or the compiler would leave the work out
    (void)sink;
    return 2.0 * kLanes * kSums * static_cast<double>(rounds);
}

double operations_per_second(int threads) {
    constexpr int64_t kRounds = 4'000'000;
    std::vector<double> done(threads);
    const auto start = std::chrono::steady_clock::now();
    srwm::share(threads, threads, [&](int thread, int64_t, int64_t) { done[thread] = fma_operations(kRounds); });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    double operations = 0.0;
    for (double d : done) operations += d;
    return operations / seconds.count();
}

}  // namespace

int main(int argc, char** argv) {
    const int threads = argc > 1 ? std::max(1, std::atoi(argv[1])) : 1;
    double best = 0.0;
    for (int repeat = 0; repeat < 5; ++repeat) best = std::max(best, operations_per_second(threads));
    std::printf("%.9g\n", best);
}
