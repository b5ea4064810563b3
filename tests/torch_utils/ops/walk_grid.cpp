// Runs the bodies of the CUDA kernels on the CPU: every block and every thread of the grid, one after the other, phase by
// phase where a kernel has barriers. Called from test_cuda_kernels.py through ctypes.
#include <algorithm>
#include <limits>
#include <vector>

#include "bias_act_kernel.h"
#include "upfirdn2d_direct.h"
#include "upfirdn2d_tiled.h"

using namespace style_gan_ops;

namespace {

Upfirdn2d op_of(const std::int64_t* n, double gain) {
    const auto axis = [](const std::int64_t* n) {
        return Axis{int(n[0]), int(n[1]), int(n[2]), int(n[3]), int(n[4]), int(n[5])};
    };
    return {axis(n), axis(n + 6), n[12], n[13], n[14] != 0, n[15] != 0, gain};
}

template <class T, int n, class Index, class Known>
void walk_direct(const Upfirdn2d& op, const T* x, const float* filter, T* y) {
    const auto plan = plan_direct<Index>(op, n);
    for (Index block = 0; block < Index(direct_blocks(plan)); ++block) {
        for (int thread = 0; thread < direct_threads; ++thread) direct<T, n, Index, Known>(plan, block, thread, x, filter, y);
    }
}

// Threads of a phase run in any order on a GPU: here forwards in even blocks and backwards in odd ones.
template <class Phase> void all_threads(std::int64_t block, Phase&& phase) {
    for (int i = 0; i < tile_threads; ++i) phase(block % 2 ? tile_threads - 1 - i : i);
}

template <class T, class Known> bool walk_tiles(const TilePlan& plan, const T* x, const float* filter, T* y) {
    // NaN marks what a block has not written, and a border that it must not touch.
    using S = sum_t<T>;
    const S nan = std::numeric_limits<S>::quiet_NaN();
    const std::size_t size = plan.bytes / sizeof(S), border = 4096;
    bool kept_inside = true;
    for (std::int64_t block = 0; block < tile_blocks(plan); ++block) {
        std::vector<S> memory(size + 2 * border, nan);
        const Known ax{plan.op.x}, ay{plan.op.y};
        const Tile<T> tile = tile_of<T>(plan, ax, ay, block, memory.data() + border);
        all_threads(block, [&](int thread) { tile_load(plan, ax, ay, tile, thread, x, filter); });
        if (plan.op.separable) {
            all_threads(block, [&](int thread) { tile_rows(plan, ax, tile, thread); });
            all_threads(block, [&](int thread) { tile_finish<true>(plan, ax, ay, tile, thread, y); });
        } else {
            all_threads(block, [&](int thread) { tile_finish<false>(plan, ax, ay, tile, thread, y); });
        }
        for (std::size_t i = 0; i < border; ++i) {
            kept_inside = kept_inside && memory[i] != memory[i] && memory[size + border + i] != memory[size + border + i];
        }
    }
    return kept_inside;
}

template <class T, int n, class Index, bool is_piecewise, int order>
void walk_bias_act(const BiasAct& op, const BiasActData<T>& data) {
    const auto plan = plan_bias_act<Index>(op);
    for (Index block = 0; block < Index(bias_act_blocks(plan, n)); ++block) {
        for (int thread = 0; thread < bias_act_threads; ++thread) {
            bias_act_body<T, n, Index, is_piecewise, order>(plan, block, thread, data);
        }
    }
}

template <bool is_piecewise, int order, class T>
int walk_bias_act(const BiasAct& op, const BiasActData<T>& data, bool wide_indices) {
    if (wide_indices) return walk_bias_act<T, 1, std::int64_t, is_piecewise, order>(op, data), 1;
    if (bias_act_width(op, data) == 1) return walk_bias_act<T, 1, std::int32_t, is_piecewise, order>(op, data), 1;
    return walk_bias_act<T, widest<T>, std::int32_t, is_piecewise, order>(op, data), widest<T>;
}

}  // namespace

extern "C" {

// kernel: 0 tiled, 1 direct, 2 direct with 64-bit indices. numbers: both axes (in, out, up, down, before, taps), outer,
// inner, separable, flip_filter. Returns how many elements a thread takes at once; 0 if the kernel does not serve such a
// case, -1 if it left its shared memory.
int walk_upfirdn2d(int dtype, int kernel, const std::int64_t* numbers, double gain, const void* x_, const float* filter,
                   void* y_) {
    const Upfirdn2d op = op_of(numbers, gain);
    int result = 0;
    with_type(Dtype(dtype), [&](auto element) {
        using T = decltype(element);
        const T* x = static_cast<const T*>(x_);
        T* y = static_cast<T*>(y_);
        if (kernel == 0) {
            TilePlan plan;
            if (!plan_tiles(op, x, plan)) return;
            with_known_axes(op, [&](auto known) {
                result = walk_tiles<T, decltype(known)>(plan, x, filter, y) ? plan.pack : -1;
            });
        } else if (op.separable) {
            return;
        } else if (kernel == 2) {
            walk_direct<T, 1, std::int64_t, KnownAxis<0, 0, 0>>(op, x, filter, y);
            result = 1;
        } else if (direct_width(op, x, y) == 1) {
            walk_direct<T, 1, std::int32_t, KnownAxis<0, 0, 0>>(op, x, filter, y);
            result = 1;
        } else {
            with_known_axes(op, [&](auto known) { walk_direct<T, widest<T>, std::int32_t, decltype(known)>(op, x, filter, y); });
            result = widest<T>;
        }
    });
    return result;
}

// numbers: outer, channels, inner, act, order, wide indices. Returns how many elements a thread takes at once.
int walk_bias_act(int dtype, const std::int64_t* numbers, double alpha, double gain, double clamp, const void* known,
                  const void* b, const void* dy, const void* ddx, void* first, void* second) {
    const int act = int(numbers[3]), order = int(numbers[4]);
    const bool wide = numbers[5] != 0;
    const BiasAct op{numbers[0], numbers[1], numbers[2], b != nullptr, act, slope_of(act, alpha), gain, clamp};
    int result = 0;
    with_type(Dtype(dtype), [&](auto element) {
        using T = decltype(element);
        const BiasActData<T> data{static_cast<const T*>(known), static_cast<const T*>(b), static_cast<const T*>(dy),
                                  static_cast<const T*>(ddx), static_cast<T*>(first), static_cast<T*>(second)};
        if (is_piecewise(act)) {
            result = order == order_forward ? walk_bias_act<true, order_forward>(op, data, wide)
                                            : walk_bias_act<true, order_backward>(op, data, wide);
        } else if (order == order_forward) {
            result = walk_bias_act<false, order_forward>(op, data, wide);
        } else if (order == order_backward) {
            result = walk_bias_act<false, order_backward>(op, data, wide);
        } else {
            result = walk_bias_act<false, order_backward2>(op, data, wide);
        }
    });
    return result;
}

// Where thread `number` of the direct kernel works: ox, oy, offset into x, offset into y. bits: of the index type.
void place_direct(int bits, const std::int64_t* numbers, std::int64_t number, std::int64_t* result) {
    const auto place = [&](auto index) {
        using Index = decltype(index);
        const auto p = direct_place<1>(plan_direct<Index>(op_of(numbers, 1), 1), Index(number));
        result[0] = p.ox, result[1] = p.oy, result[2] = p.x, result[3] = p.y;
    };
    if (bits == 64) place(std::int64_t());
    else place(std::int32_t());
}

// First plane and output of a block's tile: plane, x, y; false where the tiled kernel does not serve.
bool place_tile(const std::int64_t* numbers, std::int64_t block, std::int64_t* result) {
    const Upfirdn2d op = op_of(numbers, 1);
    TilePlan plan;
    if (!plan_tiles<float>(op, nullptr, plan)) return false;
    const KnownAxis<0, 0, 0> ax{op.x}, ay{op.y};
    const auto tile = tile_of<float>(plan, ax, ay, block, nullptr);
    result[0] = tile.plane, result[1] = tile.x, result[2] = tile.y;
    result[3] = plan.planes(), result[4] = plan.width(), result[5] = plan.height(), result[6] = tile_blocks(plan);
    return true;
}

std::int64_t place_channel(const std::int64_t* numbers, std::int64_t element) {
    return channel_of(plan_bias_act<std::int64_t>({numbers[0], numbers[1], numbers[2], true, 0, 1, 1, -1}), element);
}

std::int64_t divide(int bits, std::int64_t n, std::int64_t divisor) {
    return bits == 64 ? Divider<std::int64_t>(divisor).quotient(n) : Divider<std::int32_t>(divisor).quotient(std::int32_t(n));
}

int divide_up(int a, int b) { return ceil_div(a, b); }
int divide_down(int a, int b) { return floor_div(a, b); }

// n floats -> half precision and back.
void convert(int dtype, std::int64_t n, const float* x, void* half, float* back) {
    with_type(Dtype(dtype), [&](auto element) {
        using T = decltype(element);
        for (std::int64_t i = 0; i < n; ++i) {
            narrow(x[i], static_cast<T*>(half)[i]);
            back[i] = float(widen(static_cast<T*>(half)[i]));
        }
    });
}

}  // extern "C"
