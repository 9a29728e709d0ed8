#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "model/kernels.hpp"
#include "model/transformer.hpp"
#include "tensor/device_memory.hpp"
#include "tensor/matrix.hpp"

namespace kumihimo {

// The operations of a training step, as every back end offers them. Conventions:
// - Activations are [tokens, features]; tokens are sequence after sequence. Weights are [out, in].
// - Activations and weights are fp32 or bf16, of one dtype within a call unless a comment says
//   otherwise; gradients of weights, statistics and states are fp32. Arithmetic inside a kernel,
//   sums included, is fp32 or wider, whatever the storage.
// - An output that a comment calls accumulated is added to; every other output is overwritten.
// - Outputs may not overlap inputs, except where a comment says "in place".
// - Same input, same output, bit for bit, for any number of threads. (A GPU's libraries: with the
//   options that docs/cuda.md names.)

enum class Transpose : bool { no, yes };
enum class Accumulate : bool { no, yes };

struct NormKinds {
  NormKind kind = NormKind::rms_norm;
  NormKernel kernel = NormKernel::fused;
  double epsilon = 1e-5;
};

/// What a norm keeps for backward besides its input. `mean`: LayerNorm only. `widened` (an fp32
/// copy of the input) and `normalised` (before weight and bias): the unfused kernel only, which
/// runs as separate passes that keep what autograd would keep.
struct NormSaved {
  Matrix inverse_deviation;  ///< fp32 [tokens, 1]
  Matrix mean;               ///< fp32 [tokens, 1]
  Matrix widened;            ///< fp32 [tokens, hidden]
  Matrix normalised;         ///< [tokens, hidden]
};

/// Causal self-attention of whole sequences. tokens = sequences x seq_length. Query head h reads
/// key/value head h / (heads / kv_heads). Scores are scaled by 1/sqrt(head_dim).
struct AttentionShape {
  std::int64_t sequences = 0;
  std::int64_t seq_length = 0;
  std::int64_t heads = 0;     ///< of this rank
  std::int64_t kv_heads = 0;  ///< of this rank
  std::int64_t head_dim = 0;
  AttentionKernel kernel = AttentionKernel::flash2;  ///< flash1, 2 and 3 are one kernel here
};

/// What attention keeps for backward besides its inputs and output.
struct AttentionSaved {
  Matrix probabilities;  ///< unfused, fused_softmax: [sequences x heads x seq_length, seq_length]
  Matrix log_sum_exp;    ///< flash: fp32 [tokens, heads]
};

/// What is done to the sums of a product before they are stored:
///   c = alpha scale_a scale_b op(a) op(b) (+ c if accumulated) + bias
struct ProductEpilogue {
  float alpha = 1;
  /// Of fp8 operands: fp32 [1, 1] in the device's memory, powers of two; empty: 1.
  Matrix scale_a, scale_b;
  /// [1, columns of c], of c's dtype, added to every row, to the sum or to what the sum was rounded
  /// to; empty: none. Not of a product that is accumulated.
  Matrix bias;
};

/// fp8: what a tensor's casts scale with and what they have seen, in the device's memory, so that
/// nobody waits for it.
struct Fp8Cast {
  Matrix scales;   ///< fp32 [1, 2]: the scale, a power of two, and its inverse
  Matrix maximum;  ///< fp32 [1, 1], accumulated: the largest magnitude; NaN once an element was NaN
  Matrix counts;   ///< fp64 [1, 3], accumulated: elements, those that overflowed (beyond the
                   ///< format's largest number, saturated), that underflowed (zero, but not before)
};

/// Where the codes of a cast go, fp8: as the tensor lies, transposed, or both; empty: not wanted.
struct Fp8Codes {
  Matrix straight;    ///< [rows, cols]
  Matrix transposed;  ///< [cols, rows]
};

/// One update of AdamW with decoupled decay (Loshchilov & Hutter 2019, arXiv:1711.05101):
///   g *= gradient_scale;  m = beta1 m + (1-beta1) g;  v = beta2 v + (1-beta2) g^2
///   w = w (1 - learning_rate weight_decay)
///       - learning_rate m/correction1 / (sqrt(v/correction2) + epsilon)
struct AdamW {
  float learning_rate = 0;
  float beta1 = 0.9f;
  float beta2 = 0.95f;
  float epsilon = 1e-8f;
  float gradient_scale = 1;
  float correction1 = 1;  ///< 1 - beta1^step
  float correction2 = 1;  ///< 1 - beta2^step
};

/// m = momentum m + g, w = w (1 - learning_rate weight_decay) - learning_rate m.
struct Sgd {
  float learning_rate = 0;
  float momentum = 0;
  float gradient_scale = 1;
};

/// What an optimizer updates together: matrices of one shape [1, n], fp32 but for the weights.
struct OptimizerPiece {
  Matrix gradient;
  Matrix master;
  Matrix m;
  Matrix v;  ///< AdamW only
  /// Receives master in its own dtype, fp32 or bf16; empty, or master itself, when there is no
  /// separate copy.
  Matrix weights;
  float weight_decay = 0;
};

/// Checks that a piece is as said above; `second_moment`: that it has v.
void check_piece(const OptimizerPiece& piece, bool second_moment);

/// A back end. Temporaries come from the rank's Workspace. For one thread, which may use others.
class Kernels {
 public:
  virtual ~Kernels() = default;

  /// "reference"; "cpu: oneDNN 2.6.3, AVX3_ZEN4, bf16 products in hardware".
  virtual std::string description() const = 0;

  // --- Between host and device, contiguous. download waits for what the device has been given.

  virtual void upload(const void* host, const Matrix& out) = 0;
  virtual void download(const Matrix& in, void* host) = 0;

  // --- Matrix products

  /// c = op(a) op(b), with what the epilogue says (+ c if accumulated). a and b: both fp32, both
  /// bf16, or both fp8 (the two formats mix). c: fp32 or bf16; fp32 when accumulated. Sums are
  /// fp32.
  virtual void matmul(const Matrix& a, Transpose transpose_a, const Matrix& b,
                      Transpose transpose_b, const Matrix& c, Accumulate accumulate,
                      const ProductEpilogue& epilogue = {}) = 0;

  /// x += bias in every row, in place. bias: [1, features].
  virtual void add_bias(const Matrix& x, const Matrix& bias) = 0;
  /// d_bias, fp32 [1, features], accumulated: sums d_y over tokens.
  virtual void bias_backward(const Matrix& d_y, const Matrix& d_bias) = 0;

  // --- Norms. weight, bias: [1, hidden], of x's dtype; bias is empty without one.

  virtual void norm_forward(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                            const Matrix& bias, const Matrix& y, const NormSaved& saved) = 0;
  /// sum = x + delta; y = norm(sum): one pass for the fused kernel. sum may be x or delta.
  virtual void add_norm_forward(const NormKinds& norm, const Matrix& x, const Matrix& delta,
                                const Matrix& weight, const Matrix& bias, const Matrix& sum,
                                const Matrix& y, const NormSaved& saved) = 0;
  /// d_x = d_residual + the gradient through the norm; d_residual may be empty, or be d_x itself.
  /// d_weight, d_bias: fp32 [1, hidden], accumulated.
  virtual void norm_backward(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                             const NormSaved& saved, const Matrix& d_y, const Matrix& d_residual,
                             const Matrix& d_x, const Matrix& d_weight, const Matrix& d_bias) = 0;

  // --- Attention

  /// Rotary positions in place on `heads` heads side by side in the first columns of x, pairing
  /// element i with i + head_dim/2 (as Hugging Face's Llama does). table: fp32
  /// [positions, head_dim]: cosines, then sines, of half the width each. Token t of x has position
  /// t mod seq_length. `inverse`: the gradient's rotation.
  virtual void rotate(const Matrix& x, std::int64_t heads, std::int64_t head_dim,
                      std::int64_t seq_length, const Matrix& table, bool inverse) = 0;

  /// q: [tokens, heads x head_dim]; k, v: [tokens, kv_heads x head_dim]; out like q. All may be
  /// column ranges of wider matrices.
  virtual void attention_forward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                                 const Matrix& v, const Matrix& out,
                                 const AttentionSaved& saved) = 0;
  virtual void attention_backward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                                  const Matrix& v, const Matrix& out, const AttentionSaved& saved,
                                  const Matrix& d_out, const Matrix& d_q, const Matrix& d_k,
                                  const Matrix& d_v) = 0;

  // --- MLP

  /// x: [tokens, 2 f], gate beside up; y = silu(gate) * up, [tokens, f].
  virtual void swiglu_forward(const Matrix& x, const Matrix& y) = 0;
  /// d_x may be x itself (in place).
  virtual void swiglu_backward(const Matrix& x, const Matrix& d_y, const Matrix& d_x) = 0;
  /// The tanh approximation ("gelu_new", as GPT-2).
  virtual void gelu_forward(const Matrix& x, const Matrix& y) = 0;
  virtual void gelu_backward(const Matrix& x, const Matrix& d_y, const Matrix& d_x) = 0;

  // --- Embedding. tokens: int32 [tokens, 1].

  /// Row t of out is row tokens[t] - first_row of the table, or zero where that is none of its rows
  /// (vocabulary-parallel).
  virtual void embedding_forward(const Matrix& tokens, const Matrix& table, std::int64_t first_row,
                                 const Matrix& out) = 0;
  /// d_table: fp32, accumulated, in the order of the tokens.
  virtual void embedding_backward(const Matrix& tokens, const Matrix& d_out, std::int64_t first_row,
                                  const Matrix& d_table) = 0;
  /// x[t] += table[(first_token + t) mod seq_length], in place: learned positions.
  virtual void add_positions(const Matrix& x, const Matrix& table, std::int64_t first_token,
                             std::int64_t seq_length) = 0;
  /// d_table: fp32 [positions, hidden], accumulated.
  virtual void positions_backward(const Matrix& d_x, std::int64_t first_token,
                                  std::int64_t seq_length, const Matrix& d_table) = 0;

  // --- Loss: cross-entropy over a vocabulary that may be split over ranks by columns.

  /// Of each row of logits [tokens, vocabulary of this rank], over its first `valid_cols` columns
  /// (the rest is padding): the maximum, the sum of exp(logit - maximum), and the logit of the
  /// target, or 0 if that is not among columns first_col, first_col + 1 … of the whole vocabulary.
  /// statistics: fp32 [tokens, 3]. With no valid column: -inf, 0, 0.
  virtual void cross_entropy_statistics(const Matrix& logits, const Matrix& targets,
                                        std::int64_t first_col, std::int64_t valid_cols,
                                        const Matrix& statistics) = 0;
  /// statistics of `parts` ranks one below the other, fp32 [parts x tokens, 3]. log_sum_exp: fp32
  /// [tokens, 1]. loss_sum, fp64 [1, 1], accumulated: the sum over tokens of
  /// log_sum_exp - target logit.
  virtual void cross_entropy_combine(const Matrix& statistics, std::int64_t parts,
                                     const Matrix& log_sum_exp, const Matrix& loss_sum) = 0;
  /// logits, in place, become their gradient: scale (exp(logit - log_sum_exp) - [is target]), and 0
  /// in padding.
  virtual void cross_entropy_backward(const Matrix& logits, const Matrix& targets,
                                      std::int64_t first_col, std::int64_t valid_cols,
                                      const Matrix& log_sum_exp, float scale) = 0;

  // --- Element-wise

  /// out = a + b; out may be a or b.
  virtual void add(const Matrix& a, const Matrix& b, const Matrix& out) = 0;
  /// Copies between any two of fp32, bf16 and fp64 (fp32, fp64 only), rounding to nearest even;
  /// also int32 to int32. Strides may differ.
  virtual void copy(const Matrix& in, const Matrix& out) = 0;
  virtual void fill(const Matrix& x, float value) = 0;
  /// x *= factor, in place.
  virtual void scale(const Matrix& x, float factor) = 0;

  // --- Optimizer: a whole list in one call, since parameters are many and most are small. Pieces
  // do not overlap.

  /// sum, fp64 [1, 1], accumulated: squares of all elements, in fp64. Matrices without gaps between
  /// rows, all fp32 or all bf16.
  virtual void sum_of_squares(std::span<const Matrix> matrices, const Matrix& sum) = 0;
  virtual void adamw(const AdamW& step, std::span<const OptimizerPiece> pieces) = 0;
  virtual void sgd(const Sgd& step, std::span<const OptimizerPiece> pieces) = 0;

  // --- fp8

  /// scales, fp32 [1, 2], become those of x's own largest magnitude, which is not kept: the largest
  /// power of two at which it does not overflow `format`, and its inverse; 1 and 1 where it is 0,
  /// infinite or NaN. See fp8_scale (tensor/float_formats.hpp).
  virtual void fp8_scales(const Matrix& x, DType format, const Matrix& scales) = 0;
  /// codes = x times the scale, rounded to nearest even and saturated at the format's largest
  /// number. Adds to the maximum and the counts of `cast`, of x before it is scaled, once.
  virtual void cast_to_fp8(const Matrix& x, const Fp8Cast& cast, const Fp8Codes& codes) = 0;
  /// Whether products are fastest of fp8 operands whose rows run along what is summed over: a not
  /// transposed, b transposed. matmul takes every order.
  virtual bool sums_fp8_along_rows() const = 0;
};

enum class Backend : std::uint8_t { reference, cpu, cuda };

std::string_view to_string(Backend backend);

/// Plain loops, one thread: what every other back end is checked against.
std::unique_ptr<Kernels> make_reference_kernels(Workspace& workspace);

/// oneDNN's products and our own vector code, chosen at run time for this processor; `threads`
/// threads a rank. An Error where the program was built without them.
Expected<std::unique_ptr<Kernels>> make_cpu_kernels(Workspace& workspace, int threads);

}  // namespace kumihimo
