// The operators of bindings.cpp for tensors on the CPU.
#include <torch/library.h>

#include "arguments.h"
#include "bias_act_cpu.h"
#include "bias_act_ops.h"
#include "upfirdn2d_cpu.h"

namespace style_gan_ops {
namespace {

using at::Tensor;

Tensor upfirdn2d(const Tensor& x, const Tensor& f, at::IntArrayRef up, at::IntArrayRef down, at::IntArrayRef padding,
                 bool flip_filter, double gain) {
    const Dtype dtype = cpu_dtype_of(x);
    const UpfirdnCall call = upfirdn_call(x, f, up, down, padding, flip_filter, gain);
    if (call.y.numel() > 0) {
        upfirdn2d_cpu(dtype, call.op, data_of(call.x), call.f.const_data_ptr<float>(), call.y.data_ptr());
    }
    return call.y;
}

Tensor run(Order order, const BiasActCall& call, Tensor* second) {
    const Dtype dtype = cpu_dtype_of(call.like);
    Tensor first = at::empty_like(call.like);
    if (second) *second = at::empty_like(call.like);
    if (first.numel() > 0) {
        bias_act_cpu(dtype, call.op, order, data_of(call.known), data_of(call.b), data_of(call.dy), data_of(call.ddx),
                     first.data_ptr(), second ? second->data_ptr() : nullptr);
    }
    return first;
}

TORCH_LIBRARY_IMPL(style_gan_ops, CPU, m) {
    m.impl("upfirdn2d", &upfirdn2d);
    m.impl("bias_act", &bias_act<run>);
    m.impl("bias_act_backward", &bias_act_backward<run>);
    m.impl("bias_act_backward2", &bias_act_backward2<run>);
}

}  // namespace
}  // namespace style_gan_ops
