// upfirdn2d on a CPU; raw pointers.
#pragma once

#include "upfirdn2d.h"

namespace style_gan_ops {

// y = upfirdn2d(x) with at::parallel_for; bfloat16, float32 and float64.
void upfirdn2d_cpu(Dtype dtype, const Upfirdn2d& op, const void* x, const float* filter, void* y);

}  // namespace style_gan_ops
