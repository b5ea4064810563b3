// upfirdn2d on a GPU: the kernels' bodies are in upfirdn2d_direct.h and upfirdn2d_tiled.h, here they meet the grid. For nvcc
// and NVRTC.
#pragma once

#include "upfirdn2d_direct.h"
#include "upfirdn2d_tiled.h"

namespace style_gan_ops {

template <class T, int n, class Index, class Known>
__global__ void __launch_bounds__(direct_threads)
direct_kernel(const DirectPlan<Index> plan, const T* __restrict__ x, const float* __restrict__ filter, T* __restrict__ y) {
    direct<T, n, Index, Known>(plan, blockIdx.x, threadIdx.x, x, filter, y);
}

template <class T, bool separable, class Known>
__global__ void __launch_bounds__(tile_threads)
tiled_kernel(const TilePlan plan, const T* __restrict__ x, const float* __restrict__ filter, T* __restrict__ y) {
    extern __shared__ double shared[];
    const Known ax{plan.op.x}, ay{plan.op.y};
    const Tile<T> tile = tile_of<T>(plan, ax, ay, blockIdx.x, shared);
    tile_load(plan, ax, ay, tile, threadIdx.x, x, filter);
    __syncthreads();
    if (separable) {
        tile_rows(plan, ax, tile, threadIdx.x);
        __syncthreads();
    }
    tile_finish<separable>(plan, ax, ay, tile, threadIdx.x, y);
}

}  // namespace style_gan_ops
