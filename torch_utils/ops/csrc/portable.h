// What the kernels need so that one source compiles under nvcc, for the GPU, and under any C++17 compiler, for the CPU
// and for the tests: function qualifiers, the half-precision types, integer division, packs of elements.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#define HOST_DEVICE __host__ __device__ __forceinline__
#define UNROLL _Pragma("unroll")
#else
#define HOST_DEVICE inline
#define UNROLL
#endif

namespace style_gan_ops {

enum class Dtype { float16, bfloat16, float32, float64 };

// The type that sums are made in.
template <class T> struct Sum { using type = float; };
template <> struct Sum<double> { using type = double; };
template <class T> using sum_t = typename Sum<T>::type;

#ifdef __CUDACC__

using float16_t = __half;
using bfloat16_t = __nv_bfloat16;

HOST_DEVICE float widen(float16_t x) { return __half2float(x); }
HOST_DEVICE float widen(bfloat16_t x) { return __bfloat162float(x); }
HOST_DEVICE void narrow(float x, float16_t& y) { y = __float2half_rn(x); }
HOST_DEVICE void narrow(float x, bfloat16_t& y) { y = __float2bfloat16_rn(x); }

#else

struct float16_t { std::uint16_t bits; };
struct bfloat16_t { std::uint16_t bits; };

inline std::uint32_t bits_of(float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}

inline float float_of(std::uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

inline float widen(bfloat16_t x) { return float_of(std::uint32_t(x.bits) << 16); }

// Round to the nearest, ties to even; written without branches so that loops over it vectorise.
inline void narrow(float x, bfloat16_t& y) {
    const std::uint32_t bits = bits_of(x);
    const std::uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    const std::uint32_t quiet = bits >> 16 | 0x40;
    y.bits = std::uint16_t((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

// The float whose exponent is 112 too small is the half shifted by 13 bits: one multiplication sets it right, subnormal
// numbers included. Infinity and NaN keep all ones in the exponent.
inline float widen(float16_t x) {
    const std::uint32_t sign = std::uint32_t(x.bits & 0x8000) << 16, rest = std::uint32_t(x.bits & 0x7fff) << 13;
    if (rest >= 0x7c00u << 13) return float_of(sign | 0x7f800000 | (rest & 0x7fffff));
    return float_of(sign | bits_of(float_of(rest) * 0x1p112f));
}

inline void narrow(float x, float16_t& y) {
    const std::uint32_t sign = bits_of(x) >> 16 & 0x8000, magnitude = bits_of(x) & 0x7fffffff;
    std::uint32_t result;
    if (magnitude > 0x7f800000) result = 0x7e00;                          // NaN
    else if (magnitude >= 0x477ff000) result = 0x7c00;                    // 65520 and more round to infinity
    else if (magnitude < 0x38800000)                                      // subnormal: let the adder round to 2^-24
        result = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
    else result = (magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13;
    y.bits = std::uint16_t(sign | result);
}

#endif

HOST_DEVICE float widen(float x) { return x; }
HOST_DEVICE double widen(double x) { return x; }
HOST_DEVICE void narrow(float x, float& y) { y = x; }
HOST_DEVICE void narrow(double x, double& y) { y = x; }

// x as the nearest value of T.
template <class T> HOST_DEVICE sum_t<T> rounded_to(sum_t<T> x) {
    T y;
    narrow(x, y);
    return widen(y);
}

HOST_DEVICE int ceil_div(int a, int b) { return a > 0 ? (a - 1) / b + 1 : -(-a / b); }  // b > 0; rounds up
HOST_DEVICE int floor_div(int a, int b) { return -ceil_div(-a, b); }
HOST_DEVICE int smaller(int a, int b) { return a < b ? a : b; }
HOST_DEVICE int larger(int a, int b) { return a > b ? a : b; }

// Division by a number that the host knows before the launch: 32-bit indices become a multiplication and a shift
// (Granlund and Montgomery 1994, sec. 4: with 2^(s-1) < d <= 2^s and m = ceil(2^(31+s) / d), floor(n m / 2^(31+s)) is
// exact for 0 <= n < 2^31, and m fits in 32 bits).
template <class Index> struct Divider;

template <> struct Divider<std::int32_t> {
    std::uint32_t divisor, multiplier, shift;

    Divider() = default;
    explicit Divider(std::int64_t d) : divisor(std::uint32_t(d)), shift(31) {
        while ((std::int64_t(1) << (shift - 31)) < d) ++shift;
        multiplier = std::uint32_t(((std::uint64_t(1) << shift) + divisor - 1) / divisor);
    }

    HOST_DEVICE std::int32_t quotient(std::int32_t n) const {
        return std::int32_t(std::uint64_t(std::uint32_t(n)) * multiplier >> shift);
    }
};

template <> struct Divider<std::int64_t> {
    std::int64_t divisor;

    Divider() = default;
    explicit Divider(std::int64_t d) : divisor(d) {}

    HOST_DEVICE std::int64_t quotient(std::int64_t n) const { return n / divisor; }
};

// n elements that are loaded and stored at once; memory must be aligned to the whole.
template <class T, int n> struct alignas(sizeof(T) * n) Pack {
    T at[n];
};

template <class T, int n> HOST_DEVICE Pack<T, n> load_pack(const T* p) { return *reinterpret_cast<const Pack<T, n>*>(p); }

template <class T, int n> HOST_DEVICE void store_pack(T* p, const Pack<T, n>& pack) {
    *reinterpret_cast<Pack<T, n>*>(p) = pack;
}

inline bool aligned(const void* p, std::size_t bytes) { return reinterpret_cast<std::uintptr_t>(p) % bytes == 0; }

// Elements in 16 bytes, the widest load of a thread.
template <class T> constexpr int widest = int(16 / sizeof(T));

// Whether offsets into memory of so many elements, and thread numbers a little beyond, fit in 32 bits.
inline bool fits_in_32_bits(std::int64_t elements) { return elements <= INT32_MAX - (1 << 16); }

// Call visit(T{}) with the element type.
template <class Visit> void with_type(Dtype dtype, Visit&& visit) {
    switch (dtype) {
        case Dtype::float16: return visit(float16_t{});
        case Dtype::bfloat16: return visit(bfloat16_t{});
        case Dtype::float32: return visit(float{});
        case Dtype::float64: return visit(double{});
    }
}

}  // namespace style_gan_ops
