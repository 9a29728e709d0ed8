#include "measure/operations.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fmt/format.h>
#include <functional>
#include <span>

#include "measure/bench_device.hpp"
#include "measure/random_values.hpp"
#include "model/operations.hpp"

namespace kumihimo {
namespace {

using Clock = std::chrono::steady_clock;

/// Seconds of some runs of `work`, after one that is not counted.
std::vector<double> time_runs(BenchDevice& device, const std::function<void()>& work) {
  constexpr double for_s = 0.15;
  constexpr std::size_t least = 5, most = 50;
  work();
  std::vector<double> seconds;
  const auto begin = Clock::now();
  while (seconds.size() < least ||
         (seconds.size() < most &&
          std::chrono::duration<double>(Clock::now() - begin).count() < for_s)) {
    seconds.push_back(device.time(work));
  }
  return seconds;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

/// Collects shares of one parameter.
class Shares {
 public:
  explicit Shares(BenchDevice& device) : device_(device) {}

  /// `ideal_s`: at the machine's full rate.
  void add(double ideal_s, const std::function<void()>& work) {
    for (const double seconds : time_runs(device_, work))
      logs_.push_back(std::log(ideal_s / seconds));
  }
  MeasuredShare finish(std::string key, std::string what) const {
    double mean = 0, square = 0;
    for (const double log : logs_) mean += log / static_cast<double>(logs_.size());
    for (const double log : logs_) square += (log - mean) * (log - mean);
    return {std::move(key), std::move(what), std::exp(median(logs_)),
            std::sqrt(square / std::max<double>(1, static_cast<double>(logs_.size()) - 1)),
            static_cast<int>(logs_.size())};
  }
  bool empty() const { return logs_.empty(); }

 private:
  BenchDevice& device_;
  std::vector<double> logs_;
};

/// One rank's memory and kernels.
class Bench {
 public:
  Bench(const TransformerShape& shape, std::int64_t seq_length, const MachineFigures& figures,
        BenchDevice& device)
      : shape_(shape),
        seq_length_(seq_length),
        figures_(figures),
        device_(device),
        // What each trains in: on a GPU the flash attention of libraries knows nothing else.
        stored_(device.is_gpu() ? DType::bf16 : DType::fp32) {}

  MeasuredShare products(DType dtype) {
    const double peak = dtype == DType::fp32 ? figures_.fp32_flop_per_s : figures_.bf16_flop_per_s;
    Shares shares(device_);
    for (const std::int64_t sequences : {1, 4}) {
      const std::int64_t tokens = sequences * seq_length_;
      const std::int64_t gates = shape_.activation == Activation::swiglu ? 2 : 1;
      const std::int64_t qkv = (shape_.heads + 2 * shape_.kv_heads) * shape_.head_dim;
      for (const auto& [in, out] :
           {std::pair{shape_.hidden, qkv}, std::pair{shape_.heads * shape_.head_dim, shape_.hidden},
            std::pair{shape_.hidden, gates * shape_.ffn_hidden},
            std::pair{shape_.ffn_hidden, shape_.hidden}}) {
        const Workspace::Scope scope(device_.workspace());
        const Matrix x = random(tokens, in, dtype), w = random(out, in, dtype),
                     y = filled(tokens, out, dtype);
        shares.add(2.0 * static_cast<double>(tokens * in * out) / peak, [&] {
          device_.kernels().matmul(x, Transpose::no, w, Transpose::yes, y, Accumulate::no);
        });
      }
    }
    return shares.finish(dtype == DType::fp32 ? "rates.matmul_fp32" : "rates.matmul_16bit",
                         fmt::format("{} products at the model's eight shapes", to_string(dtype)));
  }

  MeasuredShare attention(AttentionKernel kernel, std::string key) {
    Shares shares(device_);
    for (const std::int64_t sequences : {1, 4}) {
      const Workspace::Scope scope(device_.workspace());
      const std::int64_t tokens = sequences * seq_length_;
      const Matrix q = random(tokens, shape_.heads * shape_.head_dim, stored_),
                   k = random(tokens, shape_.kv_heads * shape_.head_dim, stored_),
                   v = random(tokens, shape_.kv_heads * shape_.head_dim, stored_),
                   out = filled(tokens, shape_.heads * shape_.head_dim, stored_);
      AttentionSaved saved;
      if (is_flash(kernel)) {
        saved.log_sum_exp = filled(tokens, shape_.heads, DType::fp32);
      } else {
        saved.probabilities = filled(sequences * shape_.heads * seq_length_, seq_length_, stored_);
      }
      const AttentionShape attention{sequences,       seq_length_,     shape_.heads,
                                     shape_.kv_heads, shape_.head_dim, kernel};
      const Work work = core_work(sequences, kernel);
      shares.add(work.flops / attention_rate(),
                 [&] { device_.kernels().attention_forward(attention, q, k, v, out, saved); });
    }
    return shares.finish(
        std::move(key), fmt::format("{} attention, forward", is_flash(kernel) ? "flash" : "plain"));
  }

  MeasuredShare norm(NormKernel kernel, std::string key) {
    Shares shares(device_);
    for (const std::int64_t sequences : {1, 4}) {
      const Workspace::Scope scope(device_.workspace());
      const std::int64_t tokens = sequences * seq_length_;
      const Matrix x = filled(tokens, shape_.hidden, stored_),
                   y = filled(tokens, shape_.hidden, stored_),
                   weight = filled(1, shape_.hidden, stored_);
      NormSaved saved{.inverse_deviation = filled(tokens, 1, DType::fp32)};
      if (kernel == NormKernel::unfused) {
        saved.widened = filled(tokens, shape_.hidden, DType::fp32);
        saved.normalised = filled(tokens, shape_.hidden, stored_);
      }
      if (shape_.norm == NormKind::layer_norm) saved.mean = filled(tokens, 1, DType::fp32);
      const Matrix bias = shape_.norm_bias ? filled(1, shape_.hidden, stored_) : Matrix{};
      double bytes = 0;
      for (const Operation& operation : operations(sequences, AttentionKernel::flash2, kernel)) {
        if (operation.kind != OperationKind::norm) continue;
        bytes = operation.forward.bytes;
        break;
      }
      shares.add(bytes / figures_.core_bandwidth, [&] {
        device_.kernels().norm_forward({shape_.norm, kernel, shape_.norm_epsilon}, x, weight, bias,
                                       y, saved);
      });
    }
    return shares.finish(std::move(key), kernel == NormKernel::fused ? "fused norm, forward"
                                                                     : "unfused norm, forward");
  }

  MeasuredShare elementwise() {
    Shares shares(device_);
    const bool gated = shape_.activation == Activation::swiglu;
    for (const std::int64_t sequences : {1, 4}) {
      const Workspace::Scope scope(device_.workspace());
      const std::int64_t tokens = sequences * seq_length_;
      const Matrix a = filled(tokens, shape_.hidden, stored_),
                   b = filled(tokens, shape_.hidden, stored_);
      shares.add(3.0 * static_cast<double>(a.bytes()) / figures_.core_bandwidth,
                 [&] { device_.kernels().add(a, b, a); });
      const Matrix up = filled(tokens, (gated ? 2 : 1) * shape_.ffn_hidden, stored_),
                   y = filled(tokens, shape_.ffn_hidden, stored_);
      shares.add(static_cast<double>(up.bytes() + y.bytes()) / figures_.core_bandwidth, [&] {
        gated ? device_.kernels().swiglu_forward(up, y) : device_.kernels().gelu_forward(up, y);
      });
    }
    return shares.finish("rates.elementwise", "residual sums and the activation, forward");
  }

  MeasuredShare optimizer() {
    const Workspace::Scope scope(device_.workspace());
    const std::int64_t numbers =
        std::min<std::int64_t>(4'000'000, shape_.layers * shape_.hidden * shape_.ffn_hidden * 3);
    const Matrix gradient = filled(1, numbers, DType::fp32),
                 master = filled(1, numbers, DType::fp32), m = filled(1, numbers, DType::fp32),
                 v = filled(1, numbers, DType::fp32);
    const OptimizerPiece parameters{.gradient = gradient, .master = master, .m = m, .v = v};
    Shares shares(device_);
    // Four read, three written.
    shares.add(7.0 * static_cast<double>(master.bytes()) / figures_.core_bandwidth, [&] {
      device_.kernels().adamw({.learning_rate = 1e-3f}, std::span(&parameters, 1));
    });
    return shares.finish("rates.optimizer", "AdamW over the parameters");
  }

 private:
  Matrix filled(std::int64_t rows, std::int64_t cols, DType dtype) {
    const Matrix x = device_.workspace().take(rows, cols, dtype);
    device_.kernels().fill(x, 0.01f);
    return x;
  }
  Matrix random(std::int64_t rows, std::int64_t cols, DType dtype) {
    const Matrix x = device_.workspace().take(rows, cols, dtype);
    fill_at_random(device_.kernels(), device_.workspace(), x);
    return x;
  }

  std::vector<Operation> operations(std::int64_t sequences, AttentionKernel attention,
                                    NormKernel norm) const {
    return layer_operations(
        shape_, {.micro_batch_size = sequences,
                 .seq_length = seq_length_,
                 .vocab = shape_.vocab,
                 .attention = attention,
                 .norm = norm,
                 .precision = stored_ == DType::fp32 ? Precision::fp32 : Precision::bf16});
  }

  /// What the planner counts for the attention core, forward.
  Work core_work(std::int64_t sequences, AttentionKernel kernel) const {
    for (const Operation& operation : operations(sequences, kernel, NormKernel::fused)) {
      if (operation.kind == OperationKind::attention) return operation.forward;
    }
    return {};
  }

  double attention_rate() const {
    return stored_ == DType::fp32 ? figures_.fp32_flop_per_s : figures_.bf16_flop_per_s;
  }

  TransformerShape shape_;
  std::int64_t seq_length_;
  MachineFigures figures_;
  BenchDevice& device_;
  DType stored_;
};

}  // namespace

void raise_figures(MachineFigures& figures, std::vector<MeasuredShare>& shares) {
  const auto is_of = [](const MeasuredShare& share, double MachineFigures::*figure) {
    if (figure == &MachineFigures::bf16_flop_per_s) return share.key == "rates.matmul_16bit";
    const bool arithmetic =
        share.key == "rates.matmul_fp32" || share.key.starts_with("rates.attention");
    if (figure == &MachineFigures::fp32_flop_per_s) return arithmetic;
    return !arithmetic && share.key != "rates.matmul_16bit";
  };
  for (double MachineFigures::*figure :
       {&MachineFigures::fp32_flop_per_s, &MachineFigures::bf16_flop_per_s,
        &MachineFigures::core_bandwidth}) {
    double most = 1;
    for (const MeasuredShare& share : shares) {
      if (is_of(share, figure)) most = std::max(most, share.value);
    }
    figures.*figure *= most;
    for (MeasuredShare& share : shares) {
      if (is_of(share, figure)) share.value /= most;
    }
  }
}

std::vector<MeasuredShare> measure_operations(const TransformerShape& shape,
                                              std::int64_t seq_length,
                                              const MachineFigures& figures, Gpu* gpu) {
  BenchDevice device(gpu);
  if (!device.possible()) return {};
  Bench bench(shape, seq_length, figures, device);
  return {bench.products(DType::fp32),
          bench.products(DType::bf16),
          bench.attention(AttentionKernel::flash2, "rates.attention_flash2"),
          bench.norm(NormKernel::unfused, "rates.norm_unfused"),
          bench.norm(NormKernel::fused, "rates.norm_fused"),
          bench.elementwise(),
          bench.optimizer()};
}

}  // namespace kumihimo
