// upfirdn2d: zero insertion, padding or cropping, a FIR filter, decimation. What one output element is.
//
// Per axis, with n samples, factors u and d, `before` zeros in front and the correlation taps w[0..F):
//     y[m] = sum over k of w[k] v[m d - before + k],   v[i u] = x[i] for 0 <= i < n, zero elsewhere.
// Inserted zeros are never touched: of the taps only every u-th meets a sample (the polyphase form).
//
// Both memory formats are [outer, height, width, inner]: contiguous has N C planes and inner = 1, channels_last has N
// images and inner = C.
#pragma once

#include "portable.h"

namespace style_gan_ops {

struct Axis {
    int in, out;   // samples
    int up, down;
    int before;    // zeros before the first sample, of the upsampled signal; negative crops
    int taps;
};

struct Upfirdn2d {
    Axis x, y;
    std::int64_t outer, inner;
    bool separable;    // filter: [taps], used along both axes; else [y.taps, x.taps], row-major
    bool flip_filter;  // true: the filter is w as it stands (correlation); false: w is the filter turned round
    double gain;
};

// Which taps meet which samples: w[tap + j up] meets x[sample + j], for j = 0, 1, ... while tap + j up < taps.
// sample may lie before the signal or after it, where it counts as zero.
struct Window {
    int sample, tap;
};

HOST_DEVICE Window window(int m, int up, int down, int before) {
    const int start = m * down - before, sample = ceil_div(start, up);
    return {sample, sample * up - start};
}

// An axis some of whose numbers the compiler knows; 0 stands for one that it does not.
template <int Up, int Down, int Taps> struct KnownAxis {
    static constexpr bool known = Taps > 0;
    static constexpr int known_taps = Taps;
    Axis axis;

    HOST_DEVICE int up() const { return Up ? Up : axis.up; }
    HOST_DEVICE int down() const { return Down ? Down : axis.down; }
    HOST_DEVICE int taps() const { return Taps ? Taps : axis.taps; }
    HOST_DEVICE Window at(int m) const { return window(m, up(), down(), axis.before); }

    // How many j there are at most, and whether the j-th exists for a window's first tap.
    HOST_DEVICE int steps() const { return (taps() + up() - 1) / up(); }
    HOST_DEVICE bool has(Window w, int j) const {
        return (Up && Taps && Taps % (Up ? Up : 1) == 0) || w.tap + j * up() < taps();
    }
    // Samples that `count` neighbouring outputs read together.
    HOST_DEVICE int reach(int count) const { return ((count - 1) * down() + taps() - 1) / up() + 1; }
};

// The place in the filter of tap k out of `taps`.
HOST_DEVICE int place(int k, int taps, bool flip_filter) { return flip_filter ? k : taps - 1 - k; }

// Add to sum[0..n) the filter's response at (ox, oy) for n neighbouring channels, before gain. `image` is the first of
// the channels at row 0, column 0; the filter is 2-D.
template <class T, int n, class Known, class Index>
HOST_DEVICE void filter_element(const Known& ax, const Known& ay, bool flip_filter, Index inner, const T* image,
                                const float* filter, int ox, int oy, sum_t<T>* sum) {
    const Window wx = ax.at(ox), wy = ay.at(oy);
    UNROLL for (int i = 0; i < ay.steps(); ++i) {
        const int row = wy.sample + i;
        if (!ay.has(wy, i) || row < 0 || row >= ay.axis.in) continue;
        const float* taps = filter + place(wy.tap + i * ay.up(), ay.taps(), flip_filter) * ax.taps();
        UNROLL for (int j = 0; j < ax.steps(); ++j) {
            const int column = wx.sample + j;
            if (!ax.has(wx, j) || column < 0 || column >= ax.axis.in) continue;
            const sum_t<T> tap = taps[place(wx.tap + j * ax.up(), ax.taps(), flip_filter)];
            const auto pixel = load_pack<T, n>(image + (Index(row) * ax.axis.in + column) * inner);
            UNROLL for (int c = 0; c < n; ++c) sum[c] = multiply_add(tap, sum_t<T>(widen(pixel.at[c])), sum[c]);
        }
    }
}

// Call visit(KnownAxis<...>{}) with what is known of both axes in the usual cases: up 2, down 2 and plain filters with 4
// taps, and the 12 taps of the augmentation.
template <class Visit> void with_known_axes(const Upfirdn2d& op, Visit&& visit) {
    const auto both = [&op](int up, int down, int taps) {
        return op.x.up == up && op.y.up == up && op.x.down == down && op.y.down == down && op.x.taps == taps && op.y.taps == taps;
    };
    if (!op.separable && both(1, 1, 4)) visit(KnownAxis<1, 1, 4>{});
    else if (!op.separable && both(2, 1, 4)) visit(KnownAxis<2, 1, 4>{});
    else if (!op.separable && both(1, 2, 4)) visit(KnownAxis<1, 2, 4>{});
    else if (op.separable && both(2, 1, 12)) visit(KnownAxis<2, 1, 12>{});
    else if (op.separable && both(1, 2, 12)) visit(KnownAxis<1, 2, 12>{});
    else visit(KnownAxis<0, 0, 0>{});
}

}  // namespace style_gan_ops
