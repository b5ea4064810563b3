// exp(x), exp(x) - 1 for x <= 0 and log(1 + x) for 0 <= x <= 1: all that the activations need, without branches, so that
// loops over them vectorise. In float32 they are within 2 units in the last place; float64 takes those of the library.
#pragma once

#include "portable.h"

namespace style_gan_ops {

// e^x = scale (1 + rest) with scale a power of two and rest in [-0.3, 0.42].
struct Exponential {
    float scale, rest;
};

HOST_DEVICE Exponential exponential(float x) {
    x = x < -87.0f ? -87.0f : x;  // below, e^x is no normal number; as good as zero here. NaN passes
    const float shift = 12582912.0f;  // 1.5 2^23: what is added to it is rounded to an integer, found in its low bits
    const float shifted = multiply_add(x, 1.44269504f, shift), n = shifted - shift;
    Exponential result;
    result.scale = float_of((bits_of(shifted) + 127) << 23);
    // x - n log 2, with log 2 in two parts
    const float r = multiply_add(n, 2.12194440e-4f, multiply_add(-n, 0.693359375f, x));
    float q = 1.0f / 5040;  // Taylor: |r| <= log(2) / 2
    q = multiply_add(q, r, 1.0f / 720);
    q = multiply_add(q, r, 1.0f / 120);
    q = multiply_add(q, r, 1.0f / 24);
    q = multiply_add(q, r, 1.0f / 6);
    q = multiply_add(q, r, 0.5f);
    result.rest = multiply_add(r * r, q, r);
    return result;
}

HOST_DEVICE float exp_of(float x) {
    const Exponential e = exponential(x);
    return multiply_add(e.scale, e.rest, e.scale);
}

HOST_DEVICE float expm1_of(float x) {
    const Exponential e = exponential(x);
    return multiply_add(e.scale, e.rest, e.scale - 1.0f);
}

HOST_DEVICE float log1p_of(float x) {
    const float z = x / (2.0f + x), zz = z * z;  // log(1 + x) = 2 artanh(z), a series in z <= 1/3
    float q = 1.0f / 17;
    q = multiply_add(q, zz, 1.0f / 15);
    q = multiply_add(q, zz, 1.0f / 13);
    q = multiply_add(q, zz, 1.0f / 11);
    q = multiply_add(q, zz, 1.0f / 9);
    q = multiply_add(q, zz, 1.0f / 7);
    q = multiply_add(q, zz, 1.0f / 5);
    q = multiply_add(q, zz, 1.0f / 3);
    return 2.0f * multiply_add(z * zz, q, z);
}

HOST_DEVICE double exp_of(double x) { return std::exp(x); }
HOST_DEVICE double expm1_of(double x) { return std::expm1(x); }
HOST_DEVICE double log1p_of(double x) { return std::log1p(x); }

}  // namespace style_gan_ops
