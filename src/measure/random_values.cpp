#include "measure/random_values.hpp"

#include <algorithm>
#include <random>
#include <vector>

#include "base/check.hpp"

namespace kumihimo {
namespace {

/// No multiple of anything, so that rows differ.
constexpr std::int64_t different_numbers = 1'000'003;

}  // namespace

void fill_at_random(Kernels& kernels, Workspace& workspace, const Matrix& x) {
  KUMIHIMO_CHECK(x.contiguous());
  std::vector<float> values(static_cast<std::size_t>(std::min(x.elements(), different_numbers)));
  std::minstd_rand random(1);
  for (float& value : values) {
    value = static_cast<float>(random()) / static_cast<float>(std::minstd_rand::max()) - 0.5f;
  }
  const Workspace::Scope scope(workspace);
  const Matrix all = workspace.take(1, x.elements(), DType::fp32);
  kernels.upload(values.data(), cols_of(all, 0, std::ssize(values)));
  for (std::int64_t done = std::ssize(values); done < all.cols;) {
    const std::int64_t more = std::min(done, all.cols - done);
    kernels.copy(cols_of(all, 0, more), cols_of(all, done, more));
    done += more;
  }
  const Matrix flat = matrix_at(x.data, 1, x.elements(), x.dtype);
  if (x.dtype == DType::fp8_e4m3) {
    const Fp8Cast cast{workspace.take(1, 2, DType::fp32), workspace.take(1, 1, DType::fp32),
                       workspace.take(1, 3, DType::fp64)};
    kernels.fill(cast.scales, 1);
    kernels.fill(cast.maximum, 0);
    kernels.fill(cast.counts, 0);
    kernels.cast_to_fp8(all, cast, {.straight = flat});
  } else {
    kernels.copy(all, flat);
  }
}

}  // namespace kumihimo
