// Question: do matrix products, called as a training step calls them, run at oneDNN's own rate at
// the shapes of a step?
//
// For each shape, oneDNN and `Kernels::matmul` multiply in turn on one thread, many rounds; printed
// are both medians and the median of the rounds' ratios, so that a noisy machine slows both alike.
// oneDNN's own: dnnl_sgemm in fp32, a matmul primitive on plain row-major memory in bf16.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <omp.h>
#include <oneapi/dnnl/dnnl.hpp>
#include <random>
#include <string>
#include <vector>

#include "tensor/kernels.hpp"

namespace kumihimo {
namespace {

constexpr int rounds = 15;
constexpr double seconds_a_round = 0.03;

/// c [rows, cols] = op(a) op(b), added to c where it is a gradient of weights.
struct Product {
  std::string name;
  std::int64_t rows = 0, cols = 0, depth = 0;
  Transpose transpose_a = Transpose::no, transpose_b = Transpose::no;
  bool gradient_of_weights = false;

  double flop() const { return 2.0 * static_cast<double>(rows * cols * depth); }
};

/// What a linear layer [out, in] multiplies for a batch of tokens.
std::vector<Product> products_of(const std::string& name, std::int64_t tokens, std::int64_t in,
                                 std::int64_t out) {
  return {{name + " forward", tokens, out, in, Transpose::no, Transpose::yes},
          {name + " d input", tokens, in, out},
          {name + " d weight", out, in, tokens, Transpose::yes, Transpose::no, true}};
}

struct Operands {
  Operands(const Product& product, DType dtype_)
      : dtype(dtype_),
        c_dtype(product.gradient_of_weights ? DType::fp32 : dtype_),
        a(bytes(product.rows * product.depth, dtype)),
        b(bytes(product.depth * product.cols, dtype)),
        c(bytes(product.rows * product.cols, c_dtype)) {
    fill(a);
    fill(b);
  }

  Matrix matrix_a(const Product& p) { return matrix(a, p.rows, p.depth, p.transpose_a, dtype); }
  Matrix matrix_b(const Product& p) { return matrix(b, p.depth, p.cols, p.transpose_b, dtype); }
  Matrix matrix_c(const Product& p) { return matrix(c, p.rows, p.cols, Transpose::no, c_dtype); }

  DType dtype, c_dtype;
  std::vector<std::byte> a, b, c;

 private:
  static std::size_t bytes(std::int64_t elements, DType dtype) {
    return static_cast<std::size_t>(elements * bytes_of(dtype));
  }
  static Matrix matrix(std::vector<std::byte>& values, std::int64_t rows, std::int64_t cols,
                       Transpose transpose, DType dtype) {
    if (transpose == Transpose::yes) std::swap(rows, cols);
    return matrix_at(values.data(), rows, cols, dtype);
  }
  void fill(std::vector<std::byte>& values) const {
    std::mt19937 random(1);
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (std::size_t i = 0; i + 4 <= values.size(); i += 4) {
      std::uint32_t bits = 0;
      const float value = uniform(random);
      std::memcpy(&bits, &value, 4);
      if (dtype == DType::bf16) bits = (bits & 0xffff0000u) | (bits >> 16);
      std::memcpy(&values[i], &bits, 4);
    }
  }
};

std::function<void()> by_onednn(const Product& p, Operands& operands) {
  if (operands.dtype == DType::fp32) {
    return [&p, &operands] {
      const bool ta = p.transpose_a == Transpose::yes, tb = p.transpose_b == Transpose::yes;
      dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', p.rows, p.cols, p.depth, 1,
                 reinterpret_cast<float*>(operands.a.data()), ta ? p.rows : p.depth,
                 reinterpret_cast<float*>(operands.b.data()), tb ? p.depth : p.cols,
                 p.gradient_of_weights ? 1 : 0, reinterpret_cast<float*>(operands.c.data()),
                 p.cols);
    };
  }
  using dnnl::memory;
  const auto description = [](std::int64_t rows, std::int64_t cols, bool transposed, DType dtype) {
    return memory::desc({rows, cols},
                        dtype == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32,
                        transposed ? memory::dims{1, rows} : memory::dims{cols, 1});
  };
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  const auto a = description(p.rows, p.depth, p.transpose_a == Transpose::yes, operands.dtype);
  const auto b = description(p.depth, p.cols, p.transpose_b == Transpose::yes, operands.dtype);
  const auto c = description(p.rows, p.cols, false, operands.c_dtype);
  dnnl::primitive_attr attributes;
  if (p.gradient_of_weights) {
    dnnl::post_ops sum;
    sum.append_sum();
    attributes.set_post_ops(sum);
  }
  const dnnl::matmul matmul(
      dnnl::matmul::primitive_desc(dnnl::matmul::desc(a, b, c), attributes, engine));
  const memory memory_a(a, engine, operands.a.data()), memory_b(b, engine, operands.b.data());
  const memory memory_c(c, engine, operands.c.data());
  dnnl::stream stream(engine);
  return [=]() mutable {
    matmul.execute(
        stream, {{DNNL_ARG_SRC, memory_a}, {DNNL_ARG_WEIGHTS, memory_b}, {DNNL_ARG_DST, memory_c}});
    stream.wait();
  };
}

double seconds_of(const std::function<void()>& work, int repeats) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < repeats; ++i) work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / repeats;
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

/// Returns the seconds of oneDNN and of the back end.
std::pair<double, double> compare(Kernels& kernels, Workspace& workspace, const Product& p,
                                  DType dtype) {
  Operands operands(p, dtype);
  const std::function<void()> theirs = by_onednn(p, operands);
  const std::function<void()> ours = [&] {
    kernels.matmul(operands.matrix_a(p), p.transpose_a, operands.matrix_b(p), p.transpose_b,
                   operands.matrix_c(p), p.gradient_of_weights ? Accumulate::yes : Accumulate::no);
  };
  theirs();
  ours();
  workspace.settle();
  const int repeats = std::max(1, static_cast<int>(seconds_a_round / seconds_of(theirs, 1)));
  std::vector<double> their_times, our_times, ratios;
  for (int round = 0; round < rounds; ++round) {
    their_times.push_back(seconds_of(theirs, repeats));
    our_times.push_back(seconds_of(ours, repeats));
    ratios.push_back(their_times.back() / our_times.back());
  }
  std::printf("  %-5s %-20s %5ld x %5ld x %5ld %9.1f %9.1f   %.2f\n",
              dtype == DType::bf16 ? "bf16" : "fp32", p.name.c_str(), static_cast<long>(p.rows),
              static_cast<long>(p.cols), static_cast<long>(p.depth),
              p.flop() / median(their_times) / 1e9, p.flop() / median(our_times) / 1e9,
              median(ratios));
  return {median(their_times), median(our_times)};
}

int run() {
  DeviceMemory memory(make_host_memory());
  Workspace workspace(memory);
  Expected<std::unique_ptr<Kernels>> kernels = make_cpu_kernels(workspace, 1);
  if (!kernels) {
    std::printf("bench_products: %s\n", to_string(kernels.errors()).c_str());
    return 0;
  }
  omp_set_num_threads(1);
  std::printf("%s\n", (*kernels)->description().c_str());
  struct Model {
    std::int64_t hidden, ffn, vocab, tokens;
  };
  for (const Model& m :
       {Model{256, 688, 1024, 1024}, {512, 1376, 1024, 2048}, {768, 2048, 1024, 1024}}) {
    std::printf("hidden %ld, %ld tokens                     GFLOP/s: oneDNN  Kumihimo  ratio\n",
                static_cast<long>(m.hidden), static_cast<long>(m.tokens));
    for (const DType dtype : {DType::fp32, DType::bf16}) {
      double theirs = 0, ours = 0;
      for (const auto& linear : {products_of("qkv", m.tokens, m.hidden, 3 * m.hidden),
                                 products_of("attention out", m.tokens, m.hidden, m.hidden),
                                 products_of("gate and up", m.tokens, m.hidden, 2 * m.ffn),
                                 products_of("down", m.tokens, m.ffn, m.hidden),
                                 products_of("head", m.tokens, m.hidden, m.vocab)}) {
        for (const Product& product : linear) {
          const auto [their_time, our_time] = compare(**kernels, workspace, product, dtype);
          theirs += their_time;
          ours += our_time;
        }
      }
      std::printf("  %-5s all of a layer and the head: %.2f of oneDNN's own rate\n",
                  dtype == DType::bf16 ? "bf16" : "fp32", theirs / ours);
    }
  }
  return 0;
}

}  // namespace
}  // namespace kumihimo

int main() { return kumihimo::run(); }
