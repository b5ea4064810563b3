// Launches of bias_act on a GPU; raw pointers, so that the .cu file needs no headers of torch.
#pragma once

#include "bias_act.h"

namespace style_gan_ops {

// On the stream (a cudaStream_t): forward writes y to `first`; backward dL/dx; backward2 the derivatives with respect to
// dy and x to `first` and `second`. `known` is x for the forward pass and for the curved activations, else y; null where
// it is not needed, as are b, dy, ddx. Piecewise linear activations have no order_backward2: it is their backward of ddx.
// Errors of the launch are left to cudaGetLastError.
void bias_act_cuda(Dtype dtype, const BiasAct& op, Order order, const void* known, const void* b, const void* dy,
                   const void* ddx, void* first, void* second, void* stream);

}  // namespace style_gan_ops
