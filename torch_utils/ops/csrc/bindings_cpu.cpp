// The operators of bindings.cpp for tensors on the CPU.
#include <torch/library.h>

#include "arguments.h"
#include "bias_act_cpu.h"
#include "upfirdn2d_cpu.h"

namespace style_gan_ops {
namespace {

using at::Tensor;
using MaybeTensor = std::optional<Tensor>;

Tensor upfirdn2d(const Tensor& x, const Tensor& f, at::IntArrayRef up, at::IntArrayRef down, at::IntArrayRef padding,
                 bool flip_filter, double gain) {
    const Dtype dtype = cpu_dtype_of(x);
    const UpfirdnCall call = upfirdn_call(x, f, up, down, padding, flip_filter, gain);
    if (call.y.numel() > 0) {
        upfirdn2d_cpu(dtype, call.op, data_of(call.x), call.f.const_data_ptr<float>(), call.y.data_ptr());
    }
    return call.y;
}

Tensor run(Order order, const BiasActCall& call, Tensor* second = nullptr) {
    const Dtype dtype = cpu_dtype_of(call.like);
    Tensor first = at::empty_like(call.like);
    if (second) *second = at::empty_like(call.like);
    if (first.numel() > 0) {
        bias_act_cpu(dtype, call.op, order, data_of(call.known), data_of(call.b), data_of(call.dy), data_of(call.ddx),
                     first.data_ptr(), second ? second->data_ptr() : nullptr);
    }
    return first;
}

Tensor bias_act(const Tensor& x, const MaybeTensor& b, int64_t dim, int64_t act, double alpha, double gain, double clamp) {
    return run(order_forward, bias_act_call(order_forward, x, b, {}, {}, {}, dim, act, alpha, gain, clamp)).reshape(x.sizes());
}

Tensor bias_act_backward(const Tensor& dy, const Tensor& x, const MaybeTensor& b, const Tensor& y, int64_t dim, int64_t act,
                         double alpha, double gain, double clamp) {
    return run(order_backward, bias_act_call(order_backward, x, b, y, dy, {}, dim, act, alpha, gain, clamp)).reshape(dy.sizes());
}

std::tuple<Tensor, Tensor> bias_act_backward2(const Tensor& ddx, const Tensor& dy, const Tensor& x, const MaybeTensor& b,
                                              const Tensor& y, int64_t dim, int64_t act, double alpha, double gain,
                                              double clamp) {
    if (!needs_x(int(act))) {
        return {bias_act_backward(ddx, x, b, y, dim, act, alpha, gain, clamp), at::empty({0}, ddx.options())};
    }
    Tensor second;
    Tensor first = run(order_backward2, bias_act_call(order_backward2, x, b, y, dy, ddx, dim, act, alpha, gain, clamp), &second);
    return {first.reshape(ddx.sizes()), second.reshape(ddx.sizes())};
}

TORCH_LIBRARY_IMPL(style_gan_ops, CPU, m) {
    m.impl("upfirdn2d", &upfirdn2d);
    m.impl("bias_act", &bias_act);
    m.impl("bias_act_backward", &bias_act_backward);
    m.impl("bias_act_backward2", &bias_act_backward2);
}

}  // namespace
}  // namespace style_gan_ops
