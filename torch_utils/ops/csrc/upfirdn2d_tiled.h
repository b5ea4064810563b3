// The kernel of upfirdn2d for planes (inner = 1) and filters of moderate size. A block computes a tile of the output, of
// several planes where these are small: it loads the samples that the tile needs into shared memory, and the filter;
// separable filters then make one pass along the rows, within shared memory, and one along the columns.
//
// The body is split at its barriers: tile_load | tile_rows (separable only) | tile_finish.
#pragma once

#include "upfirdn2d.h"

namespace style_gan_ops {

constexpr int tile_threads = 256;            // per block
constexpr int tile_strip = 4;                // outputs of a thread, one below the other
constexpr int tile_outputs = 1024;           // of a block
constexpr std::int64_t tile_memory = 40960;  // bytes of shared memory at most; what every GPU has without asking

struct TilePlan {
    Upfirdn2d op;
    int log_width, log_height, log_planes;   // of the output tile
    int in_width, in_height;                 // of the tile of samples
    int pack;                                // samples loaded at once
    int tiles_x, tiles_y;
    std::int64_t plane_groups;
    Divider<std::int32_t> packs_in_row, in_rows;
    std::int64_t bytes;                      // of shared memory

    HOST_DEVICE int width() const { return 1 << log_width; }
    HOST_DEVICE int height() const { return 1 << log_height; }
    HOST_DEVICE int planes() const { return 1 << log_planes; }
    HOST_DEVICE int filter_size() const { return op.separable ? op.x.taps + op.y.taps : op.x.taps * op.y.taps; }
    HOST_DEVICE int samples() const { return planes() * in_height * in_width; }
};

// False where this kernel does not serve: channels_last, or too large a filter for the memory.
template <class T> bool plan_tiles(const Upfirdn2d& op, const T* x, TilePlan& plan) {
    if (op.inner != 1 || !fits_in_32_bits(std::int64_t(op.x.in) * op.y.in) || op.x.taps > 64 || op.y.taps > 64 ||
        !fits_in_32_bits(std::int64_t(op.x.out) * op.y.out)) {
        return false;
    }
    const auto log_of = [](std::int64_t size, int least, int most) {
        int log = least;
        while (log < most && (std::int64_t(1) << log) < size) ++log;
        return log;
    };
    plan.op = op;
    plan.log_width = log_of(op.x.out, 2, 5);
    plan.log_height = log_of(op.y.out, 2, 5);
    plan.log_planes = log_of(op.outer, 0, 10 - plan.log_width - plan.log_height);
    plan.pack = op.x.in % 4 == 0 && aligned(x, 4 * sizeof(T)) ? 4 : 1;
    const KnownAxis<0, 0, 0> ax{op.x}, ay{op.y};
    for (;; --plan.log_planes) {  // fewer planes where their samples do not fit
        const int reach = ax.reach(plan.width()) + plan.pack - 1;  // the first pack may begin before the first sample
        plan.in_width = ceil_div(reach, plan.pack) * plan.pack;
        plan.in_height = ay.reach(plan.height());
        const std::int64_t middle = op.separable ? std::int64_t(plan.planes()) * plan.in_height * plan.width() : 0;
        plan.bytes = (plan.filter_size() + std::int64_t(plan.planes()) * plan.in_height * plan.in_width + middle) *
                     sizeof(sum_t<T>);
        if (plan.bytes <= tile_memory) break;
        if (plan.log_planes == 0) return false;
    }
    plan.tiles_x = ceil_div(op.x.out, plan.width());
    plan.tiles_y = ceil_div(op.y.out, plan.height());
    plan.plane_groups = (op.outer + plan.planes() - 1) / plan.planes();
    plan.packs_in_row = Divider<std::int32_t>(plan.in_width / plan.pack);
    plan.in_rows = Divider<std::int32_t>(plan.in_height);
    return true;
}

inline std::int64_t tile_blocks(const TilePlan& plan) { return plan.plane_groups * plan.tiles_y * plan.tiles_x; }

// Where a block's tile lies, and its parts of shared memory.
template <class T> struct Tile {
    std::int64_t plane;  // first of them
    int x, y;            // first output
    int column, row;     // first sample
    sum_t<T> *filter, *samples, *middle;
};

template <class T, class Known>
HOST_DEVICE Tile<T> tile_of(const TilePlan& plan, const Known& ax, const Known& ay, std::int64_t block, void* shared) {
    const std::int64_t line = block / plan.tiles_x, group = line / plan.tiles_y;
    Tile<T> tile;
    tile.plane = group << plan.log_planes;
    tile.x = int(block - line * plan.tiles_x) << plan.log_width;
    tile.y = int(line - group * plan.tiles_y) << plan.log_height;
    tile.column = floor_div(ax.at(tile.x).sample, plan.pack) * plan.pack;
    tile.row = ay.at(tile.y).sample;
    tile.filter = static_cast<sum_t<T>*>(shared);
    tile.samples = tile.filter + plan.filter_size();
    tile.middle = tile.samples + plan.samples();
    return tile;
}

template <class T, int n>
HOST_DEVICE void load_samples(const TilePlan& plan, const Tile<T>& tile, int thread, const T* x) {
    const int packs = plan.samples() / n;
    for (int i = thread; i < packs; i += tile_threads) {
        const int line = plan.packs_in_row.quotient(i), p = plan.in_rows.quotient(line);
        const int column = tile.column + (i - line * int(plan.packs_in_row.divisor)) * n;
        const int row = tile.row + line - p * plan.in_height;
        const std::int64_t plane = tile.plane + p;
        Pack<T, n> pack = {};  // a pack is within the plane or outside: n divides the width, and the first column
        if (column >= 0 && column < plan.op.x.in && row >= 0 && row < plan.op.y.in && plane < plan.op.outer) {
            pack = load_pack<T, n>(x + (plane * plan.op.y.in + row) * plan.op.x.in + column);
        }
        UNROLL for (int c = 0; c < n; ++c) tile.samples[i * n + c] = widen(pack.at[c]);
    }
}

// Phase 1: samples, zero outside of the image, and the filter as a correlation with the gain in it.
template <class T, class Known>
HOST_DEVICE void tile_load(const TilePlan& plan, const Known& ax, const Known& ay, const Tile<T>& tile, int thread,
                           const T* x, const float* filter) {
    const int size = plan.filter_size();
    for (int i = thread; i < size; i += tile_threads) {
        int from = place(i, size, plan.op.flip_filter);  // turning a 2-D filter round reverses its row-major order
        bool scaled = true;
        if (plan.op.separable) {  // row taps, then column taps; these carry the gain
            scaled = i >= ax.taps();
            from = scaled ? place(i - ax.taps(), ay.taps(), plan.op.flip_filter) : place(i, ax.taps(), plan.op.flip_filter);
        }
        tile.filter[i] = filter[from] * (scaled ? sum_t<T>(plan.op.gain) : sum_t<T>(1));
    }
    if (plan.pack == 4) load_samples<T, 4>(plan, tile, thread, x);
    else load_samples<T, 1>(plan, tile, thread, x);
}

// Phase 2, separable: every row of samples filtered along x.
template <class T, class Known>
HOST_DEVICE void tile_rows(const TilePlan& plan, const Known& ax, const Tile<T>& tile, int thread) {
    const int count = (plan.planes() * plan.in_height) << plan.log_width;
    for (int i = thread; i < count; i += tile_threads) {
        const int line = i >> plan.log_width;
        const Window w = ax.at(tile.x + (i & (plan.width() - 1)));
        const sum_t<T>* samples = tile.samples + line * plan.in_width + w.sample - tile.column;
        sum_t<T> sum = 0;
        UNROLL for (int j = 0; j < ax.steps(); ++j) {
            if (ax.has(w, j)) sum = multiply_add(tile.filter[w.tap + j * ax.up()], samples[j], sum);
        }
        tile.middle[i] = sum;
    }
}

// The last phase: separable filters along y, others in both directions. A thread computes a strip of `tile_strip` outputs
// below each other, so that threads side by side read side by side, and what neighbouring windows share stays in
// registers.
template <bool separable, class T, class Known>
HOST_DEVICE void tile_finish(const TilePlan& plan, const Known& ax, const Known& ay, const Tile<T>& tile, int thread, T* y) {
    const int strips = (plan.planes() << (plan.log_height + plan.log_width)) / tile_strip;
    for (int i = thread; i < strips; i += tile_threads) {
        const int x = i & (plan.width() - 1), line = (i >> plan.log_width) * tile_strip;
        const int p = line >> plan.log_height, ox = tile.x + x, oy = tile.y + (line & (plan.height() - 1));
        const Window wx = ax.at(ox);
        const int width = separable ? plan.width() : plan.in_width;
        const sum_t<T>* from = separable ? tile.middle + x : tile.samples + wx.sample - tile.column;
        const sum_t<T>* taps = tile.filter + (separable ? ax.taps() : 0);
        sum_t<T> sum[tile_strip] = {};
        UNROLL for (int s = 0; s < tile_strip; ++s) {
            const Window wy = ay.at(oy + s);
            UNROLL for (int k = 0; k < ay.steps(); ++k) {
                if (!ay.has(wy, k)) continue;
                const sum_t<T>* row = from + (p * plan.in_height + wy.sample + k - tile.row) * width;
                const int tap = wy.tap + k * ay.up();
                if (separable) {
                    sum[s] = multiply_add(taps[tap], row[0], sum[s]);
                } else {
                    UNROLL for (int j = 0; j < ax.steps(); ++j) {
                        if (!ax.has(wx, j)) continue;
                        sum[s] = multiply_add(taps[tap * ax.taps() + wx.tap + j * ax.up()], row[j], sum[s]);
                    }
                }
            }
        }
        if (ox >= plan.op.x.out || tile.plane + p >= plan.op.outer) continue;
        T* out = y + ((tile.plane + p) * plan.op.y.out + oy) * plan.op.x.out + ox;
        UNROLL for (int s = 0; s < tile_strip; ++s) {
            if (oy + s < plan.op.y.out) narrow(sum[s], out[s * plan.op.x.out]);
        }
    }
}

}  // namespace style_gan_ops
