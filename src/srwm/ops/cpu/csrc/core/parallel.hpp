// Contiguous shares of the items for the threads of one call.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <vector>

namespace srwm {

// How many threads are worth waking for `items` independent pieces of `work` multiply-adds each.
inline int useful_threads(int threads, int64_t items, double work) {
    constexpr double kWorthOneThread = 1e5;
    const double by_work = static_cast<double>(items) * work / kWorthOneThread;
    return static_cast<int>(std::max<int64_t>(1, std::min<int64_t>({threads, items, static_cast<int64_t>(by_work)})));
}

// f(thread, first, last) for each thread's share. With one thread OpenMP is not entered: a forked child may not.
template <class F>
void share(int threads, int64_t items, F&& f) {
    if (items == 0) return;
    if (threads == 1) return f(0, int64_t{0}, items);
    std::vector<std::exception_ptr> errors(threads);
#pragma omp parallel num_threads(threads)
    {
        // The runtime may give fewer threads than asked for: the shares stay the same, so do the results.
        for (int i = omp_get_thread_num(); i < threads; i += omp_get_num_threads()) try {
                f(i, items * i / threads, items * (i + 1) / threads);
            } catch (...) {
                errors[i] = std::current_exception();
            }
    }
    for (const auto& error : errors)
        if (error) std::rethrow_exception(error);
}

}  // namespace srwm
