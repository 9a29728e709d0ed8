#include "engine/measured_kernels.hpp"

#include <utility>

namespace kumihimo {
namespace {

class MeasuredKernels final : public Kernels {
 public:
  MeasuredKernels(std::unique_ptr<Kernels> kernels, StepRecorder& recorder)
      : kernels_(std::move(kernels)), recorder_(recorder) {}

  std::string description() const override { return kernels_->description(); }
  void upload(const void* host, const Matrix& out) override {
    const StepRecorder::Span span(recorder_, Activity::elementwise);
    kernels_->upload(host, out);
  }
  void download(const Matrix& in, void* host) override {
    const StepRecorder::Span span(recorder_, Activity::elementwise);
    kernels_->download(in, host);
  }
  void matmul(const Matrix& a, Transpose transpose_a, const Matrix& b, Transpose transpose_b,
              const Matrix& c, Accumulate accumulate, const ProductEpilogue& epilogue) override {
    const StepRecorder::Span span(recorder_, Activity::matmul);
    kernels_->matmul(a, transpose_a, b, transpose_b, c, accumulate, epilogue);
  }
  void add_bias(const Matrix& x, const Matrix& bias) override {
    const StepRecorder::Span span(recorder_, Activity::elementwise);
    kernels_->add_bias(x, bias);
  }
  void bias_backward(const Matrix& d_y, const Matrix& d_bias) override {
    const StepRecorder::Span span(recorder_, Activity::elementwise);
    kernels_->bias_backward(d_y, d_bias);
  }
  void norm_forward(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                    const Matrix& bias, const Matrix& y, const NormSaved& saved) override {
    const StepRecorder::Span span(recorder_, Activity::norm);
    kernels_->norm_forward(norm, x, weight, bias, y, saved);
  }
  void add_norm_forward(const NormKinds& norm, const Matrix& x, const Matrix& delta,
                        const Matrix& weight, const Matrix& bias, const Matrix& sum,
                        const Matrix& y, const NormSaved& saved) override {
    const StepRecorder::Span span(recorder_, Activity::norm);
    kernels_->add_norm_forward(norm, x, delta, weight, bias, sum, y, saved);
  }
  void norm_backward(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                     const NormSaved& saved, const Matrix& d_y, const Matrix& d_residual,
                     const Matrix& d_x, const Matrix& d_weight, const Matrix& d_bias) override {
    const StepRecorder::Span span(recorder_, Activity::norm);
    kernels_->norm_backward(norm, x, weight, saved, d_y, d_residual, d_x, d_weight, d_bias);
  }
  void rotate(const Matrix& x, std::int64_t heads, std::int64_t head_dim, std::int64_t seq_length,
              const Matrix& table, bool inverse) override {
    const StepRecorder::Span span(recorder_, Activity::elementwise);
    kernels_->rotate(x, heads, head_dim, seq_length, table, inverse);
  }
  void attention_forward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                         const Matrix& v, const Matrix& out, const AttentionSaved& saved) override {
    const StepRecorder::Span span(recorder_, Activity::attention);
    kernels_->attention_forward(shape, q, k, v, out, saved);
  }
  void attention_backward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                          const Matrix& v, const Matrix& out, const AttentionSaved& saved,
                          const Matrix& d_out, const Matrix& d_q, const Matrix& d_k,
                          const Matrix& d_v) override {
    const StepRecorder::Span span(recorder_, Activity::attention);
    kernels_->attention_backward(shape, q, k, v, out, saved, d_out, d_q, d_k, d_v);
  }
  void swiglu_forward(const Matrix& x, const Matrix& y) override {
    const StepRecorder::Span span(recorder_, Activity::elementwise);
    kernels_->swiglu_forward(x, y);
  }
  void swiglu_backward(const Matrix& x, const Matrix& d_y, const Matrix& d_x) override {
    const StepRecorder::Span span(recorder_, Activity::elementwise);
    kernels_->swiglu_backward(x, d_y, d_x);
  }
  void gelu_forward(const Matrix& x, const Matrix& y) override {
    const StepRecorder::Span span(recorder_, Activity::elementwise);
    kernels_->gelu_forward(x, y);
  }
  void gelu_backward(const Matrix& x, const Matrix& d_y, const Matrix& d_x) override {
    const StepRecorder::Span span(recorder_, Activity::elementwise);
    kernels_->gelu_backward(x, d_y, d_x);
  }
  void embedding_forward(const Matrix& tokens, const Matrix& table, std::int64_t first_row,
                         const Matrix& out) override {
    const StepRecorder::Span span(recorder_, Activity::elementwise);
    kernels_->embedding_forward(tokens, table, first_row, out);
  }
  void embedding_backward(const Matrix& tokens, const Matrix& d_out, std::int64_t first_row,
                          const Matrix& d_table) override {
    const StepRecorder::Span span(recorder_, Activity::elementwise);
    kernels_->embedding_backward(tokens, d_out, first_row, d_table);
  }
  void add_positions(const Matrix& x, const Matrix& table, std::int64_t first_token,
                     std::int64_t seq_length) override {
    const StepRecorder::Span span(recorder_, Activity::elementwise);
    kernels_->add_positions(x, table, first_token, seq_length);
  }
  void positions_backward(const Matrix& d_x, std::int64_t first_token, std::int64_t seq_length,
                          const Matrix& d_table) override {
    const StepRecorder::Span span(recorder_, Activity::elementwise);
    kernels_->positions_backward(d_x, first_token, seq_length, d_table);
  }
  void cross_entropy_statistics(const Matrix& logits, const Matrix& targets, std::int64_t first_col,
                                std::int64_t valid_cols, const Matrix& statistics) override {
    const StepRecorder::Span span(recorder_, Activity::elementwise);
    kernels_->cross_entropy_statistics(logits, targets, first_col, valid_cols, statistics);
  }
  void cross_entropy_combine(const Matrix& statistics, std::int64_t parts,
                             const Matrix& log_sum_exp, const Matrix& loss_sum) override {
    const StepRecorder::Span span(recorder_, Activity::elementwise);
    kernels_->cross_entropy_combine(statistics, parts, log_sum_exp, loss_sum);
  }
  void cross_entropy_backward(const Matrix& logits, const Matrix& targets, std::int64_t first_col,
                              std::int64_t valid_cols, const Matrix& log_sum_exp,
                              float scale) override {
    const StepRecorder::Span span(recorder_, Activity::elementwise);
    kernels_->cross_entropy_backward(logits, targets, first_col, valid_cols, log_sum_exp, scale);
  }
  void add(const Matrix& a, const Matrix& b, const Matrix& out) override {
    const StepRecorder::Span span(recorder_, Activity::elementwise);
    kernels_->add(a, b, out);
  }
  void copy(const Matrix& in, const Matrix& out) override {
    const StepRecorder::Span span(recorder_, Activity::elementwise);
    kernels_->copy(in, out);
  }
  void fill(const Matrix& x, float value) override {
    const StepRecorder::Span span(recorder_, Activity::elementwise);
    kernels_->fill(x, value);
  }
  void scale(const Matrix& x, float factor) override {
    const StepRecorder::Span span(recorder_, Activity::elementwise);
    kernels_->scale(x, factor);
  }
  void sum_of_squares(std::span<const Matrix> matrices, const Matrix& sum) override {
    const StepRecorder::Span span(recorder_, Activity::optimizer);
    kernels_->sum_of_squares(matrices, sum);
  }
  void adamw(const AdamW& step, std::span<const OptimizerPiece> pieces) override {
    const StepRecorder::Span span(recorder_, Activity::optimizer);
    kernels_->adamw(step, pieces);
  }
  void sgd(const Sgd& step, std::span<const OptimizerPiece> pieces) override {
    const StepRecorder::Span span(recorder_, Activity::optimizer);
    kernels_->sgd(step, pieces);
  }
  void fp8_scales(const Matrix& x, DType format, const Matrix& scales) override {
    const StepRecorder::Span span(recorder_, Activity::elementwise);
    kernels_->fp8_scales(x, format, scales);
  }
  void cast_to_fp8(const Matrix& x, const Fp8Cast& cast, const Fp8Codes& codes) override {
    const StepRecorder::Span span(recorder_, Activity::elementwise);
    kernels_->cast_to_fp8(x, cast, codes);
  }
  bool sums_fp8_along_rows() const override { return kernels_->sums_fp8_along_rows(); }

 private:
  std::unique_ptr<Kernels> kernels_;
  StepRecorder& recorder_;
};

}  // namespace

std::unique_ptr<Kernels> measured(std::unique_ptr<Kernels> kernels, StepRecorder& recorder) {
  return std::make_unique<MeasuredKernels>(std::move(kernels), recorder);
}

}  // namespace kumihimo
