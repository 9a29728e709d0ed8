#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.hpp"
#include "data/stored_tokens.hpp"

namespace kumihimo {

/// What the .idx file of a Megatron-LM corpus says of its .bin file.
struct MegatronIndex {
  StoredTokens stored;  ///< all documents, one after the other
  std::int64_t documents = 0;
};

/// Reads an index: magic "MMIDIDX\0\0", uint64 version 1, uint8 code of the type, uint64 number of
/// sequences, uint64 number of document bounds (documents + 1); for every sequence its length in
/// tokens (int32), then for every one its first byte in the .bin (int64); the document bounds as
/// numbers of sequences (int64), from 0 to all of them.
/// `index`: all bytes of the file. `data_bytes`: length of the .bin. An Error for whatever is not
/// so, for sequences beyond the end of the .bin, and for a .bin with bytes behind the last one.
/// Source: core/datasets/indexed_dataset.py of https://github.com/NVIDIA/Megatron-LM
Expected<MegatronIndex> parse_megatron_index(std::string_view index, std::int64_t data_bytes,
                                             std::string_view where);

}  // namespace kumihimo
