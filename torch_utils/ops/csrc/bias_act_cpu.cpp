// bias_act on a CPU: every element as in bias_act.h, in loops that vectorise (the constants are values, not references).
#include "bias_act_cpu.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

namespace style_gan_ops {
namespace {

// Tensors of one call from some element on; those that it does not use are null.
template <class T> struct Data {
    const T *known, *dy, *ddx;
    T *first, *second;

    Data from(std::int64_t i) const {
        const auto in = [i](const T* p) { return p ? p + i : p; };
        return {in(known), in(dy), in(ddx), first + i, second ? second + i : second};
    }
};

// A run of elements, piecewise linear. one_bias: b points to the bias of them all, else to one for each.
template <int order, bool one_bias, class T>
void piecewise_run(Constants<sum_t<T>> c, Data<T> data, const sum_t<T>* b, std::int64_t size) {
    using S = sum_t<T>;
    const T *known = data.known, *dy = data.dy;
    T* first = data.first;
    const S bias = *b;
    if (order == order_backward && !known) {  // linear without clamp
#pragma omp simd
        for (std::int64_t i = 0; i < size; ++i) narrow(S(widen(dy[i])) * c.gain, first[i]);
        return;
    }
#pragma omp simd
    for (std::int64_t i = 0; i < size; ++i) {
        const S gradient = order == order_forward ? S(0) : S(widen(dy[i]));
        narrow(piecewise_element<order>(c, S(widen(known[i])), one_bias ? bias : b[i], gradient, S(0)).first, first[i]);
    }
}

// A short run of a curved activation; u = x + b.
template <int act, int order, class T>
void curved_run(Constants<sum_t<T>> c, const sum_t<T>* u, Data<T> data, std::int64_t size) {
    using S = sum_t<T>;
    const T *dy = data.dy, *ddx = data.ddx;
    T *first = data.first, *second = data.second;
#pragma omp simd
    for (std::int64_t i = 0; i < size; ++i) {
        const S g = order == order_forward ? S(0) : S(widen(dy[i])), gg = order == order_backward2 ? S(widen(ddx[i])) : S(0);
        const auto result = curved_element<order>(curve<act>(u[i]), c, g, gg);
        narrow(result.first, first[i]);
        if (order == order_backward2) narrow(result.second, second[i]);
    }
}

// A run of elements of any activation.
template <bool is_piecewise, int order, bool one_bias, class T>
void run_of(int act, const Constants<sum_t<T>>& c, const Data<T>& data, const sum_t<T>* b, std::int64_t size) {
    if constexpr (is_piecewise) {
        piecewise_run<order, one_bias>(c, data, b, size);
    } else {
        constexpr std::int64_t most = 512;
        sum_t<T> u[most];
        for (std::int64_t start = 0; start < size; start += most) {
            const std::int64_t count = std::min(most, size - start);
            const Data<T> part = data.from(start);
            for (std::int64_t i = 0; i < count; ++i) u[i] = widen(part.known[i]) + (one_bias ? b[0] : b[start + i]);
            switch (act) {
                case act_tanh: curved_run<act_tanh, order>(c, u, part, count); break;
                case act_sigmoid: curved_run<act_sigmoid, order>(c, u, part, count); break;
                case act_elu: curved_run<act_elu, order>(c, u, part, count); break;
                case act_selu: curved_run<act_selu, order>(c, u, part, count); break;
                case act_softplus: curved_run<act_softplus, order>(c, u, part, count); break;
                default: curved_run<act_swish, order>(c, u, part, count);
            }
        }
    }
}

// Biases that the elements from `begin` on meet: long runs of one bias, or short runs for which they are laid out in full.
template <bool is_piecewise, int order, class T> void run(const BiasAct& op, const T* b, const Data<T>& data) {
    using S = sum_t<T>;
    const auto c = constants_of<T>(op);
    const bool one_bias = !op.has_bias || op.inner >= 64 || (is_piecewise && order != order_forward);
    const std::int64_t inner = op.has_bias && !(is_piecewise && order != order_forward) ? op.inner : op.size();
    const std::int64_t channels = inner == op.inner ? op.channels : 1, period = channels * inner;
    const std::int64_t repeats = one_bias ? 1 : std::max<std::int64_t>(1, 1024 / period);
    std::vector<S> bias(one_bias ? channels : period * repeats, S(0));
    if (b && channels == op.channels && inner == op.inner) {
        for (std::size_t i = 0; i < bias.size(); ++i) bias[i] = widen(b[one_bias ? i : i / inner % channels]);
    }
    const std::int64_t run_size = one_bias ? inner : period * repeats;  // after which the biases change, or repeat
    at::parallel_for(0, op.size(), 32768, [&](std::int64_t begin, std::int64_t end) {
        while (begin < end) {
            const std::int64_t into = begin % run_size, size = std::min(run_size - into, end - begin);
            if (one_bias) run_of<is_piecewise, order, true>(op.act, c, data.from(begin), &bias[begin / inner % channels], size);
            else run_of<is_piecewise, order, false>(op.act, c, data.from(begin), &bias[into], size);
            begin += size;
        }
    });
}

template <class T> void run(const BiasAct& op, Order order, const T* b, const Data<T>& data) {
    if (is_piecewise(op.act) && order == order_forward) return run<true, order_forward>(op, b, data);
    if (is_piecewise(op.act)) return run<true, order_backward>(op, b, data);
    if (order == order_forward) return run<false, order_forward>(op, b, data);
    return order == order_backward ? run<false, order_backward>(op, b, data) : run<false, order_backward2>(op, b, data);
}

}  // namespace

void bias_act_cpu(Dtype dtype, const BiasAct& op, Order order, const void* known, const void* b, const void* dy,
                  const void* ddx, void* first, void* second) {
    const auto typed = [&](auto element) {
        using T = decltype(element);
        const auto in = [](const void* p) { return static_cast<const T*>(p); };
        run<T>(op, order, in(b), {in(known), in(dy), in(ddx), static_cast<T*>(first), static_cast<T*>(second)});
    };
    if (dtype == Dtype::bfloat16) typed(bfloat16_t{});
    else if (dtype == Dtype::float32) typed(float{});
    else typed(double{});
}

}  // namespace style_gan_ops
