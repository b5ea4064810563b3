// Launches of upfirdn2d on a GPU. torch_utils/ops/plans.py makes the same choices for NVRTC.
#include "upfirdn2d_cuda.h"
#include "upfirdn2d_grid.h"

namespace style_gan_ops {
namespace {

template <class T, int n, class Index, class Known>
void launch_direct(const Upfirdn2d& op, const T* x, const float* filter, T* y, cudaStream_t stream) {
    const auto plan = plan_direct<Index>(op, n);
    direct_kernel<T, n, Index, Known><<<unsigned(direct_blocks(plan)), direct_threads, 0, stream>>>(plan, x, filter, y);
}

template <class T> bool run(const Upfirdn2d& op, const T* x, const float* filter, T* y, cudaStream_t stream) {
    TilePlan plan;
    if (plan_tiles(op, x, plan)) {
        with_known_axes(op, [&](auto known) {
            using Known = decltype(known);
            constexpr bool known_2d = Known::known && Known::known_taps < 8, known_separable = Known::known && !known_2d;
            const auto launch = [&](auto kernel) {
                kernel<<<unsigned(tile_blocks(plan)), tile_threads, plan.bytes, stream>>>(plan, x, filter, y);
            };
            if constexpr (!known_2d) {
                if (op.separable) return launch(tiled_kernel<T, true, Known>);
            }
            if constexpr (!known_separable) launch(tiled_kernel<T, false, Known>);
        });
        return true;
    }
    if (op.separable) return false;
    // The usual cases get the wide loads and what is known of the filter; huge and odd ones the general form.
    const std::int64_t largest = op.outer * op.inner * (std::int64_t(op.x.in) * op.y.in + std::int64_t(op.x.out) * op.y.out);
    if (!fits_in_32_bits(largest)) {
        launch_direct<T, 1, std::int64_t, KnownAxis<0, 0, 0>>(op, x, filter, y, stream);
    } else if (direct_width(op, x, y) == 1) {
        launch_direct<T, 1, std::int32_t, KnownAxis<0, 0, 0>>(op, x, filter, y, stream);
    } else {
        with_known_axes(op, [&](auto known) {
            using Known = decltype(known);
            if constexpr (!Known::known || Known::known_taps < 8) {
                launch_direct<T, widest<T>, std::int32_t, Known>(op, x, filter, y, stream);
            }
        });
    }
    return true;
}

}  // namespace

bool upfirdn2d_cuda(Dtype dtype, const Upfirdn2d& op, const void* x, const float* filter, void* y, void* stream) {
    bool done = false;
    with_type(dtype, [&](auto element) {
        using T = decltype(element);
        done = run<T>(op, static_cast<const T*>(x), filter, static_cast<T*>(y), static_cast<cudaStream_t>(stream));
    });
    return done;
}

}  // namespace style_gan_ops
