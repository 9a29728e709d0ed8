#include "base/check.hpp"
#include "tensor/reference/element.hpp"
#include "tensor/reference/reference_kernels.hpp"

namespace kumihimo::reference {

void ReferenceKernels::embedding_forward(const Matrix& tokens, const Matrix& table,
                                         std::int64_t first_row, const Matrix& out) {
  KUMIHIMO_CHECK(tokens.rows == out.rows && table.cols == out.cols);
  for (std::int64_t token = 0; token < out.rows; ++token) {
    const std::int64_t row = read_index(tokens, token) - first_row;
    const bool here = row >= 0 && row < table.rows;
    for (std::int64_t col = 0; col < out.cols; ++col) {
      write(out, token, col, here ? read(table, row, col) : 0);
    }
  }
}

void ReferenceKernels::embedding_backward(const Matrix& tokens, const Matrix& d_out,
                                          std::int64_t first_row, const Matrix& d_table) {
  KUMIHIMO_CHECK(tokens.rows == d_out.rows && d_table.cols == d_out.cols);
  KUMIHIMO_CHECK(d_table.dtype == DType::fp32);
  for (std::int64_t token = 0; token < d_out.rows; ++token) {
    const std::int64_t row = read_index(tokens, token) - first_row;
    if (row < 0 || row >= d_table.rows) continue;
    for (std::int64_t col = 0; col < d_out.cols; ++col) {
      add_to(d_table, row, col, read(d_out, token, col));
    }
  }
}

void ReferenceKernels::add_positions(const Matrix& x, const Matrix& table, std::int64_t first_token,
                                     std::int64_t seq_length) {
  KUMIHIMO_CHECK(x.cols == table.cols && seq_length <= table.rows);
  for (std::int64_t token = 0; token < x.rows; ++token) {
    const std::int64_t position = (first_token + token) % seq_length;
    for (std::int64_t col = 0; col < x.cols; ++col) {
      add_to(x, token, col, read(table, position, col));
    }
  }
}

void ReferenceKernels::positions_backward(const Matrix& d_x, std::int64_t first_token,
                                          std::int64_t seq_length, const Matrix& d_table) {
  KUMIHIMO_CHECK(d_x.cols == d_table.cols && seq_length <= d_table.rows);
  KUMIHIMO_CHECK(d_table.dtype == DType::fp32);
  for (std::int64_t token = 0; token < d_x.rows; ++token) {
    const std::int64_t position = (first_token + token) % seq_length;
    for (std::int64_t col = 0; col < d_x.cols; ++col) {
      add_to(d_table, position, col, read(d_x, token, col));
    }
  }
}

}  // namespace kumihimo::reference
