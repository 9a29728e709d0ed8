#include "model/operations.hpp"

namespace kumihimo {
namespace {

/// Bytes that the norm kernels move and keep per element of their input of width `width` bytes.
/// Unfused is the eager sequence cast to fp32, square, mean, scale, cast back, weight: every pass
/// reads and writes the tensor, and autograd keeps the fp32 copy and the normalised values.
struct NormTraffic {
  double forward, backward, saved;
  double forward_kernels, backward_kernels;
};

NormTraffic norm_traffic(NormKernel kernel, double width) {
  if (kernel == NormKernel::fused) return {2 * width, 4 * width, 0, 1, 2};
  return {2 * width + 7 * 4, 4 * width + 16 * 4, 4 + width, 6, 14};
}

/// Appends the operations of a layer; holds what they all need.
class Builder {
 public:
  Builder(const TransformerShape& shape, const LayerShard& shard)
      : shape_(shape),
        shard_(shard),
        width_(element_bytes(shard.precision)),
        tokens_(shard.tokens()),
        norm_tokens_(shard.norm_tokens()) {}

  std::vector<Operation> take() { return std::move(operations_); }

  /// The input of the layer's first half is kept for the norm's backward.
  void norm(std::string_view name, bool input_is_kept_here) {
    const double elements = norm_tokens_ * hidden();
    const double statistics = shape_.norm == NormKind::layer_norm ? 8 : 4;  // deviation, mean
    const NormTraffic traffic = norm_traffic(shard_.norm, width_);
    Operation operation{.name = name, .kind = OperationKind::norm, .norm = shard_.norm};
    operation.forward = {5 * elements, traffic.forward * elements, traffic.forward_kernels};
    operation.backward_input = {10 * elements, traffic.backward * elements,
                                traffic.backward_kernels};
    operation.live_bytes = operation.forward.bytes;
    operation.saved_bytes =
        elements * (traffic.saved + (input_is_kept_here ? width_ : 0)) + statistics * norm_tokens_;
    operations_.push_back(operation);
  }

  /// A norm over head_dim of queries and keys (Qwen3); keeps its input.
  void head_norm(double elements) {
    const NormTraffic traffic = norm_traffic(shard_.norm, width_);
    Operation operation{
        .name = "query and key norm", .kind = OperationKind::norm, .norm = shard_.norm};
    operation.forward = {5 * elements, traffic.forward * elements, 2 * traffic.forward_kernels};
    operation.backward_input = {10 * elements, traffic.backward * elements,
                                2 * traffic.backward_kernels};
    operation.live_bytes = operation.forward.bytes;
    operation.saved_bytes = elements * (traffic.saved + width_);
    operations_.push_back(operation);
  }

  /// Product of [tokens, in] with [in, out], split so that this rank holds in x out of it. Keeps
  /// its input when `kept_input_bytes` says so (a product that shares its input keeps it once).
  /// `pending`: tokens whose gradient a separate weight pass waits for; the rest is gathered then.
  void matmul(std::string_view name, double in, double out, double kept_input_bytes, double pending,
              bool bias, bool always_16_bit = false) {
    const bool in_fp8 = shard_.precision == Precision::fp8 && !always_16_bit;
    const Precision precision =
        shard_.precision == Precision::fp8 && always_16_bit ? Precision::bf16 : shard_.precision;
    const double operand = in_fp8 ? 1 : width_;
    Operation operation{.name = name, .kind = OperationKind::matmul, .precision = precision};
    const double flops = 2 * tokens_ * in * out;
    operation.forward = {flops, operand * (tokens_ * in + in * out) + width_ * tokens_ * out,
                         bias ? 2.0 : 1.0};
    operation.backward_input = {flops, operand * (tokens_ * out + in * out) + width_ * tokens_ * in,
                                1};
    operation.backward_weight = {flops, operand * tokens_ * (in + out) + 4 * in * out,
                                 bias ? 2.0 : 1.0};
    operation.live_bytes = width_ * tokens_ * (in + out);
    operation.saved_bytes = kept_input_bytes;
    operation.pending_bytes = width_ * pending * out;
    operations_.push_back(operation);
    if (in_fp8) quantise(in, out);
  }

  /// `elements` per token; bytes read and written per element, forward and backward.
  void elementwise(std::string_view name, double elements, double forward_bytes,
                   double backward_bytes, double saved_bytes, double kernels) {
    Operation operation{.name = name, .kind = OperationKind::elementwise};
    operation.forward = {elements, forward_bytes * elements, kernels};
    operation.backward_input = {elements, backward_bytes * elements, kernels};
    operation.live_bytes = operation.forward.bytes;
    operation.saved_bytes = saved_bytes;
    operations_.push_back(operation);
  }

  /// The conjugate pair around a column-parallel region: identity forward and all-reduce backward,
  /// or with sequence parallelism all-gather forward and reduce-scatter backward.
  void enter_tensor_parallel(std::string_view name) {
    if (shard_.tensor_parallel == 1) return;
    const double bytes = tokens_ * hidden() * width_;
    Operation operation{.name = name, .kind = OperationKind::collective};
    if (shard_.sequence_parallel) {
      operation.forward_collective = {CollectiveKind::all_gather, LayerAxis::tensor, bytes};
      operation.backward_collective = {CollectiveKind::reduce_scatter, LayerAxis::tensor, bytes};
      operation.backward_weight_collective = {CollectiveKind::all_gather, LayerAxis::tensor, bytes};
    } else {
      operation.backward_collective = {CollectiveKind::all_reduce, LayerAxis::tensor, bytes};
    }
    operations_.push_back(operation);
  }

  void leave_tensor_parallel(std::string_view name) {
    if (shard_.tensor_parallel == 1) return;
    const double bytes = tokens_ * hidden() * width_;
    Operation operation{.name = name, .kind = OperationKind::collective};
    if (shard_.sequence_parallel) {
      operation.forward_collective = {CollectiveKind::reduce_scatter, LayerAxis::tensor, bytes};
      operation.backward_collective = {CollectiveKind::all_gather, LayerAxis::tensor, bytes};
    } else {
      operation.forward_collective = {CollectiveKind::all_reduce, LayerAxis::tensor, bytes};
    }
    operations_.push_back(operation);
  }

  /// The loss over the whole vocabulary on every rank; its backward keeps this rank's slice.
  void gather_logits(double vocab) {
    if (shard_.tensor_parallel == 1 || shard_.vocab_parallel_loss) return;
    Operation operation{.name = "logits gather", .kind = OperationKind::collective};
    operation.forward_collective = {CollectiveKind::all_gather, LayerAxis::tensor,
                                    tokens_ * vocab * 4};
    operations_.push_back(operation);
  }

  void attention_core() {
    const double heads = static_cast<double>(shape_.heads) / shard_.tensor_parallel;
    const double head_dim = static_cast<double>(shape_.head_dim);
    const double seq = static_cast<double>(shard_.seq_length);
    const double kv = tokens_ * kv_heads() * head_dim;
    const double query = tokens_ * heads * head_dim;
    const double scores = tokens_ * heads * seq;  // one per query and key
    Operation operation{.name = "attention core", .kind = OperationKind::attention};
    operation.precision = shard_.precision == Precision::fp8 ? Precision::bf16 : shard_.precision;
    operation.attention = shard_.attention;
    operation.attention_core = true;
    operation.keys = seq / shard_.context_parallel;

    if (is_flash(shard_.attention)) {
      // Causal blocks above the diagonal are skipped; backward has five products to forward's two.
      const double flops = 4 * scores * head_dim / 2;
      operation.forward = {flops, width_ * (2 * query + 2 * kv), 1};
      operation.backward_input = {2.5 * flops, width_ * (4 * query + 4 * kv), 3};
      operation.saved_bytes = 4 * tokens_ * heads;  // log-sum-exp; the output is kept by its reader
    } else {
      const bool fused = shard_.attention == AttentionKernel::fused_softmax;
      const double flops = 4 * scores * head_dim;
      // Per score, forward: written by the first product, read and written by softmax, read by the
      // second product. Unfused adds a masking pass, dropout one, each with its mask. Backward
      // mirrors it, with three operands in softmax's pass and two readers of its result.
      const double masking = fused ? 0 : 2 * width_ + 1, masking_kernels = fused ? 0 : 3;
      const double dropout = shard_.attention_dropout_buffers ? 2 * width_ + 1 : 0;
      const double dropout_kernels = shard_.attention_dropout_buffers ? 1 : 0;
      operation.forward = {
          flops, width_ * (2 * query + 2 * kv) + (4 * width_ + masking + dropout) * scores,
          3 + masking_kernels + dropout_kernels};
      operation.backward_input = {
          2 * flops, width_ * (4 * query + 4 * kv) + (7 * width_ + masking + dropout) * scores,
          5 + masking_kernels + dropout_kernels};
      // Softmax's output; with dropout also the same after it, and its mask: 5 a s^2 b in
      // arXiv:2205.05198. The kernels of Megatron keep them at rate zero, too.
      operation.saved_bytes =
          (width_ + (shard_.attention_dropout_buffers ? width_ + 1 : 0)) * scores;
    }
    operation.live_bytes = operation.forward.bytes;
    if (shard_.context_parallel > 1) {
      // Ring attention: keys and values visit every rank; backward sends their gradients too.
      const double visits = shard_.context_parallel - 1;
      operation.forward_collective = {CollectiveKind::send_receive, LayerAxis::context,
                                      2 * width_ * kv * visits};
      operation.backward_collective = {CollectiveKind::send_receive, LayerAxis::context,
                                       4 * width_ * kv * visits};
    }
    operations_.push_back(operation);
  }

  double hidden() const { return static_cast<double>(shape_.hidden); }
  /// Key/value heads on this rank: at least one, replicated when tp exceeds them.
  double kv_heads() const {
    const double per_rank = static_cast<double>(shape_.kv_heads) / shard_.tensor_parallel;
    return per_rank < 1 ? 1 : per_rank;
  }
  double width() const { return width_; }
  double tokens() const { return tokens_; }
  double norm_tokens() const { return norm_tokens_; }

 private:
  /// fp8 operands are cast (and transposed for the weight gradient) with a scale from their
  /// largest magnitude: Micikevicius et al. 2022, arXiv:2209.05433.
  void quantise(double in, double out) {
    Operation operation{.name = "fp8 cast", .kind = OperationKind::elementwise};
    operation.forward = {0, (width_ + 2) * tokens_ * in, 2};
    operation.backward_input = {0, (width_ + 2) * tokens_ * out, 2};
    operations_.push_back(operation);
  }

  const TransformerShape& shape_;
  const LayerShard& shard_;
  double width_;
  double tokens_;
  double norm_tokens_;
  std::vector<Operation> operations_;
};

}  // namespace

std::vector<Operation> layer_operations(const TransformerShape& shape, const LayerShard& shard) {
  Builder build(shape, shard);
  const double width = build.width();
  const double tokens = build.tokens();
  const double hidden = build.hidden();
  const double head_dim = static_cast<double>(shape.head_dim);
  const double query = static_cast<double>(shape.heads) / shard.tensor_parallel * head_dim;
  const double key_value = build.kv_heads() * head_dim;
  const double ffn = static_cast<double>(shape.ffn_hidden) / shard.tensor_parallel;
  const double residual = build.norm_tokens() * hidden;
  const double mask = shape.dropout ? 1 : 0;

  // Saved by each operation: what backward reads. The norm keeps its input; the products keep
  // theirs (the normalised input stays split under sequence parallelism and is gathered again).
  build.norm("attention norm", true);
  build.enter_tensor_parallel("attention input");
  build.matmul("qkv projection", hidden, query + 2 * key_value, width * residual, tokens,
               shape.qkv_bias);
  // Splits the projection and rotates queries and keys. Its outputs, queries, keys and values, are
  // the attention core's inputs: kept even when the core is computed again.
  build.elementwise("rotary and split", tokens * (query + key_value), 2 * width, 2 * width,
                    width * tokens * (query + 2 * key_value),
                    shape.positions == Positions::rotary ? 4 : 1);
  if (shape.qk_norm) build.head_norm(tokens * (query + key_value));
  build.attention_core();
  build.matmul("attention output", query, hidden, width * tokens * query, build.norm_tokens(),
               shape.output_bias);
  build.leave_tensor_parallel("attention output reduction");
  build.elementwise("attention residual", residual, (3 + mask) * width, (1 + mask) * width,
                    mask * residual, 1);

  build.norm("mlp norm", true);
  build.enter_tensor_parallel("mlp input");
  if (shape.activation == Activation::swiglu) {
    build.matmul("gate and up projection", hidden, 2 * ffn, width * residual, tokens,
                 shape.mlp_bias);
    build.elementwise("swiglu", tokens * ffn, 3 * width, 5 * width, 2 * width * tokens * ffn, 1);
  } else {
    build.matmul("up projection", hidden, ffn, width * residual, tokens, shape.mlp_bias);
    build.elementwise("gelu", tokens * ffn, 2 * width, 3 * width, width * tokens * ffn, 1);
  }
  build.matmul("down projection", ffn, hidden, width * tokens * ffn, build.norm_tokens(),
               shape.mlp_bias);
  build.leave_tensor_parallel("mlp output reduction");
  build.elementwise("mlp residual", residual, (3 + mask) * width, (1 + mask) * width,
                    mask * residual, 1);
  return build.take();
}

std::vector<Operation> embedding_operations(const TransformerShape& shape,
                                            const LayerShard& shard) {
  Builder build(shape, shard);
  const double elements = build.tokens() * build.hidden();
  // Backward scatters into the fp32 or 16-bit gradient table.
  build.elementwise("embedding", elements, 2 * build.width(), 3 * build.width(),
                    shape.dropout ? build.norm_tokens() * build.hidden() : 0, 2);
  build.leave_tensor_parallel("embedding reduction");
  return build.take();
}

std::vector<Operation> head_operations(const TransformerShape& shape, const LayerShard& shard) {
  Builder build(shape, shard);
  const double width = build.width();
  const double residual = build.norm_tokens() * build.hidden();
  const double logits = static_cast<double>(shard.vocab) / shard.tensor_parallel;
  build.norm("final norm", true);
  build.enter_tensor_parallel("head input");
  build.matmul("head", build.hidden(), logits, width * residual, 0, false, true);
  const double held = shard.vocab_parallel_loss ? logits : static_cast<double>(shard.vocab);
  build.gather_logits(held);
  // Logits are cast to fp32; maximum, exponentials, sum and gradient are passes over them.
  // At the peak the 16-bit logits, their fp32 copy and its gradient are alive; a gather, in fp32,
  // adds the received shares and their concatenation.
  const double alive = width + 8 + (held > logits ? 8 : 0);
  build.elementwise("cross-entropy", build.tokens() * held, 2 * width + 16, width + 8,
                    alive * build.tokens() * held, 6);
  std::vector<Operation> operations = build.take();
  operations.back().kind = OperationKind::loss;
  return operations;
}

double boundary_bytes(const TransformerShape& shape, const LayerShard& shard, bool scatter_gather) {
  const bool split = scatter_gather || shard.sequence_parallel;
  return shard.tokens() / (split ? shard.tensor_parallel : 1) * static_cast<double>(shape.hidden) *
         element_bytes(shard.precision);
}

double layer_input_bytes(const TransformerShape& shape, const LayerShard& shard) {
  return shard.norm_tokens() * static_cast<double>(shape.hidden) * element_bytes(shard.precision);
}

}  // namespace kumihimo
