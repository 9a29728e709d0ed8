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

/// What the casts of one tensor have seen, and the scale that follows from it.
struct Fp8Tensor {
  float scale = 1;            ///< of this step, for delayed scaling
  bool has_scale = false;     ///< false until one step has been seen
  float amax = 0;             ///< largest magnitude of this step so far
  std::deque<float> history;  ///< of the last steps, newest first
  Fp8CastCounts counts;       ///< of this step
  Fp8CastCounts last_counts;  ///< of the last step that has ended
};

struct LinearId {
  int layer = 0;  ///< of this rank
  LinearRole role = LinearRole::qkv;
};

/// The products of linear layers, [tokens, in] x [out, in], in the layout's precision. fp8:
/// operands are scaled and cast, x and w to E4M3, the gradient of y to E5M2; the product of the
/// scales is taken out of the fp32 sum. A tensor's scale does not change within a step under
/// delayed scaling, so that what is recomputed has the same bits as what was computed.
class LinearProducts {
 public:
  /// `bf16_layers`: those of this rank's layers that stay out of fp8.
  LinearProducts(Kernels& kernels, Workspace& workspace, Precision precision,
                 const Fp8Options& options, int layers, std::vector<bool> bf16_layers);

  /// y = x w^T
  void forward(LinearId id, const Matrix& x, const Matrix& w, const Matrix& y);
  /// d_x = d_y w
  void input_gradient(LinearId id, const Matrix& d_y, const Matrix& w, const Matrix& d_x);
  /// d_w += d_y^T x, fp32
  void weight_gradient(LinearId id, const Matrix& d_y, const Matrix& x, const Matrix& d_w);

  bool uses_fp8() const { return precision_ == Precision::fp8; }

  /// Largest magnitudes of this step, one for each tensor in a fixed order: ranks that hold parts
  /// of the same tensors take the maximum of them before end_step. Empty without fp8.
  std::vector<float> step_maxima() const;
  /// Sets the next step's scales from `maxima`, and starts counting anew.
  void end_step(const std::vector<float>& maxima);

  const Fp8Tensor& tensor(LinearId id, Fp8Operand operand) const;
  /// The histories, for saving and resuming: [tensor][step], newest first, -1 where there is none.
  std::vector<float> histories() const;
  void set_histories(const std::vector<float>& histories);

 private:
  struct Cast {
    Matrix values;  ///< fp8
    float inverse_scale = 1;
  };
  Cast cast(LinearId id, Fp8Operand operand, const Matrix& x);
  Fp8Tensor& mutable_tensor(LinearId id, Fp8Operand operand);
  bool in_fp8(LinearId id) const;
  void set_scale(Fp8Tensor& tensor, std::size_t index);

  Kernels& kernels_;
  Workspace& workspace_;
  Precision precision_;
  Fp8Options options_;
  std::vector<bool> bf16_layers_;
  std::vector<Fp8Tensor> tensors_;  ///< [layer][role][operand]
};

}  // namespace kumihimo
