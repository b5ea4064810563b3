// Launches of bias_act on a GPU. torch_utils/ops/plans.py makes the same choices for NVRTC.
#include "bias_act_cuda.h"
#include "bias_act_grid.h"

namespace style_gan_ops {
namespace {

template <class T, int n, class Index, bool is_piecewise, int order>
void launch(const BiasAct& op, const BiasActData<T>& data, cudaStream_t stream) {
    const auto plan = plan_bias_act<Index>(op);
    const unsigned blocks = unsigned(bias_act_blocks(plan, n));
    bias_act_kernel<T, n, Index, is_piecewise, order><<<blocks, bias_act_threads, 0, stream>>>(plan, data);
}

template <bool is_piecewise, int order, class T>
void run(const BiasAct& op, const BiasActData<T>& data, cudaStream_t stream) {
    if (!fits_in_32_bits(op.size())) launch<T, 1, std::int64_t, is_piecewise, order>(op, data, stream);
    else if (bias_act_width(op, data) == 1) launch<T, 1, std::int32_t, is_piecewise, order>(op, data, stream);
    else launch<T, widest<T>, std::int32_t, is_piecewise, order>(op, data, stream);
}

}  // namespace

void bias_act_cuda(Dtype dtype, const BiasAct& op, Order order, const void* known, const void* b, const void* dy,
                   const void* ddx, void* first, void* second, void* stream) {
    with_type(dtype, [&](auto element) {
        using T = decltype(element);
        const auto in = [](const void* p) { return static_cast<const T*>(p); };
        const BiasActData<T> data{in(known), in(b), in(dy), in(ddx), static_cast<T*>(first), static_cast<T*>(second)};
        const auto s = static_cast<cudaStream_t>(stream);
        if (is_piecewise(op.act) && order == order_forward) run<true, order_forward>(op, data, s);
        else if (is_piecewise(op.act)) run<true, order_backward>(op, data, s);
        else if (order == order_forward) run<false, order_forward>(op, data, s);
        else if (order == order_backward) run<false, order_backward>(op, data, s);
        else run<false, order_backward2>(op, data, s);
    });
}

}  // namespace style_gan_ops
