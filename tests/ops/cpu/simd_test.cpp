// The vector functions of one instruction set, each against the same on single numbers. Prints what fails; returns how much did.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>

#include "self_referential/grouped_layout.hpp"
#include "simd/vectors.hpp"

namespace {

using namespace SRWM_ISA_NAME;

int failures = 0, checks = 0;

void expect(bool holds, const char* what, int lane, double found, double wanted) {
    ++checks;
    if (holds) return;
    ++failures;
    std::printf("%s, lane %d: expected %.9g, got %.9g\n", what, lane, wanted, found);
}

bool near(double found, double wanted, double relative) {
    if (std::isnan(wanted)) return std::isnan(found);
    return found == wanted || std::fabs(found - wanted) <= relative * std::fabs(wanted);
}

struct Row {  // of a vector, with room around it
    alignas(64) float lanes[3 * kLanes];
    float* begin() { return lanes + kLanes; }
    float& operator[](int i) { return lanes[kLanes + i]; }
};

Row row_of(vf v) {
    Row row;
    store(row.begin(), v);
    return row;
}

// wanted(i) for every lane i.
template <class Wanted>
void same(const char* what, vf found, Wanted&& wanted, double relative = 0.0) {
    Row row = row_of(found);
    for (int i = 0; i < kLanes; ++i) expect(near(row[i], wanted(i), relative), what, i, row[i], wanted(i));
}

std::mt19937 generator(0);

Row draw(float low = -3.0f, float high = 3.0f) {
    std::uniform_real_distribution<float> numbers(low, high);
    Row row;
    for (float& x : row.lanes) x = numbers(generator);
    return row;
}

void test_arithmetic() {
    Row a = draw(), b = draw(), c = draw();
    const vf va = load(a.begin()), vb = load(b.begin()), vc = load(c.begin());
    same("load", va, [&](int i) { return a[i]; });
    same("set1", set1(2.5f), [](int) { return 2.5f; });
    same("fma", fma(va, vb, vc), [&](int i) { return double(a[i]) * b[i] + c[i]; }, 1e-6 * 20);
    same("fnma", fnma(va, vb, vc), [&](int i) { return c[i] - double(a[i]) * b[i]; }, 1e-6 * 20);
    same("max", max(va, vb), [&](int i) { return a[i] > b[i] ? a[i] : b[i]; });
    same("absolute", absolute(va), [&](int i) { return std::fabs(a[i]); });
    same("select_less", select_less(va, vb, vc, va), [&](int i) { return a[i] < b[i] ? c[i] : a[i]; });
    const vf nan = set1(std::numeric_limits<float>::quiet_NaN());
    same("select_less of NaN", select_less(nan, va, vb, vc), [&](int i) { return c[i]; });
    same("max of NaN and a number", max(nan, va), [&](int i) { return a[i]; });  // the second, as on x86
    double total = 0.0;
    for (int i = 0; i < kLanes; ++i) total += a[i];
    expect(near(sum(va), total, 1e-5), "sum", 0, sum(va), total);
}

void test_parts_of_vectors() {
    for (int n = 0; n <= kLanes; ++n) {
        Row a = draw(), to = draw(), before = to;
        if (n < kLanes) same("load_some", load_some(a.begin(), n), [&](int i) { return i < n ? a[i] : 0.0f; });
        same("load_exactly", load_exactly(a.begin(), n), [&](int i) { return i < n ? a[i] : 0.0f; });
        same("first_lanes", first_lanes(load(a.begin()), n, 7.0f), [&](int i) { return i < n ? a[i] : 7.0f; });
        store_exactly(to.begin(), load(a.begin()), n);
        for (int i = -kLanes; i < 2 * kLanes; ++i) {
            const float wanted = i >= 0 && i < n ? a[i] : before[i];
            expect(to[i] == wanted, "store_exactly", i, to[i], wanted);
        }
        to = before;
        copy_exactly(to.begin(), a.begin(), n);
        for (int i = -kLanes; i < 2 * kLanes; ++i) {
            const float wanted = i >= 0 && i < n ? a[i] : before[i];
            expect(to[i] == wanted, "copy_exactly", i, to[i], wanted);
        }
        to = before;
        copy_past_caches(to.begin(), a.begin(), n);
        wait_for_memory();
        for (int i = -kLanes; i < 2 * kLanes; ++i) {
            const float wanted = i >= 0 && i < n ? a[i] : before[i];
            expect(to[i] == wanted, "copy_past_caches", i, to[i], wanted);
        }
    }
    Row a = draw(), to = draw();
    store_past_caches(to.begin(), load(a.begin()));
    wait_for_memory();
    for (int i = 0; i < kLanes; ++i) expect(to[i] == a[i], "store_past_caches", i, to[i], a[i]);
    same("last_four", last_four(load(a.begin())), [&](int i) { return i < kLanes - 4 ? 0.0f : a[i]; });
    alignas(64) int32_t sections[kLanes];
    for (int i = 0; i < kLanes; ++i) sections[i] = i % 3 == 2 ? kNoRate : kLanes - 4 + i % 4;
    same("spread", spread(last_four(load(a.begin())), sections),
         [&](int i) { return i % 3 == 2 ? 0.0f : a[kLanes - 4 + i % 4]; });
}

void test_sums_of_many() {
    vf rows[kLanes];
    Row kept[kLanes];
    double totals[kLanes];
    for (int r = 0; r < kLanes; ++r) {
        kept[r] = draw(0.5f, 2.0f);
        rows[r] = load(kept[r].begin());
        totals[r] = 0.0;
        for (int i = 0; i < kLanes; ++i) totals[r] += kept[r][i];
    }
    same("sums", sums(rows), [&](int i) { return totals[i]; }, 1e-6);
    same("four_sums", four_sums(rows[0], rows[1], rows[2], rows[3]), [&](int i) { return totals[i % 4]; }, 1e-6);
    auto largest = [&](int r) {
        float top = kept[r][0];
        for (int i = 1; i < kLanes; ++i) top = std::fmax(top, kept[r][i]);
        return top;
    };
    same("four_largest", four_largest(rows[0], rows[1], rows[2], rows[3]), [&](int i) { return largest(i % 4); });
    const vf four = four_sums(rows[0], rows[1], rows[2], rows[3]);
    same("lane_of_four", lane_of_four<2>(four), [&](int) { return totals[2]; }, 1e-6);
    transpose(rows);
    for (int r = 0; r < kLanes; ++r) same("transpose", rows[r], [&](int i) { return kept[i][r]; });
}

void test_blocks() {
    Row a = draw(), b = draw(), c = draw(), d = draw();
    const vf va = load(a.begin());
    same("in_blocks", in_blocks<2, 0, 3, 1>(va), [&](int i) {
        return a[i / 4 * 4 + (i % 4 == 0 ? 2 : i % 4 == 1 ? 0 : i % 4 == 2 ? 3 : 1)];
    });
    auto total = [](Row& row, int i) {
        return double(row[i / 4 * 4]) + row[i / 4 * 4 + 1] + row[i / 4 * 4 + 2] + row[i / 4 * 4 + 3];
    };
    auto close = [&](const char* what, vf found, auto wanted) {
        Row row = row_of(found);
        for (int i = 0; i < kLanes; ++i) expect(std::fabs(row[i] - wanted(i)) < 1e-5, what, i, row[i], wanted(i));
    };
    close("sum_in_blocks", sum_in_blocks(va), [&](int i) { return total(a, i); });
    same("largest_in_blocks", largest_in_blocks(va), [&](int i) {
        return std::fmax(std::fmax(a[i / 4 * 4], a[i / 4 * 4 + 1]), std::fmax(a[i / 4 * 4 + 2], a[i / 4 * 4 + 3]));
    });
    close("sums_in_blocks", sums_in_blocks(va, load(b.begin()), load(c.begin()), load(d.begin())), [&](int i) {
        return total(i % 4 == 0 ? a : i % 4 == 1 ? b : i % 4 == 2 ? c : d, i);
    });

    float dense[kHeads * 7 + 4], back[kHeads * 7 + 4] = {};
    for (float& x : dense) x = draw()[0];
    const vf gathered = gather(dense, 7);
    same("gather", gathered, [&](int i) { return dense[i / 4 * 7 + i % 4]; });
    scatter(back, 7, gathered);
    for (int h = 0; h < kHeads; ++h)
        for (int i = 0; i < 4; ++i)
            expect(back[7 * h + i] == dense[7 * h + i], "scatter", 4 * h + i, back[7 * h + i], dense[7 * h + i]);

    vf tile[kHeads];
    Row kept[kHeads];
    for (int h = 0; h < kHeads; ++h) kept[h] = draw(), tile[h] = load(kept[h].begin());
    exchange_blocks(tile);
    for (int v = 0; v < kHeads; ++v) same("exchange_blocks", tile[v], [&](int i) { return kept[i / 4][4 * v + i % 4]; });
    exchange_blocks(tile);
    for (int h = 0; h < kHeads; ++h) same("exchange_blocks twice", tile[h], [&](int i) { return kept[h][i]; });
}

void test_exponentials() {
    for (int repeat = 0; repeat < 2000; ++repeat) {
        Row a = draw(-87.0f, 0.0f);
        same("exp_negative", exp_negative(load(a.begin())), [&](int i) { return std::exp(double(a[i])); }, 2e-7);
        Row b = draw(-40.0f, 40.0f);
        same("sigmoid", sigmoid(load(b.begin())), [&](int i) { return 1.0 / (1.0 + std::exp(-double(b[i]))); }, 4e-7);
    }
    constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
    same("exp_negative of 0", exp_negative(set1(0.0f)), [](int) { return 1.0f; });
    same("exp_negative of -inf", exp_negative(set1(-kInfinity)), [](int) { return 0.0f; });
    same("exp_negative of -1e30", exp_negative(set1(-1e30f)), [](int) { return 0.0f; });
    same("exp_negative of NaN", exp_negative(set1(kNan)), [&](int) { return kNan; });
    same("sigmoid of inf", sigmoid(set1(kInfinity)), [](int) { return 1.0f; });
    same("sigmoid of -inf", sigmoid(set1(-kInfinity)), [](int) { return 0.0f; });
    same("sigmoid of NaN", sigmoid(set1(kNan)), [&](int) { return kNan; });
}

void test_softmax() {
    constexpr int kMost = 70, kRoom = kMost + 2 * kLanes;
    for (int n = 1; n <= kMost; ++n) {
        float in[2][kRoom], p[2][kRoom], g[2][kRoom], out[2][kRoom];
        for (int r = 0; r < 2; ++r)
            for (int i = 0; i < kRoom; ++i) in[r][i] = draw(-9.0f, 9.0f)[0], g[r][i] = i < n ? draw()[0] : 0.0f;
        const SoftmaxRow rows[2] = {{in[0], p[0]}, {in[1], p[1]}};
        softmax(rows, n);
        const SoftmaxGradientRow gradients[2] = {{p[0], g[0], out[0]}, {p[1], g[1], out[1]}};
        softmax_gradient(gradients, n);
        for (int r = 0; r < 2; ++r) {
            double total = 0.0, mean = 0.0, top = -1e9;
            for (int i = 0; i < n; ++i) top = std::fmax(top, in[r][i]);
            for (int i = 0; i < n; ++i) total += std::exp(in[r][i] - top);
            for (int i = 0; i < n; ++i) mean += std::exp(in[r][i] - top) / total * g[r][i];
            for (int i = 0; i < whole_vectors(n) * kLanes; ++i) {
                const double wanted = i < n ? std::exp(in[r][i] - top) / total : 0.0;
                expect(std::fabs(p[r][i] - wanted) <= 1e-6, "softmax", i, p[r][i], wanted);
                const double slope = wanted * (g[r][i] - mean);
                expect(std::fabs(out[r][i] - slope) <= 3e-6, "softmax_gradient", i, out[r][i], slope);
            }
        }
    }
}

}  // namespace

int main() {
    for (int repeat = 0; repeat < 20; ++repeat) {
        test_arithmetic();
        test_parts_of_vectors();
        test_sums_of_many();
        test_blocks();
    }
    test_exponentials();
    test_softmax();
    std::printf("%d of %d checks failed\n", failures, checks);
    return failures > 0;
}
