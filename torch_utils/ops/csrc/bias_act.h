// bias_act: y = clamp(gain act(x + b), -c, c). One element of it, of its derivative and of the derivative's derivatives.
//
// A tensor is [outer, channels, inner] in the order of memory, with one bias per channel: contiguous images have
// inner = H W, channels_last has inner = 1.
#pragma once

#include "exponential.h"
#include "portable.h"

namespace style_gan_ops {

// In the order of torch_utils.ops.bias_act.activation_funcs.
enum Act : int { act_linear, act_relu, act_lrelu, act_tanh, act_sigmoid, act_elu, act_selu, act_softplus, act_swish, act_count };

// Straight lines with a kink: their derivative is read off y, and their second derivative is zero.
constexpr bool is_piecewise(int act) { return act <= act_lrelu; }

// What the derivatives are computed from. Piecewise linear: y, of which the sign and the distance to the clamp count;
// linear without clamp: nothing. The others: x (and b). What is not needed may be an empty tensor.
constexpr bool needs_y(int act, double clamp) { return is_piecewise(act) && (act != act_linear || clamp >= 0); }
constexpr bool needs_x(int act) { return !is_piecewise(act); }

// The slope of a piecewise linear activation below zero.
constexpr double slope_of(int act, double alpha) { return act == act_linear ? 1.0 : act == act_relu ? 0.0 : alpha; }

struct BiasAct {
    std::int64_t outer, channels, inner;
    bool has_bias;
    int act;
    double slope;  // of piecewise linear activations below zero, not negative
    double gain, clamp;  // clamp < 0: none

    HOST_DEVICE std::int64_t size() const { return outer * channels * inner; }
};

// The constants of one operator in the type that it computes in.
template <class S> struct Constants {
    S slope, gain, clamp, clamp_in_y;  // the last: as y, which is rounded, holds it
    bool clamped;
};

template <class T> HOST_DEVICE Constants<sum_t<T>> constants_of(const BiasAct& op) {
    using S = sum_t<T>;
    return {S(op.slope), S(op.gain), S(op.clamp), rounded_to<T>(S(op.clamp)), op.clamp >= 0};
}

template <class S> HOST_DEVICE S limited(S y, const Constants<S>& c) {
    if (!c.clamped) return y;
    return y > c.clamp ? c.clamp : y < -c.clamp ? -c.clamp : y;  // NaN passes
}

// Piecewise linear: u = x + b.
template <class S> HOST_DEVICE S piecewise(S u, const Constants<S>& c) {
    return limited((u > 0 ? u : u * c.slope) * c.gain, c);
}

// dy/dx, from y.
template <class S> HOST_DEVICE S piecewise_slope(S y, const Constants<S>& c) {
    const S side = c.gain < 0 ? -y : y;
    const S factor = side > 0 ? c.gain : c.gain * c.slope;
    const S size = y < 0 ? -y : y;
    return c.clamped && !(size < c.clamp_in_y) ? S(0) : factor;
}

// act, act' and act'' at u, for the curved activations.
template <class S> struct Jet {
    S value, first, second;
};

template <int act, class S> HOST_DEVICE Jet<S> curve(S u) {
    constexpr S selu_scale = S(1.0507009873554805), selu_alpha = S(1.6732632423543772);
    const S below = u > 0 ? S(0) : u, size = u < 0 ? -u : u;  // NaN stays in both
    if (act == act_tanh) {
        const S e = expm1_of(-2 * size), t = -e / (2 + e);
        return {u < 0 ? -t : t, (1 - t) * (1 + t), (u < 0 ? 2 : -2) * t * (1 - t) * (1 + t)};
    }
    if (act == act_elu) {
        const S e = expm1_of(below);
        return {u > 0 ? u : e, e + 1, u >= 0 ? S(0) : e + 1};
    }
    if (act == act_selu) {
        const S e = expm1_of(below), slope = selu_scale * selu_alpha * (e + 1);
        return {u > 0 ? selu_scale * u : selu_scale * selu_alpha * e, u > 0 ? selu_scale : slope, u > 0 ? S(0) : slope};
    }
    const S e = exp_of(-size), near_one = 1 / (1 + e), near_zero = e * near_one;
    const S s = u < 0 ? near_zero : near_one, ds = near_zero * near_one;  // the sigmoid and its derivative
    const S bend = ds * (u < 0 ? near_one - near_zero : near_zero - near_one);
    if (act == act_sigmoid) return {s, ds, bend};
    if (act == act_softplus) return {(u > 0 ? u : S(0)) + log1p_of(e), s, ds};
    return {u * s, multiply_add(u, ds, s), multiply_add(u, bend, 2 * ds)};  // swish
}

template <class S> HOST_DEVICE Jet<S> curve(int act, S u) {
    switch (act) {
        case act_tanh: return curve<act_tanh>(u);
        case act_sigmoid: return curve<act_sigmoid>(u);
        case act_elu: return curve<act_elu>(u);
        case act_selu: return curve<act_selu>(u);
        case act_softplus: return curve<act_softplus>(u);
        default: return curve<act_swish>(u);
    }
}

template <class S> HOST_DEVICE bool passes(S value, const Constants<S>& c) {
    const S y = value * c.gain;
    return !c.clamped || (y < c.clamp && -y < c.clamp);
}

// What a kernel computes.
enum Order : int { order_forward, order_backward, order_backward2 };

// One element of piecewise linear and of curved activations (`jet` at x + b).
// forward: first = y. backward: first = dL/dx. backward2: first = the derivative with respect to dy, second = that with
// respect to x. `known` is y for piecewise linear derivatives, else x; b is zero without a bias.
template <class S> struct Results {
    S first, second;
};

template <int order, class S> HOST_DEVICE Results<S> piecewise_element(const Constants<S>& c, S known, S b, S dy, S ddx) {
    if (order == order_forward) return {piecewise(known + b, c), S(0)};
    return {(order == order_backward ? dy : ddx) * piecewise_slope(known, c), S(0)};
}

template <int order, class S> HOST_DEVICE Results<S> curved_element(const Jet<S>& jet, const Constants<S>& c, S dy, S ddx) {
    if (order == order_forward) return {limited(jet.value * c.gain, c), S(0)};
    const S factor = passes(jet.value, c) ? c.gain : S(0);
    if (order == order_backward) return {dy * jet.first * factor, S(0)};
    return {ddx * jet.first * factor, ddx * dy * jet.second * factor};
}

}  // namespace style_gan_ops
