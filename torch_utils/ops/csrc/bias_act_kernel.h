// The kernel of bias_act and its derivatives: a thread takes `n` elements that follow each other in memory.
#pragma once

#include "bias_act.h"

namespace style_gan_ops {

constexpr int bias_act_threads = 256;  // per block

// Tensors of one call; those that it does not use are null. `known` is as in bias_act.h.
template <class T> struct BiasActData {
    const T *known, *b, *dy, *ddx;
    T *first, *second;
};

template <class Index> struct BiasActPlan {
    BiasAct op;
    Index size;
    Divider<Index> inner, channels;
};

template <class Index> BiasActPlan<Index> plan_bias_act(const BiasAct& op) {
    return {op, Index(op.size()), Divider<Index>(op.inner), Divider<Index>(op.channels)};
}

template <class Index> std::int64_t bias_act_blocks(const BiasActPlan<Index>& plan, int n) {
    const std::int64_t per_block = std::int64_t(bias_act_threads) * n;
    return (std::int64_t(plan.size) + per_block - 1) / per_block;
}

// Elements that a thread may take at once: all under one bias, or under biases that follow each other.
template <class T> int bias_act_width(const BiasAct& op, const BiasActData<T>& data) {
    constexpr int n = widest<T>;
    const bool fits = op.has_bias ? op.inner % n == 0 || (op.inner == 1 && op.channels % n == 0) : op.size() % n == 0;
    const void* const pointers[] = {data.known, data.b, data.dy, data.ddx, data.first, data.second};
    for (const void* p : pointers) {
        if (!aligned(p, 16)) return 1;
    }
    return fits ? n : 1;
}

template <class Index> HOST_DEVICE Index channel_of(const BiasActPlan<Index>& plan, Index element) {
    const Index line = plan.inner.quotient(element);
    return line - plan.channels.quotient(line) * Index(plan.op.channels);
}

template <class T, int n, class Index, bool is_piecewise, int order>
HOST_DEVICE void bias_act_body(const BiasActPlan<Index>& plan, Index block, int thread, const BiasActData<T>& data) {
    using S = sum_t<T>;
    const Index start = (block * bias_act_threads + thread) * n;
    if (start >= plan.size) return;
    const Constants<S> c = constants_of<T>(plan.op);

    const bool backward2 = order == order_backward2;
    Pack<T, n> zeros = {}, known = zeros, dy = zeros, ddx = zeros, first, second;
    if (data.known) known = load_pack<T, n>(data.known + start);
    if (order == order_backward || (backward2 && !is_piecewise)) dy = load_pack<T, n>(data.dy + start);
    if (backward2) ddx = load_pack<T, n>(data.ddx + start);

    S bias[n] = {};
    if (plan.op.has_bias && (order == order_forward || !is_piecewise)) {
        const Index channel = channel_of(plan, start);
        UNROLL for (int i = 0; i < n; ++i) bias[i] = widen(data.b[plan.op.inner == 1 ? channel + i : channel]);
    }
    UNROLL for (int i = 0; i < n; ++i) {
        const S u = widen(known.at[i]), g = widen(dy.at[i]), gg = widen(ddx.at[i]);
        const auto result = is_piecewise ? piecewise_element<order>(c, u, bias[i], g, gg)
                                         : curved_element<order>(curve(plan.op.act, u + bias[i]), c, g, gg);
        narrow(result.first, first.at[i]);
        narrow(result.second, second.at[i]);
    }
    store_pack(data.first + start, first);
    if (data.second) store_pack(data.second + start, second);
}

}  // namespace style_gan_ops
