#include "tensor/cpu/products.hpp"

#include <algorithm>
#include <array>
#include <oneapi/dnnl/dnnl.h>
#include <stdexcept>
#include <string>

#include "base/check.hpp"
#include "tensor/cpu/elements.hpp"

namespace kumihimo::cpu {
namespace {

using dnnl::memory;

bool transposed(Transpose transpose) { return transpose == Transpose::yes; }

/// rows x cols of op(matrix), where the stored matrix has rows `stride` apart.
memory::desc desc_of(std::int64_t rows, std::int64_t cols, std::int64_t stride, Transpose transpose,
                     DType dtype) {
  const auto type = dtype == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
  const memory::dims strides =
      transposed(transpose) ? memory::dims{1, stride} : memory::dims{stride, 1};
  return {memory::dims{rows, cols}, type, strides};
}

void check(dnnl_status_t status, const char* call) {
  if (status != dnnl_success) {
    throw std::runtime_error(std::string("oneDNN: ") + call + " failed with status " +
                             std::to_string(status));
  }
}

bool may_use(dnnl::cpu_isa wanted) {
  const auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  return (isa & static_cast<unsigned>(wanted)) == static_cast<unsigned>(wanted);
}

/// rows x cols of fp32 in `room`, which grows as needed.
Matrix fp32_in(std::vector<float>& room, std::int64_t rows, std::int64_t cols) {
  room.resize(std::max(room.size(), static_cast<std::size_t>(rows * cols)));
  return matrix_at(room.data(), rows, cols, DType::fp32);
}

}  // namespace

bool multiplies_bf16_in_hardware() { return may_use(dnnl::cpu_isa::avx512_core_bf16); }

struct SerialProducts::Primitive {
  dnnl::matmul product;
  memory a, b, c, scratch, alpha;
  float alpha_value = 1;
};

std::size_t SerialProducts::HashShape::operator()(const ProductShape& shape) const {
  const std::array<std::int64_t, 7> parts{
      shape.rows,
      shape.cols,
      shape.depth,
      shape.stride_a,
      shape.stride_b,
      shape.stride_c,
      static_cast<std::int64_t>(shape.transpose_a) + 2 * static_cast<int>(shape.transpose_b) +
          4 * static_cast<int>(shape.accumulate) + 8 * static_cast<int>(shape.dtype_c) +
          64 * static_cast<int>(shape.scaled)};
  std::size_t hash = 0;
  for (const std::int64_t part : parts) {
    hash = (hash ^ static_cast<std::size_t>(part)) * 0x9e37'79b9'7f4a'7c15u;
    hash ^= hash >> 29;
  }
  return hash;
}

SerialProducts::SerialProducts()
    : engine_(dnnl::engine::kind::cpu, 0),
      stream_(engine_),
      makes_bf16_(may_use(dnnl::cpu_isa::avx512_core)) {}
SerialProducts::~SerialProducts() = default;
SerialProducts::SerialProducts(SerialProducts&&) noexcept = default;

SerialProducts::Primitive& SerialProducts::primitive_for(const ProductShape& shape) {
  std::unique_ptr<Primitive>& kept = primitives_[shape];
  if (kept != nullptr) return *kept;

  const memory::desc a =
      desc_of(shape.rows, shape.depth, shape.stride_a, shape.transpose_a, DType::bf16);
  const memory::desc b =
      desc_of(shape.depth, shape.cols, shape.stride_b, shape.transpose_b, DType::bf16);
  const memory::desc c =
      desc_of(shape.rows, shape.cols, shape.stride_c, Transpose::no, shape.dtype_c);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (shape.scaled) attributes.set_output_scales(0, {DNNL_RUNTIME_F32_VAL});
  if (shape.accumulate == Accumulate::yes) {
    dnnl::post_ops after;
    after.append_sum(1);
    attributes.set_post_ops(after);
  }
  const dnnl::matmul::primitive_desc desc({a, b, c}, attributes, engine_);

  auto primitive = std::make_unique<Primitive>();
  primitive->product = dnnl::matmul(desc);
  primitive->a = memory(a, engine_, nullptr);
  primitive->b = memory(b, engine_, nullptr);
  primitive->c = memory(c, engine_, nullptr);
  if (!scratch_ || scratch_.get_desc().get_size() < desc.scratchpad_desc().get_size()) {
    scratch_ = memory(desc.scratchpad_desc(), engine_);
  }
  primitive->scratch = memory(desc.scratchpad_desc(), engine_, nullptr);
  primitive->alpha = memory({{1}, memory::data_type::f32, memory::format_tag::x}, engine_,
                            &primitive->alpha_value);
  kept = std::move(primitive);
  return *kept;
}

void SerialProducts::multiply(const Matrix& a, Transpose transpose_a, const Matrix& b,
                              Transpose transpose_b, const Matrix& c, Accumulate accumulate,
                              float alpha) {
  const std::int64_t depth = transposed(transpose_a) ? a.rows : a.cols;
  if (a.dtype == DType::fp32) {
    const char letter_a = transposed(transpose_a) ? 'T' : 'N';
    const char letter_b = transposed(transpose_b) ? 'T' : 'N';
    const float beta = accumulate == Accumulate::yes ? 1.0f : 0.0f;
    check(dnnl_sgemm(letter_a, letter_b, c.rows, c.cols, depth, alpha,
                     static_cast<const float*>(a.data), a.stride, static_cast<const float*>(b.data),
                     b.stride, beta, static_cast<float*>(c.data), c.stride),
          "dnnl_sgemm");
    return;
  }

  if (!makes_bf16_) {
    const Matrix wide_a = fp32_in(wide_a_, a.rows, a.cols),
                 wide_b = fp32_in(wide_b_, b.rows, b.cols);
    widen(alone_, a, wide_a);
    widen(alone_, b, wide_b);
    if (c.dtype == DType::fp32) {
      multiply(wide_a, transpose_a, wide_b, transpose_b, c, accumulate, alpha);
      return;
    }
    const Matrix wide_c = fp32_in(wide_c_, c.rows, c.cols);
    multiply(wide_a, transpose_a, wide_b, transpose_b, wide_c, accumulate, alpha);
    copy(alone_, wide_c, c);
    return;
  }

  Primitive& primitive = primitive_for({c.rows, c.cols, depth, a.stride, b.stride, c.stride,
                                        transpose_a, transpose_b, accumulate, c.dtype, alpha != 1});
  primitive.a.set_data_handle(a.data);
  primitive.b.set_data_handle(b.data);
  primitive.c.set_data_handle(c.data);
  primitive.scratch.set_data_handle(scratch_.get_data_handle());
  primitive.alpha_value = alpha;
  // The C interface takes a plain array; the C++ one would allocate a map for every product.
  const std::array<dnnl_exec_arg_t, 5> arguments{{
      {DNNL_ARG_SRC, primitive.a.get()},
      {DNNL_ARG_WEIGHTS, primitive.b.get()},
      {DNNL_ARG_DST, primitive.c.get()},
      {DNNL_ARG_SCRATCHPAD, primitive.scratch.get()},
      {DNNL_ARG_ATTR_OUTPUT_SCALES, primitive.alpha.get()},
  }};
  check(dnnl_primitive_execute(primitive.product.get(), stream_.get(), alpha != 1 ? 5 : 4,
                               arguments.data()),
        "matmul");
}

namespace {

/// Cuts of one side of a product. Few and large, since each piece packs its operands anew: 512 rows
/// cost about 1 % of the rate, 128 about 8 %. An even number, to be shared by two threads.
std::int64_t pieces_of(std::int64_t extent, std::int64_t largest) {
  const std::int64_t pieces = (extent + largest - 1) / largest;
  return pieces == 1 ? 1 : (pieces + 1) / 2 * 2;
}

struct Pieces {
  std::int64_t rows, cols;  ///< of one piece; the last of a side may be smaller
};

Pieces pieces_of(std::int64_t rows, std::int64_t cols, std::int64_t depth) {
  constexpr std::int64_t most_rows = 512, most_cols = 1024;
  constexpr std::int64_t row_unit = 16, col_unit = 64;
  constexpr std::int64_t worth_a_cut = 2 * 1024 * 1024;  // multiplications: some ten microseconds
  std::int64_t row_pieces = pieces_of(rows, most_rows);
  std::int64_t col_pieces = pieces_of(cols, most_cols);
  if (row_pieces * col_pieces == 1 && rows * cols * depth >= worth_a_cut) {
    (rows >= cols ? row_pieces : col_pieces) = 2;
  }
  const auto size = [](std::int64_t extent, std::int64_t pieces, std::int64_t unit) {
    return (extent + pieces * unit - 1) / (pieces * unit) * unit;
  };
  return {size(rows, row_pieces, row_unit), size(cols, col_pieces, col_unit)};
}

}  // namespace

Products::Products(Workspace& workspace, const Team& team)
    : workspace_(workspace), team_(team), bf16_in_hardware_(multiplies_bf16_in_hardware()) {
  serial_.reserve(static_cast<std::size_t>(team.threads()));
  for (int thread = 0; thread < team.threads(); ++thread) serial_.emplace_back();
}

void Products::multiply(const Matrix& a, Transpose transpose_a, const Matrix& b,
                        Transpose transpose_b, const Matrix& c, Accumulate accumulate,
                        float alpha) {
  const std::int64_t depth = transposed(transpose_a) ? a.rows : a.cols;
  KUMIHIMO_CHECK(c.rows == (transposed(transpose_a) ? a.cols : a.rows));
  KUMIHIMO_CHECK(c.cols == (transposed(transpose_b) ? b.rows : b.cols));
  KUMIHIMO_CHECK(depth == (transposed(transpose_b) ? b.cols : b.rows));
  KUMIHIMO_CHECK(a.dtype == b.dtype || (is_fp8(a.dtype) && is_fp8(b.dtype)));
  KUMIHIMO_CHECK(accumulate == Accumulate::no || c.dtype == DType::fp32);
  if (c.elements() == 0) return;
  if (depth == 0) {
    if (accumulate == Accumulate::no) fill(team_, c, 0);
    return;
  }

  const Workspace::Scope scope(workspace_);
  // fp8 is exact in bf16, and bf16 in fp32.
  const auto widened = [&](const Matrix& narrow, DType dtype) {
    const Matrix wide = workspace_.take(narrow.rows, narrow.cols, dtype);
    widen(team_, narrow, wide);
    return wide;
  };
  if (is_fp8(a.dtype)) {
    multiply(widened(a, DType::bf16), transpose_a, widened(b, DType::bf16), transpose_b, c,
             accumulate, alpha);
    return;
  }
  if (a.dtype == DType::bf16 && !bf16_in_hardware_) {
    multiply(widened(a, DType::fp32), transpose_a, widened(b, DType::fp32), transpose_b, c,
             accumulate, alpha);
    return;
  }
  if (a.dtype == DType::fp32 && c.dtype == DType::bf16) {
    const Matrix wide = workspace_.take(c.rows, c.cols, DType::fp32);
    multiply(a, transpose_a, b, transpose_b, wide, accumulate, alpha);
    copy(team_, wide, c);
    return;
  }

  const Pieces size = pieces_of(c.rows, c.cols, depth);
  const std::int64_t row_pieces = (c.rows + size.rows - 1) / size.rows;
  const std::int64_t col_pieces = (c.cols + size.cols - 1) / size.cols;
  const OneThread one_thread;
  team_.for_each(row_pieces * col_pieces, [&](std::int64_t piece, int thread) {
    const std::int64_t row = piece / col_pieces * size.rows;
    const std::int64_t col = piece % col_pieces * size.cols;
    const std::int64_t rows = std::min(size.rows, c.rows - row);
    const std::int64_t cols = std::min(size.cols, c.cols - col);
    const Matrix part_of_a =
        transposed(transpose_a) ? cols_of(a, row, rows) : rows_of(a, row, rows);
    const Matrix part_of_b =
        transposed(transpose_b) ? rows_of(b, col, cols) : cols_of(b, col, cols);
    of_thread(thread).multiply(part_of_a, transpose_a, part_of_b, transpose_b,
                               cols_of(rows_of(c, row, rows), col, cols), accumulate, alpha);
  });
}

}  // namespace kumihimo::cpu
