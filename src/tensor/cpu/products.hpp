#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <optional>
#include <unordered_map>
#include <vector>

#include "tensor/cpu/team.hpp"
#include "tensor/kernels.hpp"

namespace kumihimo::cpu {

/// What one bf16 product needs to be known of in advance. Strides are of rows, in elements.
struct ProductShape {
  std::int64_t rows = 0, cols = 0, depth = 0;
  std::int64_t stride_a = 0, stride_b = 0, stride_c = 0;
  Transpose transpose_a = Transpose::no, transpose_b = Transpose::no;
  Accumulate accumulate = Accumulate::no;
  DType dtype_c = DType::fp32;
  bool scaled = false;  ///< by an alpha that is given with each product

  bool operator==(const ProductShape&) const = default;
};

/// Products on the calling thread, by oneDNN: what one thread of a team uses. fp32 goes to its
/// sgemm, bf16 to its matmul primitive, of which one is kept for each shape; where the CPU has
/// none, to its sgemm as well.
///
/// oneDNN's own threads are never used: it cuts sums differently for different numbers of threads.
class SerialProducts {
 public:
  SerialProducts();
  ~SerialProducts();
  SerialProducts(SerialProducts&&) noexcept;

  /// c = alpha op(a) op(b) (+ c). a and b: both fp32 with c fp32, or both bf16 with c fp32 or bf16.
  void multiply(const Matrix& a, Transpose transpose_a, const Matrix& b, Transpose transpose_b,
                const Matrix& c, Accumulate accumulate, float alpha = 1);

 private:
  struct Primitive;
  struct HashShape {
    std::size_t operator()(const ProductShape& shape) const;
  };

  Primitive& primitive_for(const ProductShape& shape);

  dnnl::engine engine_;
  dnnl::stream stream_;
  std::unordered_map<ProductShape, std::unique_ptr<Primitive>, HashShape> primitives_;
  dnnl::memory scratch_;  ///< as large as the largest primitive wants
  bool makes_bf16_;       ///< oneDNN has no bf16 product at all without AVX-512
  std::vector<float> wide_a_, wide_b_, wide_c_;  ///< fp32 copies, where it has none
  Team alone_{1};
};

/// Products of a rank. A product is cut into pieces that follow from its shape alone.
class Products {
 public:
  Products(Workspace& workspace, const Team& team);

  /// As Kernels::matmul, with no epilogue but alpha.
  void multiply(const Matrix& a, Transpose transpose_a, const Matrix& b, Transpose transpose_b,
                const Matrix& c, Accumulate accumulate, float alpha);

  /// Of a thread of the team, for use inside its loops.
  SerialProducts& of_thread(int thread) { return serial_[static_cast<std::size_t>(thread)]; }

 private:
  Workspace& workspace_;
  const Team& team_;
  std::vector<SerialProducts> serial_;
  bool bf16_in_hardware_;
};

/// Whether oneDNN has, and may use, instructions for products of bf16. Without them it is slower in
/// bf16 than in fp32.
bool multiplies_bf16_in_hardware();

}  // namespace kumihimo::cpu
