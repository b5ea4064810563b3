// upfirdn2d on a CPU, row by row: a row of the output is first filtered along y, into a buffer that stays in the cache and
// has zeros on both sides, and then along x. Both loops run over memory in order and vectorise, the first over pixels and
// channels alike, the second over pixels (contiguous) or channels (channels_last).
//
// That needs a separable filter, which the usual ones are (an outer product). Others are a sum of separable ones: of one
// per row.
#include "upfirdn2d_cpu.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace style_gan_ops {
namespace {

// The filter as a correlation, with gain: sum over terms of column[ky] row[kx].
template <class S> struct Term {
    std::vector<S> column, row;
};

template <class S> std::vector<Term<S>> terms_of(const Upfirdn2d& op, const float* filter) {
    const int fw = op.x.taps, fh = op.y.taps;
    const auto row_taps = [&](const float* from) {
        std::vector<S> taps(fw);
        for (int k = 0; k < fw; ++k) taps[k] = from[place(k, fw, op.flip_filter)];
        return taps;
    };
    if (op.separable) {
        Term<S> term{std::vector<S>(fh), row_taps(filter)};
        for (int k = 0; k < fh; ++k) term.column[k] = S(filter[place(k, fh, op.flip_filter)] * op.gain);
        return {term};
    }
    const double tolerance = sizeof(S) == 4 ? 2.5e-7 : 0;
    // An outer product up to rounding? Then every row is a multiple of that with the largest element.
    const auto smaller_size = [](float a, float b) { return std::abs(a) < std::abs(b); };
    const int pivot = int(std::max_element(filter, filter + fw * fh, smaller_size) - filter);
    const int row = pivot / fw, column = pivot % fw;
    const double peak = filter[pivot];
    bool outer_product = peak != 0;
    for (int i = 0; i < fw * fh && outer_product; ++i) {
        const double product = double(filter[i / fw * fw + column]) * filter[row * fw + i % fw] / peak;
        outer_product = std::abs(product - filter[i]) <= tolerance * std::abs(peak);
    }
    std::vector<Term<S>> terms;
    for (int k = 0; k < fh; ++k) {
        const int from = place(k, fh, op.flip_filter);
        if (!outer_product || k == 0) terms.push_back({std::vector<S>(fh), row_taps(filter + (outer_product ? row : from) * fw)});
        terms.back().column[k] = S(op.gain * (outer_product ? filter[from * fw + column] / peak : 1));
    }
    return terms;
}

// Along x the alignment of taps and samples repeats: output r + q period has the taps of output r, `step` q samples on.
struct Phases {
    int period, step, taps;         // taps: the most that meet samples
    std::vector<Window> windows;    // of outputs 0 .. period-1
    int first, last;                // samples that are read, beyond the image too

    explicit Phases(const Axis& x) : period(x.up / std::gcd(x.up, x.down)), step(period * x.down / x.up),
                                     taps((x.taps + x.up - 1) / x.up) {
        for (int r = 0; r < period; ++r) windows.push_back(window(r, x.up, x.down, x.before));
        first = windows[0].sample;
        last = window(x.out - 1, x.up, x.down, x.before).sample + taps - 1;
    }

    // Taps of phase r, zero where there is none.
    template <class S> std::vector<S> weights(const std::vector<S>& row, int r, int up) const {
        std::vector<S> w(taps);
        for (int j = 0, k = windows[r].tap; j < taps && k < int(row.size()); ++j, k += up) w[j] = row[k];
        return w;
    }
};

// to[i] = sum over j < n of w[j] from[j stride + i], added to what is there or not.
template <int n, bool add, class T, class S>
void mix_rows(const T* __restrict from, std::int64_t stride, const S* w, S* __restrict to, std::int64_t size) {
    S weights[n];
    for (int j = 0; j < n; ++j) weights[j] = w[j];
#pragma omp simd
    for (std::int64_t i = 0; i < size; ++i) {
        S sum = weights[0] * widen(from[i]);
        for (int j = 1; j < n; ++j) sum += weights[j] * widen(from[j * stride + i]);
        to[i] = add ? to[i] + sum : sum;
    }
}

template <bool add, class T, class S>
void mix(int n, const T* from, std::int64_t stride, const S* w, S* to, std::int64_t size) {
    switch (n) {
        case 1: return mix_rows<1, add>(from, stride, w, to, size);
        case 2: return mix_rows<2, add>(from, stride, w, to, size);
        case 3: return mix_rows<3, add>(from, stride, w, to, size);
        default: return mix_rows<4, add>(from, stride, w, to, size);
    }
}

// Of n rows, any number.
template <class T, class S> void filter_column(int n, const T* from, std::int64_t stride, const S* w, S* to, std::int64_t size) {
    if (n == 0) return std::fill(to, to + size, S(0));
    mix<false>(n, from, stride, w, to, size);
    for (int j = 4; j < n; j += 4) mix<true>(n - j, from + j * stride, stride, w + j, to, size);
}

// A whole row of outputs, inner = 1. With period 2, both phases at once: the stores stay in order.
template <int taps, int step, int period, class S, class T>
void filter_row(const S* const* from, const S* const* weights, T* __restrict to, int out) {
    S wa[taps], wb[taps];
    for (int j = 0; j < taps; ++j) wa[j] = weights[0][j], wb[j] = weights[period - 1][j];
    const S* __restrict a = from[0];
    const S* __restrict b = from[period - 1];
    const int whole = out / period;
#pragma omp simd
    for (int x = 0; x < whole; ++x) {
        S sum = 0, second = 0;
        for (int j = 0; j < taps; ++j) sum += wa[j] * a[x * step + j];
        narrow(sum, to[x * period]);
        if (period == 2) {
            for (int j = 0; j < taps; ++j) second += wb[j] * b[x * step + j];
            narrow(second, to[x * period + 1]);
        }
    }
    if (whole * period < out) {
        S sum = 0;
        for (int j = 0; j < taps; ++j) sum += wa[j] * a[whole * step + j];
        narrow(sum, to[whole * period]);
    }
}

// to[c] = sum over j of w[j] from[j stride + c] for `size` neighbouring elements.
template <int taps, class S, class T>
void filter_channels(const S* __restrict from, const S* w, T* __restrict to, std::int64_t size, std::int64_t stride) {
    S weights[taps];
    for (int j = 0; j < taps; ++j) weights[j] = w[j];
#pragma omp simd
    for (std::int64_t c = 0; c < size; ++c) {
        S sum = 0;
        for (int j = 0; j < taps; ++j) sum += weights[j] * from[j * stride + c];
        narrow(sum, to[c]);
    }
}

template <class T> class Operator {
    using S = sum_t<T>;

public:
    Operator(const Upfirdn2d& op, const float* filter)
        : op(op), terms(terms_of<S>(op, filter)), phases(op.x), left(std::max(0, -phases.first)),
          right(std::max(0, phases.last - (op.x.in - 1))) {
        for (const auto& term : terms) {
            for (int r = 0; r < phases.period; ++r) weights.push_back(phases.weights(term.row, r, op.x.up));
            for (int oy = 0; oy < op.y.out; ++oy) {
                const Window w = window(oy, op.y.up, op.y.down, op.y.before);
                Column column{0, 0, columns_taps.size()};
                for (int row = w.sample, k = w.tap; k < op.y.taps; ++row, k += op.y.up) {
                    if (row < 0 || row >= op.y.in || (column.count == 0 && terms.size() > 1 && term.column[k] == 0)) continue;
                    if (column.count++ == 0) column.row = row;
                    columns_taps.push_back(term.column[k]);
                }
                columns.push_back(column);
            }
        }
    }

    struct Scratch {  // of a thread
        std::int64_t size, together;  // of a line in the buffer; how many
        std::vector<S> buffer;        // lines filtered along y, between zeros
        std::vector<S> sums, addend;  // results of the terms so far, and a line of one
    };

    Scratch scratch() const {
        const std::int64_t size = (left + op.x.in + right) * op.inner, together = std::clamp<std::int64_t>(2048 / size, 1, 32);
        const std::int64_t out = terms.size() > 1 ? op.x.out * op.inner : 0;
        return {size, together, std::vector<S>(size * together), std::vector<S>(out * together), std::vector<S>(out)};
    }

    // Output lines, counted through all images. Short ones go together, first along y and then along x: what was just
    // stored cannot be loaded at once.
    void lines(const T* x, T* y, std::int64_t begin, std::int64_t end, Scratch& s) const {
        for (; begin < end; begin += s.together) some_lines(x, y, begin, int(std::min(s.together, end - begin)), s);
    }

private:
    void some_lines(const T* x, T* y, std::int64_t first, int count, Scratch& s) const {
        const std::int64_t width = op.x.in * op.inner, out_width = op.x.out * op.inner;
        T* out = y + first * out_width;
        for (std::size_t t = 0; t < terms.size(); ++t) {
            std::int64_t outer = first / op.y.out, oy = first % op.y.out;
            for (int i = 0; i < count; ++i) {
                const Column& column = columns[t * op.y.out + oy];
                filter_column(column.count, x + (outer * op.y.in + column.row) * width, width, columns_taps.data() + column.taps,
                              s.buffer.data() + i * s.size + left * op.inner, width);
                if (++oy == op.y.out) oy = 0, ++outer;
            }
            for (int i = 0; i < count; ++i) {
                const S* line = s.buffer.data() + i * s.size;
                if (terms.size() == 1) {
                    along_row(line, t, out + i * out_width);
                } else {
                    along_row(line, t, s.addend.data());
                    S* sums = s.sums.data() + i * out_width;
                    for (std::int64_t j = 0; j < out_width; ++j) sums[j] = s.addend[j] + (t ? sums[j] : 0);
                }
            }
        }
        if (terms.size() > 1) {
            for (std::int64_t j = 0; j < count * out_width; ++j) narrow(s.sums[j], out[j]);
        }
    }

    template <class To> void along_row(const S* buffer, std::size_t t, To* out) const {
        const int period = phases.period, step = phases.step, taps = phases.taps;
        const std::vector<S>* w = weights.data() + t * period;
        if (op.inner == 1 && period <= 2) {
            const S* from[2] = {buffer + left + phases.windows[0].sample, buffer + left + phases.windows[period - 1].sample};
            const S* taps_of[2] = {w[0].data(), w[period - 1].data()};
            if (taps == 4 && step == 1 && period == 1) return filter_row<4, 1, 1>(from, taps_of, out, op.x.out);
            if (taps == 4 && step == 2 && period == 1) return filter_row<4, 2, 1>(from, taps_of, out, op.x.out);
            if (taps == 2 && step == 1 && period == 2) return filter_row<2, 1, 2>(from, taps_of, out, op.x.out);
            if (taps == 6 && step == 1 && period == 2) return filter_row<6, 1, 2>(from, taps_of, out, op.x.out);
            if (taps == 12 && step == 2 && period == 1) return filter_row<12, 2, 1>(from, taps_of, out, op.x.out);
        }
        // Outputs beside each other whose samples lie beside each other, too, make one long loop.
        const bool flat = period == 1 && step == 1;
        for (int ox = 0; ox < op.x.out; ox += flat ? op.x.out : 1) {
            const int r = ox % period;
            const S* from = buffer + (left + phases.windows[r].sample + std::int64_t(ox / period) * step) * op.inner;
            any_taps(from, w[r].data(), out + ox * op.inner, op.inner * (flat ? op.x.out : 1));
        }
    }

    template <class To> void any_taps(const S* from, const S* w, To* to, std::int64_t size) const {
        switch (phases.taps) {
            case 1: return filter_channels<1>(from, w, to, size, op.inner);
            case 2: return filter_channels<2>(from, w, to, size, op.inner);
            case 3: return filter_channels<3>(from, w, to, size, op.inner);
            case 4: return filter_channels<4>(from, w, to, size, op.inner);
            case 6: return filter_channels<6>(from, w, to, size, op.inner);
        }
        for (std::int64_t c = 0; c < size; ++c) {
            S sum = 0;
            for (int j = 0; j < phases.taps; ++j) sum += w[j] * from[j * op.inner + c];
            narrow(sum, to[c]);
        }
    }

    const Upfirdn2d op;
    const std::vector<Term<S>> terms;
    const Phases phases;
    const std::int64_t left, right;       // zeros beside the buffer's row, in pixels
    std::vector<std::vector<S>> weights;  // [term][phase]

    struct Column {
        int row, count;    // samples above each other that an output meets
        std::size_t taps;  // where theirs begin in columns_taps
    };
    std::vector<Column> columns;  // [term][y]
    std::vector<S> columns_taps;
};

// At least so many elements for a thread.
constexpr std::int64_t grain = 32768;

template <class T> void run(const Upfirdn2d& op, const T* x, const float* filter, T* y) {
    const Operator<T> whole(op, filter);
    const std::int64_t cost = std::max<std::int64_t>(1, op.inner * (op.x.out + op.x.in));
    at::parallel_for(0, op.outer * op.y.out, std::max<std::int64_t>(1, grain / cost), [&](std::int64_t begin, std::int64_t end) {
        auto scratch = whole.scratch();
        whole.lines(x, y, begin, end, scratch);
    });
}

// Lines of a few pixels do not fill a vector: take several planes at once, as the channels of one image.
template <class T> void run_small(const Upfirdn2d& op, const T* x, const float* filter, T* y) {
    using S = sum_t<T>;
    constexpr int most = 16;
    const int in = op.x.in * op.y.in, out = op.x.out * op.y.out;
    Upfirdn2d image = op;
    image.outer = 1, image.inner = most;
    const Operator<S> channels(image, filter);
    const std::int64_t groups = (op.outer + most - 1) / most, cost = most * (std::int64_t(in) + out);
    at::parallel_for(0, groups, std::max<std::int64_t>(1, grain / cost), [&](std::int64_t begin, std::int64_t end) {
        std::vector<S> from(most * in), to(most * out);
        auto scratch = channels.scratch();
        for (std::int64_t plane = begin * most; plane < std::min(end * most, op.outer); plane += most) {
            const int planes = int(std::min<std::int64_t>(most, op.outer - plane));
            for (int p = 0; p < planes; ++p) {
                for (int i = 0; i < in; ++i) from[i * most + p] = widen(x[(plane + p) * in + i]);
            }
            channels.lines(from.data(), to.data(), 0, op.y.out, scratch);
            for (int p = 0; p < planes; ++p) {
                for (int i = 0; i < out; ++i) narrow(to[i * most + p], y[(plane + p) * out + i]);
            }
        }
    });
}

}  // namespace

void upfirdn2d_cpu(Dtype dtype, const Upfirdn2d& op, const void* x, const float* filter, void* y) {
    const auto typed = [&](auto element) {
        using T = decltype(element);
        const bool small = op.inner == 1 && op.outer >= 8 && op.x.in <= 16 && op.y.in <= 64 && op.x.out <= 16 && op.y.out <= 64;
        (small ? run_small<T> : run<T>)(op, static_cast<const T*>(x), filter, static_cast<T*>(y));
    };
    if (dtype == Dtype::bfloat16) typed(bfloat16_t{});
    else if (dtype == Dtype::float32) typed(float{});
    else typed(double{});
}

}  // namespace style_gan_ops
