// Working memory of a kernel.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <new>

namespace SRWM_ISA_NAME {

// Memory of one thread for one call, handed out in aligned pieces. A thread keeps what it needed for its next call: asking the
// system for it again and again costs more than a short call computes.
class Scratch {
public:
    // A matrix that is written before it is read.
    float* take(int64_t floats) {
        const int64_t bytes = (floats * static_cast<int64_t>(sizeof(float)) + 127) / 64 * 64;
        used_ += bytes;
        if (used_ <= kept().bytes) return reinterpret_cast<float*>(kept().start + used_ - bytes);
        if (extras_ == kMostExtras) std::abort();  // a kernel that takes more pieces raises kMostExtras
        extra_[extras_] = allocate(bytes);
        return static_cast<float*>(extra_[extras_++]);
    }
    // A row whose padding is read, too.
    float* take_zeros(int64_t floats) {
        float* p = take(floats);
        std::memset(p, 0, sizeof(float) * floats);
        return p;
    }
    Scratch() = default;
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() {
        if (!extras_) return;
        while (extras_) std::free(extra_[--extras_]);
        std::free(kept().start);
        kept().bytes = 0;
        kept().start = static_cast<char*>(std::aligned_alloc(64, used_));
        if (kept().start) kept().bytes = used_;
    }

private:
    struct Kept {
        char* start = nullptr;
        int64_t bytes = 0;
        ~Kept() { std::free(start); }
    };
    static Kept& kept() {
        static thread_local Kept memory;
        return memory;
    }
    static void* allocate(int64_t bytes) {
        void* p = std::aligned_alloc(64, bytes);
        if (!p) throw std::bad_alloc();
        return p;
    }

    static constexpr int kMostExtras = 48;  // not a std::vector: its functions would be merged between instruction sets
    void* extra_[kMostExtras];
    int extras_ = 0;
    int64_t used_ = 0;
};

}  // namespace SRWM_ISA_NAME
