// The operators' names and arguments. The same for every device; which kernels there are, the other bindings say.
#include <torch/library.h>

TORCH_LIBRARY(style_gan_ops, m) {
    // x [N, C, H, W]; f [fh, fw] or, separable, [taps]; up, down (x, y); padding (left, right, top, bottom), negative
    // crops. flip_filter: correlate. -> [N, C, H', W'] of x's dtype and memory format.
    m.def("upfirdn2d(Tensor x, Tensor f, int[2] up, int[2] down, int[4] padding, bool flip_filter, float gain) -> Tensor");

    // y = clamp(gain act(x + b)); b [x.size(dim)] or None; act: place in bias_act.activation_funcs; clamp < 0: none.
    m.def("bias_act(Tensor x, Tensor? b, int dim, int act, float alpha, float gain, float clamp) -> Tensor");

    // dL/dx from dy = dL/dy. linear, relu and lrelu (alpha >= 0) use y and not x, linear without clamp uses neither; the
    // others use x and b and not y. A tensor that is not used may be empty, of any shape.
    m.def("bias_act_backward(Tensor dy, Tensor x, Tensor? b, Tensor y, int dim, int act, float alpha, float gain, float clamp) "
          "-> Tensor");

    // The derivatives of <ddx, bias_act_backward(dy, x)> with respect to dy and x. The second is an empty tensor [0] for
    // linear, relu and lrelu, whose second derivative is zero; these use ddx and y only.
    m.def("bias_act_backward2(Tensor ddx, Tensor dy, Tensor x, Tensor? b, Tensor y, int dim, int act, float alpha, float gain, "
          "float clamp) -> (Tensor, Tensor)");
}
