// Launches of upfirdn2d on a GPU; raw pointers, so that the .cu file needs no headers of torch.
#pragma once

#include "upfirdn2d.h"

namespace style_gan_ops {

// y = upfirdn2d(x) on the stream (a cudaStream_t). The filter is in the GPU's memory. Returns false, having done nothing,
// for a separable filter that the tiled kernel does not take: the caller then makes one pass per axis.
// Errors of the launch are left to cudaGetLastError.
bool upfirdn2d_cuda(Dtype dtype, const Upfirdn2d& op, const void* x, const float* filter, void* y, void* stream);

}  // namespace style_gan_ops
