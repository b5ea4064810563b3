// The three operators of bias_act, from tensors to tensors; `run` computes on one kind of device.
#pragma once

#include <c10/core/DeviceGuard.h>

#include "arguments.h"

namespace style_gan_ops {

// Tensor run(Order, const BiasActCall&, Tensor* second): fills and returns a result like call.like; `second` takes the other
// one of order_backward2.

template <auto run>
at::Tensor bias_act(const at::Tensor& x, const std::optional<at::Tensor>& b, int64_t dim, int64_t act, double alpha, double gain,
                    double clamp) {
    const c10::DeviceGuard guard(x.device());
    const BiasActCall call = bias_act_call(order_forward, x, b, {}, {}, {}, dim, act, alpha, gain, clamp);
    return run(order_forward, call, nullptr).reshape(x.sizes());
}

template <auto run>
at::Tensor bias_act_backward(const at::Tensor& dy, const at::Tensor& x, const std::optional<at::Tensor>& b, const at::Tensor& y,
                             int64_t dim, int64_t act, double alpha, double gain, double clamp) {
    const c10::DeviceGuard guard(dy.device());
    const BiasActCall call = bias_act_call(order_backward, x, b, y, dy, {}, dim, act, alpha, gain, clamp);
    return run(order_backward, call, nullptr).reshape(dy.sizes());
}

template <auto run>
std::tuple<at::Tensor, at::Tensor> bias_act_backward2(const at::Tensor& ddx, const at::Tensor& dy, const at::Tensor& x,
                                                      const std::optional<at::Tensor>& b, const at::Tensor& y, int64_t dim,
                                                      int64_t act, double alpha, double gain, double clamp) {
    if (!needs_x(int(act))) {  // straight lines: the derivative is linear in dy, and that by x is zero
        return {bias_act_backward<run>(ddx, x, b, y, dim, act, alpha, gain, clamp), at::empty({0}, ddx.options())};
    }
    const c10::DeviceGuard guard(ddx.device());
    const BiasActCall call = bias_act_call(order_backward2, x, b, y, dy, ddx, dim, act, alpha, gain, clamp);
    at::Tensor second;
    const at::Tensor first = run(order_backward2, call, &second);
    return {first.reshape(ddx.sizes()), second.reshape(ddx.sizes())};
}

}  // namespace style_gan_ops
