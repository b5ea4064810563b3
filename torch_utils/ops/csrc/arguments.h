// From tensors to the plain structs of the kernels: checks, memory formats, the results' tensors. Any device.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/empty_strided.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <tuple>

#include "bias_act.h"
#include "upfirdn2d.h"

namespace style_gan_ops {

inline Dtype dtype_of(const at::Tensor& x) {
    switch (x.scalar_type()) {
        case at::kHalf: return Dtype::float16;
        case at::kBFloat16: return Dtype::bfloat16;
        case at::kFloat: return Dtype::float32;
        case at::kDouble: return Dtype::float64;
        default: TORCH_CHECK_TYPE(false, "style_gan_ops take floating point tensors, not ", x.scalar_type());
    }
}

// The CPU kernels leave float16 to PyTorch: processors compute with bfloat16 instead.
inline Dtype cpu_dtype_of(const at::Tensor& x) {
    TORCH_CHECK_TYPE(x.scalar_type() != at::kHalf, "style_gan_ops compute on the CPU in bfloat16, float32 and float64");
    return dtype_of(x);
}

struct UpfirdnCall {
    at::Tensor x, f, y;  // x and y in the same memory format, f contiguous float32 on x's device
    Upfirdn2d op;
};

inline Axis axis_of(std::int64_t in, std::int64_t up, std::int64_t down, std::int64_t before, std::int64_t after,
                    std::int64_t taps) {
    TORCH_CHECK_VALUE(up >= 1 && down >= 1, "up and down are at least 1");
    const std::int64_t padded = in * up + before + after;
    TORCH_CHECK_VALUE(padded >= taps, "the padded image has ", padded, " pixels along an axis, less than the ", taps, " taps");
    constexpr std::int64_t limit = std::numeric_limits<int>::max() / 4;  // so that no sum of a few of them overflows
    TORCH_CHECK_VALUE(std::max({in * up, std::abs(before), padded, up, down, taps}) < limit, "an axis is too long");
    return {int(in), int((padded - taps) / down + 1), int(up), int(down), int(before), int(taps)};
}

inline UpfirdnCall upfirdn_call(const at::Tensor& x, const at::Tensor& f, at::IntArrayRef up, at::IntArrayRef down,
                                at::IntArrayRef padding, bool flip_filter, double gain) {
    TORCH_CHECK_VALUE(x.dim() == 4, "images are [N, C, H, W], not of shape ", x.sizes());
    TORCH_CHECK_VALUE((f.dim() == 1 || f.dim() == 2) && f.numel() > 0, "a filter is [fh, fw] or [taps], not of shape ",
                      f.sizes());
    TORCH_CHECK_VALUE(f.device() == x.device(), "the filter is on ", f.device(), ", the image on ", x.device());
    const auto format = x.suggest_memory_format();
    const bool channels_last = format == at::MemoryFormat::ChannelsLast;
    UpfirdnCall call;
    call.x = x.contiguous(format);
    call.f = f.to(at::kFloat).contiguous();
    const auto ax = axis_of(x.size(3), up[0], down[0], padding[0], padding[1], f.size(f.dim() - 1));
    const auto ay = axis_of(x.size(2), up[1], down[1], padding[2], padding[3], f.size(0));
    const std::int64_t inner = channels_last ? x.size(1) : 1, outer = channels_last ? x.size(0) : x.size(0) * x.size(1);
    call.op = {ax, ay, outer, inner, f.dim() == 1, flip_filter, gain};
    call.y = at::empty({x.size(0), x.size(1), ay.out, ax.out}, x.options(), format);
    return call;
}

// t with the strides of `reference`, copied only where it has others.
inline at::Tensor laid_out_as(const at::Tensor& t, const at::Tensor& reference) {
    TORCH_CHECK_VALUE(t.sizes() == reference.sizes(), "shapes differ: ", t.sizes(), " and ", reference.sizes());
    TORCH_CHECK_TYPE(t.scalar_type() == reference.scalar_type(), "dtypes differ: ", t.scalar_type(), " and ",
                     reference.scalar_type());
    TORCH_CHECK_VALUE(t.device() == reference.device(), "devices differ: ", t.device(), " and ", reference.device());
    if (t.strides() == reference.strides()) return t;
    return at::empty_strided(reference.sizes(), reference.strides(), reference.options()).copy_(t);
}

// A tensor whose memory has neither gaps nor overlaps.
inline at::Tensor dense(const at::Tensor& t) {
    return t.is_non_overlapping_and_dense() ? t : t.contiguous(t.suggest_memory_format());
}

struct BiasActCall {
    BiasAct op;
    at::Tensor known, b, dy, ddx;  // undefined where not used
    at::Tensor like;               // shape and strides of results
};

// The forward pass has neither dy nor ddx; y may be empty, and in derivatives x, where bias_act.h needs them not.
inline BiasActCall bias_act_call(Order order, const at::Tensor& x, const std::optional<at::Tensor>& b, const at::Tensor& y,
                                 const at::Tensor& dy, const at::Tensor& ddx, std::int64_t dim, std::int64_t act, double alpha,
                                 double gain, double clamp) {
    TORCH_CHECK_VALUE(act >= 0 && act < act_count, "there is no activation number ", act);
    BiasActCall call;
    if (order == order_forward || needs_x(int(act))) call.known = dense(x);
    else if (needs_y(int(act), clamp)) call.known = dense(y);
    call.like = call.known.defined() ? call.known : dense(order == order_backward2 ? ddx : dy);
    const bool uses_dy = order == order_backward || (order == order_backward2 && needs_x(int(act)));
    if (uses_dy) call.dy = laid_out_as(dy, call.like);
    if (order == order_backward2) call.ddx = laid_out_as(ddx, call.like);
    if (call.like.dim() == 0) call.like = call.like.reshape(1);

    if (dim < 0) dim += call.like.dim();
    TORCH_CHECK_VALUE(dim >= 0 && dim < call.like.dim(), "no axis ", dim, " in a tensor of shape ", call.like.sizes());
    const std::int64_t channels = std::max<std::int64_t>(call.like.size(dim), 1);
    const std::int64_t inner = channels == 1 ? 1 : call.like.stride(dim);
    if (b.has_value()) {
        TORCH_CHECK_VALUE(b->dim() == 1 && b->size(0) == call.like.size(dim), "a bias of shape ", b->sizes(),
                          " does not fit axis ", dim, " of ", call.like.sizes());
        TORCH_CHECK_VALUE(b->device() == call.like.device(), "the bias is on ", b->device(), ", the image on ",
                          call.like.device());
        call.b = b->to(call.like.scalar_type()).contiguous();
    }
    const std::int64_t outer = call.like.numel() / (channels * inner);
    call.op = {outer, channels, inner, b.has_value(), int(act), slope_of(int(act), alpha), gain, clamp};
    return call;
}

inline const void* data_of(const at::Tensor& t) { return t.defined() ? t.const_data_ptr() : nullptr; }

}  // namespace style_gan_ops
