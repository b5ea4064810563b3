// How the native library divides work between blocks and threads, and its arithmetic of indices and half precision. Called
// from test_cuda_kernels.py through ctypes.
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

BiasAct bias_act_of(const std::int64_t* n, double alpha, double gain, double clamp) {
    return {n[0], n[1], n[2], n[3] != 0, int(n[4]), slope_of(int(n[4]), alpha), gain, clamp};
}

template <class Plan> int write(const Plan& plan, void* to) {
    std::memcpy(to, &plan, sizeof(plan));
    return int(sizeof(plan));
}

}  // namespace

extern "C" {

// The plans of the native library. numbers: both axes (in, out, up, down, before, taps), outer, inner, separable,
// flip_filter. Each writes its structure to `plan` and returns the size; tile_plan returns 0 where its kernel does not serve.
int tile_plan(int dtype, const std::int64_t* numbers, double gain, const void* x, void* plan) {
    int size = 0;
    with_type(Dtype(dtype), [&](auto element) {
        TilePlan made;
        if (plan_tiles(op_of(numbers, gain), static_cast<const decltype(element)*>(x), made)) size = write(made, plan);
    });
    return size;
}

int direct_plan(int bits, const std::int64_t* numbers, double gain, int n, void* plan) {
    const Upfirdn2d op = op_of(numbers, gain);
    return bits == 64 ? write(plan_direct<std::int64_t>(op, n), plan) : write(plan_direct<std::int32_t>(op, n), plan);
}

// Elements that a thread takes at once.
int direct_elements(int dtype, const std::int64_t* numbers, const void* x, const void* y) {
    int n = 0;
    with_type(Dtype(dtype), [&](auto element) {
        using T = decltype(element);
        n = direct_width(op_of(numbers, 1), static_cast<const T*>(x), static_cast<const T*>(y));
    });
    return n;
}

// numbers: outer, channels, inner, has_bias, act.
int bias_act_plan(int bits, const std::int64_t* numbers, double alpha, double gain, double clamp, void* plan) {
    const BiasAct op = bias_act_of(numbers, alpha, gain, clamp);
    return bits == 64 ? write(plan_bias_act<std::int64_t>(op), plan) : write(plan_bias_act<std::int32_t>(op), plan);
}

int bias_act_elements(int dtype, const std::int64_t* numbers, const void* x) {
    int n = 0;
    with_type(Dtype(dtype), [&](auto element) {
        using T = decltype(element);
        n = bias_act_width(bias_act_of(numbers, 0, 1, -1), BiasActData<T>{static_cast<const T*>(x)});
    });
    return n;
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
