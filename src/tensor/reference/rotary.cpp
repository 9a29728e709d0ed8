#include "base/check.hpp"
#include "tensor/reference/element.hpp"
#include "tensor/reference/reference_kernels.hpp"

namespace kumihimo::reference {

void ReferenceKernels::rotate(const Matrix& x, std::int64_t heads, std::int64_t head_dim,
                              std::int64_t seq_length, const Matrix& table, bool inverse) {
  KUMIHIMO_CHECK(head_dim % 2 == 0 && heads * head_dim <= x.cols);
  KUMIHIMO_CHECK(table.cols == head_dim && seq_length <= table.rows);
  const std::int64_t half = head_dim / 2;

  for (std::int64_t token = 0; token < x.rows; ++token) {
    const std::int64_t position = token % seq_length;
    for (std::int64_t head = 0; head < heads; ++head) {
      for (std::int64_t i = 0; i < half; ++i) {
        const std::int64_t first = head * head_dim + i;
        const std::int64_t second = first + half;
        const double cosine = read(table, position, i);
        const double sine = read(table, position, half + i) * (inverse ? -1 : 1);
        const double a = read(x, token, first);
        const double b = read(x, token, second);
        write(x, token, first, a * cosine - b * sine);
        write(x, token, second, b * cosine + a * sine);
      }
    }
  }
}

}  // namespace kumihimo::reference
