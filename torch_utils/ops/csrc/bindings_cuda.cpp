// The operators of bindings.cpp for tensors on a GPU.
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "arguments.h"
#include "bias_act_cuda.h"
#include "bias_act_ops.h"
#include "upfirdn2d_cuda.h"

namespace style_gan_ops {
namespace {

using at::Tensor;

// The stream that PyTorch works on.
void* stream() { return static_cast<void*>(c10::cuda::getCurrentCUDAStream().stream()); }

Tensor upfirdn2d(const Tensor& x, const Tensor& f, at::IntArrayRef up, at::IntArrayRef down, at::IntArrayRef padding,
                 bool flip_filter, double gain) {
    const c10::cuda::CUDAGuard guard(x.device());
    const UpfirdnCall call = upfirdn_call(x, f, up, down, padding, flip_filter, gain);
    if (call.y.numel() == 0) return call.y;
    const float* filter = call.f.const_data_ptr<float>();
    const bool done = upfirdn2d_cuda(dtype_of(x), call.op, data_of(call.x), filter, call.y.data_ptr(), stream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    if (done) return call.y;
    // A separable filter beyond the tiled kernel: one pass per axis. What lies between is not rounded to half precision.
    const auto between = x.element_size() == 2 ? at::kFloat : x.scalar_type();
    const Tensor rows = upfirdn2d(call.x.to(between), call.f.unsqueeze(0), {up[0], 1}, {down[0], 1},
                                  {padding[0], padding[1], 0, 0}, flip_filter, 1);
    return upfirdn2d(rows, call.f.unsqueeze(1), {1, up[1]}, {1, down[1]}, {0, 0, padding[2], padding[3]}, flip_filter, gain)
        .to(x.scalar_type());
}

Tensor run(Order order, const BiasActCall& call, Tensor* second) {
    Tensor first = at::empty_like(call.like);
    if (second) *second = at::empty_like(call.like);
    if (first.numel() > 0) {
        bias_act_cuda(dtype_of(call.like), call.op, order, data_of(call.known), data_of(call.b), data_of(call.dy),
                      data_of(call.ddx), first.data_ptr(), second ? second->data_ptr() : nullptr, stream());
        C10_CUDA_KERNEL_LAUNCH_CHECK();
    }
    return first;
}

TORCH_LIBRARY_IMPL(style_gan_ops, CUDA, m) {
    m.impl("upfirdn2d", &upfirdn2d);
    m.impl("bias_act", &bias_act<run>);
    m.impl("bias_act_backward", &bias_act_backward<run>);
    m.impl("bias_act_backward2", &bias_act_backward2<run>);
}

}  // namespace
}  // namespace style_gan_ops
