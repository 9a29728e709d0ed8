#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "comm/world.hpp"
#include "engine/offloaded_states.hpp"
#include "engine/parameter_units.hpp"
#include "engine/pending_update.hpp"
#include "engine/rank_groups.hpp"
#include "engine/training_options.hpp"
#include "engine/unit_shard.hpp"
#include "engine/whole_units.hpp"
#include "tensor/kernels.hpp"

namespace kumihimo {

/// Where a unit's gradients are added up.
struct GradientSums {
  Matrix flat;  ///< fp32 [1, elements]
  /// no: a gradient that is a product (ParameterUnit::gradient_is_product) has yet to be written.
  Accumulate products = Accumulate::yes;
};

enum class StateKind : std::uint8_t { weight, master, m, v };

/// Weights, gradients and optimizer states of one rank, sharded over the data-parallel ranks as the
/// ZeRO stage says (Rajbhandari et al. 2020, arXiv:1910.02054): 1 the optimizer's, 2 gradients too,
/// 3 weights too. Units are the pieces that are gathered and reduced, each divided as its UnitShard
/// says.
///
/// With offload the optimizer's states live in host memory, those of all units one after the other
/// in the order of their first use (OffloadedStates), and a unit is updated just before the next
/// step first uses it (PendingUpdate). Setting and reading states does first what is left.
///
/// Reductions of gradients, and gathering of ZeRO-3 weights one use ahead, run on the groups'
/// stream. So does, where the layout overlaps data-parallel communication, gathering of the weights
/// that ZeRO-1 and 2 have updated: from a unit's update to its first use in the next step.
class ModelStates {
 public:
  /// The order in which a step uses weights, as indices of units: the same every step.
  using UseOrder = std::vector<int>;

  /// `gradient_uses`: how often a step calls finish_gradients for each unit.
  ModelStates(const TrainingOptions& options, std::vector<ParameterUnit> units, UseOrder use_order,
              std::vector<int> gradient_uses, const RankMemory& memory, Kernels& kernels,
              Workspace& workspace, RankGroups& groups, StepRecorder& recorder);

  const std::vector<ParameterUnit>& units() const { return units_; }

  // --- A step, in this order

  void begin_step();
  /// Weights of a unit, flat [1, elements]. Follows use_order. Under ZeRO-3 a layer's are valid
  /// until the next layer's are asked for, other units' until the end of the step.
  Matrix use_weights(int unit);
  /// Where gradients of a unit are added up; valid until finish_gradients.
  GradientSums gradients(int unit);
  /// One micro-batch has added its gradients. Starts reducing them when it is their time.
  void finish_gradients(int unit);
  /// Waits for all reductions; gradients are then whole where they are owned.
  void end_gradients();
  /// The norm over all parameters of the model, of gradients that end_gradients has completed.
  double gradient_norm();
  /// Updates weights, or has their next use do so; gradients are multiplied by `gradient_scale`
  /// first.
  void update(std::int64_t step, double learning_rate, double gradient_scale);
  /// After the last step: does what update has left to the next one, and waits for its copies and
  /// for weights that are on their way. Each rank for itself: it sends none on their way.
  void complete_update();

  // --- Setting and reading states, fp32 values of a piece

  /// As the functions of the same names (engine/unit_shard.hpp).
  std::vector<OwnedPiece> owned_pieces(int unit) const;
  std::vector<OwnedPiece> pieces_to_save(int unit) const;
  bool has(StateKind kind) const;
  void read_state(int unit, const OwnedPiece& piece, StateKind kind, float* values);
  void write_state(int unit, const OwnedPiece& piece, StateKind kind, const float* values);
  /// Call after write_state of weights: completes them on ranks that hold more than they own.
  void spread_weights();
  /// The gradient's owned elements, after end_gradients: for tests and comparisons.
  void read_gradient(int unit, const OwnedPiece& piece, float* values);

 private:
  struct Unit {
    Buffer weight_memory;     ///< all, or under ZeRO-3 the shard
    Buffer gradient_memory;   ///< all, or under ZeRO-2 and 3 the shard
    Buffer optimizer_memory;  ///< m, v (none for sgd), master (none in fp32); or in host memory
    std::int64_t first_state = 0;      ///< of the owned elements, among those of all units
    Matrix weights;                    ///< flat, as weight_memory
    Matrix gradients;                  ///< the same
    std::vector<ElementRange> zeroed;  ///< elements whose sums have to start at zero
    int gradients_due = 0;             ///< calls of finish_gradients until the reduction starts
    bool to_clear = false;             ///< the step has yet to zero its gradients
    bool has_sums = false;             ///< the step's first micro-batch has put its gradients there
    bool to_spread = false;            ///< other ranks have yet to receive the updated weights
    std::optional<CommunicationStream::Ticket> spreading;  ///< on their way
  };

  bool sharded_weights() const { return zero_stage_ == 3; }
  bool sharded_gradients() const { return zero_stage_ >= 2; }
  bool owns_all() const { return zero_stage_ == 0; }
  const UnitShard& shard(int unit) const { return shards_[static_cast<std::size_t>(unit)]; }
  const Unit& state(int unit) const { return states_[static_cast<std::size_t>(unit)]; }
  Unit& state(int unit) { return states_[static_cast<std::size_t>(unit)]; }

  void allocate(int unit, DeviceMemory& memory);
  void list_pieces();
  /// Cuts a piece where a portion of offloaded states ends.
  void list_offloaded(int unit, const OwnedPiece& piece);
  /// state_of(kind): where the piece's optimizer states are when it is updated.
  OptimizerPiece update_of(int unit, const OwnedPiece& piece,
                           const std::function<Matrix(StateKind)>& state_of);
  /// [data ranks, shard]: row r belongs to rank r.
  Matrix by_owner(void* data, int unit, DType dtype) const;
  Matrix own_row(const Matrix& whole) const { return rows_of(whole, data_rank_, 1); }

  WholeUnit& gather(int unit);
  void wait(WholeUnit& whole);
  void add_reduced(WholeUnit& whole);
  void sum_over_tensor_ranks(int unit, const Matrix& flat);
  void start_reduction(int unit);
  void sum_tied_gradients();
  bool holds_more_than_owned() const {
    return !owns_all() && !sharded_weights() && data_ranks_ > 1;
  }
  bool spreads_on_stream() const { return overlap_ && holds_more_than_owned(); }
  /// Does what the last step has left to a unit's first use, but for waiting for its weights.
  void catch_up(int unit);
  /// Zeroes what is not overwritten anyway, in the whole of a unit's gradients.
  void clear(int unit, const Matrix& flat);
  void clear_gradients(int unit);
  void spread(int unit);
  void finish_spreading(int unit);
  Matrix owned_gradients(int unit) const;
  bool is_offloaded(StateKind kind) const { return offloaded_ && kind != StateKind::weight; }
  /// Kinds of optimizer states are numbered as they lie in memory.
  std::int64_t number_of(StateKind kind) const;
  std::int64_t state_kinds() const;
  /// In host memory where it is offloaded: for the time between steps, after complete_update.
  Matrix owned_state(int unit, StateKind kind);
  void read_piece(const Matrix& flat, const OwnedPiece& piece, float* values);

  OptimizerOptions optimizer_;
  int zero_stage_;
  bool overlap_;
  bool sum_replicated_;  ///< sequence parallel
  int data_ranks_;
  int data_rank_;
  DType dtype_;
  std::vector<ParameterUnit> units_;
  std::vector<UnitShard> shards_;
  std::vector<Unit> states_;
  std::vector<Matrix> norm_pieces_;  ///< gradients that this rank counts, each once among ranks
  std::unique_ptr<OffloadedStates> offloaded_;
  std::unique_ptr<PendingUpdate> update_;  ///< of everything that this rank owns
  UseOrder use_order_;
  std::vector<int> first_uses_;  ///< all units, in the order of their first use
  std::size_t next_use_ = 0;
  std::vector<int> gradient_uses_;
  Kernels& kernels_;
  Workspace& workspace_;
  RankGroups& groups_;
  Buffer scalar_memory_;                                 ///< fp64 [1, 1]
  std::optional<WholeUnits> gathered_;                   ///< weights: ZeRO-3
  std::optional<WholeUnits> reduced_;                    ///< gradients: ZeRO-2 and 3
  std::vector<CommunicationStream::Ticket> reductions_;  ///< under way, of unsharded gradients
};

}  // namespace kumihimo
