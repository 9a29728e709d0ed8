#pragma once

#include <cstdint>

#include "model/transformer.hpp"

namespace kumihimo {

/// Parameters on one tensor-parallel rank; exact. Matrices are split over tp, norms and the biases
/// of row-parallel products are replicated; key/value heads are replicated when tp exceeds them.
std::int64_t layer_parameters(const TransformerShape& shape, int tensor_parallel);

/// Embedding table. `vocab` is padded to a multiple of tp, here and below.
std::int64_t table_parameters(const TransformerShape& shape, std::int64_t vocab,
                              int tensor_parallel);

/// Embedding table and learned positions, which are replicated.
std::int64_t embedding_parameters(const TransformerShape& shape, std::int64_t vocab,
                                  int tensor_parallel);

/// Final norm and head matrix. With tied embeddings the last stage holds a copy of the table
/// unless it is also the first one.
std::int64_t head_parameters(const TransformerShape& shape, std::int64_t vocab, int tensor_parallel,
                             bool shares_embedding_here);

}  // namespace kumihimo
