// The general kernel of upfirdn2d: any filter, factors, padding and memory format. A thread computes one output pixel of
// `n` neighbouring channels (n > 1: channels_last) and reads the image through the cache.
#pragma once

#include "upfirdn2d.h"

namespace style_gan_ops {

constexpr int direct_threads = 256;  // per block

template <class Index> struct DirectPlan {
    Upfirdn2d op;
    Index work;                            // threads that have an output
    Divider<Index> groups, width, height;  // thread number -> (outer, y, x, group of channels), the last fastest
};

template <class Index> DirectPlan<Index> plan_direct(const Upfirdn2d& op, int n) {
    const std::int64_t groups = op.inner / n;
    return {op, Index(op.outer * op.y.out * op.x.out * groups), Divider<Index>(groups), Divider<Index>(op.x.out),
            Divider<Index>(op.y.out)};
}

template <class Index> std::int64_t direct_blocks(const DirectPlan<Index>& plan) {
    return (std::int64_t(plan.work) + direct_threads - 1) / direct_threads;
}

// Elements that a thread may take at once.
template <class T> int direct_width(const Upfirdn2d& op, const T* x, const T* y) {
    constexpr int n = widest<T>;
    return op.inner % n == 0 && aligned(x, 16) && aligned(y, 16) ? n : 1;
}

// What a thread computes: output (ox, oy), and offsets into x, of row 0 and column 0 of its image, and into y.
template <class Index> struct DirectPlace {
    int ox, oy;
    Index x, y;
};

template <int n, class Index> HOST_DEVICE DirectPlace<Index> direct_place(const DirectPlan<Index>& plan, Index number) {
    const Index inner = Index(plan.op.inner);
    const Index pixel = plan.groups.quotient(number), channel = (number - pixel * Index(plan.groups.divisor)) * n;
    const Index line = plan.width.quotient(pixel), image = plan.height.quotient(line);
    return {int(pixel - line * plan.op.x.out), int(line - image * plan.op.y.out),
            image * plan.op.y.in * plan.op.x.in * inner + channel, pixel * inner + channel};
}

template <class T, int n, class Index, class Known>
HOST_DEVICE void direct(const DirectPlan<Index>& plan, Index block, int thread, const T* x, const float* filter, T* y) {
    const Index number = block * direct_threads + thread;
    if (number >= plan.work) return;
    const Upfirdn2d& op = plan.op;
    const auto place = direct_place<n>(plan, number);
    sum_t<T> sum[n] = {};
    filter_element<T, n>(Known{op.x}, Known{op.y}, op.flip_filter, Index(op.inner), x + place.x, filter, place.ox, place.oy, sum);
    Pack<T, n> result;
    UNROLL for (int c = 0; c < n; ++c) narrow(sum[c] * sum_t<T>(op.gain), result.at[c]);
    store_pack(y + place.y, result);
}

}  // namespace style_gan_ops
