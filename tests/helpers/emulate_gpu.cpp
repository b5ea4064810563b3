// A GPU on the CPU: runs the __global__ functions that NVRTC compiles, one thread after the other. Called from
// emulated_gpu.py, which writes the list of kernels, kernels.inc, and passes the parameters that a driver would get.
#include <ucontext.h>

#include <cstddef>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

struct Index { unsigned x; };
static Index blockIdx, threadIdx;
static void __syncthreads();

#define __global__
#define __shared__
#define __launch_bounds__(threads)
#include "bias_act_grid.h"
#include "upfirdn2d_grid.h"

using namespace style_gan_ops;

namespace style_gan_ops {
constexpr int border = 512;  // doubles behind the shared memory, which a kernel must not touch
double shared[tile_memory / sizeof(double) + border];
}  // namespace style_gan_ops

namespace {

// The threads of a block are coroutines, which a barrier suspends.
constexpr int block_threads = 256;
constexpr std::size_t stack_size = 1 << 16;
ucontext_t scheduler, threads[block_threads];
bool ended[block_threads];
std::vector<char> stacks(block_threads * stack_size);
void (*body)(void**);
void** arguments;

void run_thread() {
    body(arguments);
    ended[threadIdx.x] = true;
}

void run_block() {
    for (int i = 0; i < block_threads; ++i) {
        getcontext(&threads[i]);
        threads[i].uc_stack.ss_sp = &stacks[i * stack_size];
        threads[i].uc_stack.ss_size = stack_size;
        threads[i].uc_link = &scheduler;
        makecontext(&threads[i], run_thread, 0);
        ended[i] = false;
    }
    for (bool some_run = true; some_run;) {
        some_run = false;
        for (int i = 0; i < block_threads; ++i) {
            threadIdx.x = unsigned(blockIdx.x % 2 ? block_threads - 1 - i : i);  // in any order on a GPU
            if (ended[threadIdx.x]) continue;
            some_run = true;
            swapcontext(&scheduler, &threads[threadIdx.x]);
        }
    }
}

template <auto kernel> struct Call;
template <class... Parameters, void (*kernel)(Parameters...)> struct Call<kernel> {
    static void run(void** p) { run(p, std::index_sequence_for<Parameters...>()); }
    template <std::size_t... i> static void run(void** p, std::index_sequence<i...>) {
        kernel(*static_cast<const Parameters*>(p[i])...);
    }
};

const struct { const char* name; void (*run)(void**); } kernels[] = {
#include "kernels.inc"
};

}  // namespace

static void __syncthreads() { swapcontext(&threads[threadIdx.x], &scheduler); }

// Returns 0; 1 if there is no such kernel, 2 if it asks for too much memory, 3 if it wrote behind it.
extern "C" int launch(const char* name, unsigned blocks, unsigned bytes, void** parameters) {
    body = nullptr, arguments = parameters;
    for (const auto& kernel : kernels) {
        if (std::strcmp(kernel.name, name) == 0) body = kernel.run;
    }
    if (!body) return 1;
    if (bytes > tile_memory) return 2;
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {
        if (bytes == 0) {  // no barriers
            for (threadIdx.x = 0; threadIdx.x < block_threads; ++threadIdx.x) body(arguments);
            continue;
        }
        for (double& value : shared) value = std::numeric_limits<double>::quiet_NaN();  // in float32, NaN as well
        run_block();
        for (std::size_t i = (bytes + 7) / 8; i < sizeof(shared) / 8; ++i) {
            if (shared[i] == shared[i]) return 3;
        }
    }
    return 0;
}
