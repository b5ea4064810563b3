// What the kernels need so that one source compiles under nvcc and NVRTC, for the GPU, and under any C++17 compiler, for the
// CPU and for the tests: function qualifiers, the half-precision types, integer division, packs of elements.
#pragma once

#ifdef __CUDACC_RTC__  // NVRTC brings no headers, neither of C++ nor of CUDA
namespace std {
using int32_t = int;
using int64_t = long long;
using uint16_t = unsigned short;
using uint32_t = unsigned int;
using uint64_t = unsigned long long;
using ::exp, ::expm1, ::log1p;
}  // namespace std
#else
#include <cmath>
#include <cstdint>
#include <cstring>
#endif

#ifdef __CUDACC__
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

struct float16_t { std::uint16_t bits; };
struct bfloat16_t { std::uint16_t bits; };

HOST_DEVICE std::uint32_t bits_of(float x) {
#ifdef __CUDA_ARCH__
    return __float_as_uint(x);
#else
    std::uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits;
#endif
}

HOST_DEVICE float float_of(std::uint32_t bits) {
#ifdef __CUDA_ARCH__
    return __uint_as_float(bits);
#else
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
#endif
}

// a b + c. On the GPU it is rounded once, and products and sums that are written apart stay apart (-fmad=false): the bits of
// a result depend on this source, not on the compiler that translated it.
HOST_DEVICE float multiply_add(float a, float b, float c) {
#ifdef __CUDA_ARCH__
    return __fmaf_rn(a, b, c);
#else
    return a * b + c;
#endif
}

HOST_DEVICE double multiply_add(double a, double b, double c) {
#ifdef __CUDA_ARCH__
    return __fma_rn(a, b, c);
#else
    return a * b + c;
#endif
}

HOST_DEVICE float widen(bfloat16_t x) { return float_of(std::uint32_t(x.bits) << 16); }

// Round to the nearest, ties to even; written without branches so that loops over it vectorise.
HOST_DEVICE void narrow(float x, bfloat16_t& y) {
    const std::uint32_t bits = bits_of(x);
    const std::uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    const std::uint32_t quiet = bits >> 16 | 0x40;
    y.bits = std::uint16_t((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

// The float whose exponent is 112 too small is the half shifted by 13 bits: one multiplication sets it right, subnormal
// numbers included. Infinity and NaN keep all ones in the exponent. GPUs have an instruction for it.
HOST_DEVICE float widen(float16_t x) {
#ifdef __CUDA_ARCH__
    float result;
    asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(x.bits));
    return result;
#else
    const std::uint32_t sign = std::uint32_t(x.bits & 0x8000) << 16, rest = std::uint32_t(x.bits & 0x7fff) << 13;
    if (rest >= 0x7c00u << 13) return float_of(sign | 0x7f800000 | (rest & 0x7fffff));
    return float_of(sign | bits_of(float_of(rest) * 0x1p112f));
#endif
}

HOST_DEVICE void narrow(float x, float16_t& y) {
#ifdef __CUDA_ARCH__
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
#else
    const std::uint32_t sign = bits_of(x) >> 16 & 0x8000, magnitude = bits_of(x) & 0x7fffffff;
    std::uint32_t result;
    if (magnitude > 0x7f800000) result = 0x7e00;                          // NaN
    else if (magnitude >= 0x477ff000) result = 0x7c00;                    // 65520 and more round to infinity
    else if (magnitude < 0x38800000)                                      // subnormal: let the adder round to 2^-24
        result = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
    else result = (magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13;
    y.bits = std::uint16_t(sign | result);
#endif
}

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

inline bool aligned(const void* p, int bytes) { return reinterpret_cast<unsigned long long>(p) % bytes == 0; }

// Elements in 16 bytes, the widest load of a thread.
template <class T> constexpr int widest = int(16 / sizeof(T));

// Whether offsets into memory of so many elements, and thread numbers a little beyond, fit in 32 bits.
inline bool fits_in_32_bits(std::int64_t elements) { return elements <= 0x7fffffff - (1 << 16); }

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
