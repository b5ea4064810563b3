// bias_act on a CPU; raw pointers.
#pragma once

#include "bias_act.h"

namespace style_gan_ops {

// As bias_act_cuda, with at::parallel_for; bfloat16, float32 and float64.
void bias_act_cpu(Dtype dtype, const BiasAct& op, Order order, const void* known, const void* b, const void* dy,
                  const void* ddx, void* first, void* second);

}  // namespace style_gan_ops
