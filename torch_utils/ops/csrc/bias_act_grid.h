// bias_act on a GPU: the kernel's body is in bias_act_kernel.h, here it meets the grid. For nvcc and NVRTC.
#pragma once

#include "bias_act_kernel.h"

namespace style_gan_ops {

template <class T, int n, class Index, bool is_piecewise, int order>
__global__ void __launch_bounds__(bias_act_threads) bias_act_kernel(const BiasActPlan<Index> plan, const BiasActData<T> data) {
    bias_act_body<T, n, Index, is_piecewise, order>(plan, blockIdx.x, threadIdx.x, data);
}

}  // namespace style_gan_ops
