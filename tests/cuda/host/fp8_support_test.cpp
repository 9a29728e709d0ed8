#include "tensor/cuda/fp8_support.hpp"

#include <gtest/gtest.h>
#include <utility>

namespace kumihimo::cuda {
namespace {

TEST(Fp8Support, FromAdaOn) {
  EXPECT_FALSE(has_fp8_products(8, 0));
  EXPECT_FALSE(has_fp8_products(8, 6));
  for (const auto& [major, minor] : {std::pair{8, 9}, {9, 0}, {10, 0}, {10, 3}, {12, 0}}) {
    EXPECT_TRUE(has_fp8_products(major, minor)) << major << "." << minor;
  }
}

TEST(Fp8Support, OnlyTheBlackwellOfDataCentresTakesAnyOrder) {
  for (const auto& [major, minor] : {std::pair{8, 9}, {9, 0}, {12, 0}, {12, 1}}) {
    EXPECT_TRUE(sums_fp8_along_rows(major, minor)) << major << "." << minor;
  }
  for (const auto& [major, minor] : {std::pair{8, 0}, {10, 0}, {10, 3}, {11, 0}}) {
    EXPECT_FALSE(sums_fp8_along_rows(major, minor)) << major << "." << minor;
  }
}

TEST(Fp8Support, TwoOfE5m2HaveNoProduct) {
  EXPECT_TRUE(has_fp8_product_of(DType::fp8_e4m3, DType::fp8_e4m3));
  EXPECT_TRUE(has_fp8_product_of(DType::fp8_e5m2, DType::fp8_e4m3));
  EXPECT_TRUE(has_fp8_product_of(DType::fp8_e4m3, DType::fp8_e5m2));
  EXPECT_FALSE(has_fp8_product_of(DType::fp8_e5m2, DType::fp8_e5m2));
}

TEST(Fp8Support, SumsOfForwardPassesAloneAreFast) {
  EXPECT_TRUE(sums_fp8_fast(DType::fp8_e4m3, DType::fp8_e4m3));
  EXPECT_FALSE(sums_fp8_fast(DType::fp8_e5m2, DType::fp8_e4m3));
  EXPECT_FALSE(sums_fp8_fast(DType::fp8_e4m3, DType::fp8_e5m2));
}

}  // namespace
}  // namespace kumihimo::cuda
