#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "engine/training_options.hpp"
#include "tensor/kernels.hpp"

namespace kumihimo {

/// The four products of a layer that fp8 applies to.
enum class LinearRole : std::uint8_t { qkv, output, up, down };
inline constexpr int linear_roles = 4;

/// One tensor of a product that is cast to fp8.
enum class Fp8Operand : std::uint8_t { input, weight, output_gradient };
inline constexpr int fp8_operands = 3;

/// What casts saw. Counts are of elements.
struct Fp8CastCounts {
  std::int64_t elements = 0;
  std::int64_t overflowed = 0;   ///< beyond the format's largest number, saturated
  std::int64_t underflowed = 0;  ///< not zero before, zero after
};

/// What the casts of one tensor have seen up to the last step that has ended, and the scale that
/// follows from it. What they see of a step under way is in the device's memory.
struct Fp8Tensor {
  float scale = 1;            ///< for delayed scaling
  bool has_scale = false;     ///< false until one step has been seen
  std::deque<float> history;  ///< largest magnitudes of the last steps, newest first
  Fp8CastCounts last_counts;  ///< of the last step
};

struct LinearId {
  int layer = 0;  ///< of this rank
  LinearRole role = LinearRole::qkv;
};

/// The products that read the gradient of a layer's output.
enum class GradientOf : std::uint8_t { input, weight, both };

/// The gradient of a layer's output, [tokens, out], as those products read it: itself, or cast once
/// for all of them.
struct OutputGradient {
  Matrix values;         ///< [tokens, out]
  Matrix transposed;     ///< [out, tokens], for the weight's where sums run along rows; else empty
  Matrix inverse_scale;  ///< of fp8
};

/// The products of linear layers, [tokens, in] x [out, in], in the layout's precision. fp8:
/// operands are scaled and cast, x and w to E4M3, the gradient of y to E5M2; the product of the
/// scales is taken out of the fp32 sum. A tensor's scale does not change within a step under
/// delayed scaling, so that what is recomputed has the same bits as what was computed.
///
/// Scales, largest magnitudes and counts are in the device's memory: nothing waits for the device
/// but end_step.
class LinearProducts {
 public:
  /// `bf16_layers`: those of this rank's layers that stay out of fp8.
  LinearProducts(Kernels& kernels, DeviceMemory& memory, Workspace& workspace, Precision precision,
                 const Fp8Options& options, int layers, std::vector<bool> bf16_layers);

  /// y = x w^T + bias, which may be empty
  void forward(LinearId id, const Matrix& x, const Matrix& w, const Matrix& bias, const Matrix& y);
  /// d_y for the products that `wanted` names. What is cast is in the caller's workspace scope.
  OutputGradient output_gradient(LinearId id, const Matrix& d_y, GradientOf wanted);
  /// d_x = d_y w
  void input_gradient(LinearId id, const OutputGradient& d_y, const Matrix& w, const Matrix& d_x);
  /// d_w = d_y^T x (+ d_w if accumulated), fp32
  void weight_gradient(LinearId id, const OutputGradient& d_y, const Matrix& x, const Matrix& d_w,
                       Accumulate accumulate);

  bool uses_fp8() const { return precision_ == Precision::fp8; }

  /// Largest magnitudes of this step, fp32 [1, tensors] in a fixed order, in the device's memory:
  /// ranks that hold parts of the same tensors put the maximum of theirs into its place before
  /// end_step. Without fp8: [1, 0].
  Matrix step_maxima() const;
  /// Fetches maxima and counts, sets the next step's scales, and starts counting anew.
  void end_step();

  const Fp8Tensor& tensor(LinearId id, Fp8Operand operand) const;
  /// The histories, for saving and resuming: [tensor][step], newest first, -1 where there is none.
  std::vector<float> histories() const;
  void set_histories(const std::vector<float>& histories);

 private:
  /// A tensor as a product reads it.
  struct Operand {
    Matrix values;
    Transpose transpose = Transpose::no;
    Matrix inverse_scale;  ///< of fp8
  };
  /// The input or the weight, cast where the layer's products are fp8. `along_rows`: how rows run
  /// where the product's sum runs along them.
  Operand prepared(LinearId id, Fp8Operand kind, const Matrix& values, Transpose transpose,
                   Transpose along_rows);
  /// c = op(a) op(b), + bias or accumulated
  void multiply(const Operand& a, const Operand& b, const Matrix& c, Accumulate accumulate,
                const Matrix& bias = {});
  /// Returns the inverse scale.
  Matrix cast(LinearId id, Fp8Operand kind, const Matrix& values, const Fp8Codes& codes);
  std::size_t index_of(LinearId id, Fp8Operand operand) const;
  bool in_fp8(LinearId id) const;
  void set_scale(std::size_t index);
  void upload_scales();

  // In the device's memory, a tensor a row.
  Matrix scales() const;  ///< fp32 [tensors, 2], as Fp8Cast's
  Matrix counts() const;  ///< fp64 [tensors, 3], as Fp8Cast's

  Kernels& kernels_;
  Workspace& workspace_;
  Precision precision_;
  Fp8Options options_;
  std::vector<bool> bf16_layers_;
  std::vector<Fp8Tensor> tensors_;  ///< [layer][role][operand]
  Buffer scales_;
  Buffer seen_;  ///< counts, then maxima: what a step adds up and its end fetches
};

}  // namespace kumihimo
