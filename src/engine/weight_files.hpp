#pragma once

#include <filesystem>

#include "base/error.hpp"
#include "engine/tensor_files.hpp"
#include "engine/trainer.hpp"

namespace kumihimo {

/// Judges weights before any rank starts: `folder` holds model.safetensors, or the files that
/// model.safetensors.index.json names, as Hugging Face's transformers writes them, in F32, BF16 or
/// F16; a saved state is such a folder. An Error for each tensor that is missing, of another shape
/// or dtype, or not the model's. Ignored: lm_head.weight where the head is the embedding, and the
/// constants that old files hold (rotary frequencies, GPT-2's masks). The names of GPT-2 may lack
/// "transformer.".
Expected<TensorFiles> inspect_weights(const std::filesystem::path& folder,
                                      const TrainingOptions& options);

/// Sets the weights (and with them the optimizer's fp32 copy) from files that inspect_weights has
/// found good for the trainer's options. Called by all ranks, before the first step. Throws
/// std::system_error.
void load_weights(Trainer& trainer, const TensorFiles& files);

}  // namespace kumihimo
