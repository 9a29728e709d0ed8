#include "engine/model_states.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace kumihimo {
namespace {

Matrix flat_matrix(const Buffer& buffer, DType dtype) {
  return matrix_at(buffer.data(), 1, buffer.size() / bytes_of(dtype), dtype);
}

/// All units, in the order of their first use.
std::vector<int> by_first_use(const ModelStates::UseOrder& uses, std::size_t units) {
  std::vector<int> order;
  for (const int unit : uses) {
    if (std::find(order.begin(), order.end(), unit) == order.end()) order.push_back(unit);
  }
  KUMIHIMO_CHECK(order.size() == units);
  return order;
}

}  // namespace

ModelStates::ModelStates(const TrainingOptions& options, std::vector<ParameterUnit> units,
                         UseOrder use_order, std::vector<int> gradient_uses,
                         const RankMemory& memory, Kernels& kernels, Workspace& workspace,
                         RankGroups& groups, StepRecorder& recorder)
    : optimizer_(options.optimizer),
      zero_stage_(options.layout.zero_stage),
      overlap_(options.layout.overlap_data_parallel),
      sum_replicated_(options.layout.sequence_parallel),
      data_ranks_(options.layout.data_parallel),
      data_rank_(groups.place.data),
      dtype_(storage_dtype(options.layout.precision)),
      units_(std::move(units)),
      states_(units_.size()),
      use_order_(std::move(use_order)),
      first_uses_(by_first_use(use_order_, units_.size())),
      gradient_uses_(std::move(gradient_uses)),
      kernels_(kernels),
      workspace_(workspace),
      groups_(groups),
      scalar_memory_(memory.device, MemoryCategory::workspace, bytes_of(DType::fp64)) {
  for (const ParameterUnit& unit : units_) {
    shards_.push_back(shard_of(unit, zero_stage_, data_ranks_, data_rank_));
  }
  for (int unit = 0; unit < std::ssize(units_); ++unit) allocate(unit, memory.device);
  if (options.layout.offload.optimizer) {
    std::int64_t owned = 0;
    for (const int unit : first_uses_) {
      state(unit).first_state = owned;
      owned += shard(unit).owned;
    }
    offloaded_ = std::make_unique<OffloadedStates>(state_kinds(), owned, options.offload_portion,
                                                   memory, recorder);
  } else {
    for (int unit = 0; unit < std::ssize(units_); ++unit) {
      state(unit).optimizer_memory =
          Buffer(memory.device, MemoryCategory::optimizer,
                 state_kinds() * shard(unit).owned * bytes_of(DType::fp32));
    }
  }
  if (sharded_weights()) gathered_.emplace(units_, shards_, dtype_, memory.device);
  if (sharded_gradients()) reduced_.emplace(units_, shards_, DType::fp32, memory.device);
  list_pieces();
}

void ModelStates::allocate(int index, DeviceMemory& memory) {
  Unit& unit = state(index);
  const UnitShard& s = shard(index);
  unit.weight_memory = Buffer(memory, MemoryCategory::weights,
                              (sharded_weights() ? s.owned : s.whole) * bytes_of(dtype_));
  unit.gradient_memory = Buffer(memory, MemoryCategory::gradients,
                                (sharded_gradients() ? s.owned : s.whole) * bytes_of(DType::fp32));
  unit.weights = flat_matrix(unit.weight_memory, dtype_);
  unit.gradients = flat_matrix(unit.gradient_memory, DType::fp32);
  unit.zeroed = units_[static_cast<std::size_t>(index)].gradients_not_products(s.whole);
}

void ModelStates::list_pieces() {
  // On the device all is one portion, unless a unit's weights shall be on their way while the next
  // unit is updated.
  const bool by_unit = !offloaded_ && spreads_on_stream();
  const std::int64_t portions =
      offloaded_ ? offloaded_->portions() : (by_unit ? std::ssize(units_) : 1);
  update_ = std::make_unique<PendingUpdate>(optimizer_, units_.size(), portions, offloaded_.get(),
                                            kernels_);
  std::int64_t place = 0;
  for (const int unit : first_uses_) {
    const std::int64_t portion = by_unit ? place++ : 0;
    for (const OwnedPiece& piece : owned_pieces(unit)) {
      if (offloaded_) {
        list_offloaded(unit, piece);
        continue;
      }
      update_->add(unit, portion, update_of(unit, piece, [&](StateKind kind) {
                     return cols_of(owned_state(unit, kind), piece.offset, piece.count);
                   }));
    }
  }
  for (int unit = 0; unit < std::ssize(units_); ++unit) {
    for (const OwnedPiece& piece : pieces_to_save(unit)) {
      norm_pieces_.push_back(cols_of(owned_gradients(unit), piece.offset, piece.count));
    }
  }
}

void ModelStates::list_offloaded(int unit, const OwnedPiece& piece) {
  for (std::int64_t done = 0; done < piece.count;) {
    const std::int64_t position = state(unit).first_state + piece.offset + done;
    const std::int64_t portion = offloaded_->portion_of(position);
    const ElementRange range = offloaded_->range_of(portion);
    OwnedPiece part = piece;
    part.first += done;
    part.offset += done;
    part.count = std::min(piece.count - done, range.first + range.count - position);
    update_->add(unit, portion, update_of(unit, part, [&](StateKind kind) {
                   return cols_of(offloaded_->on_device(portion, number_of(kind)),
                                  position - range.first, part.count);
                 }));
    done += part.count;
  }
}

OptimizerPiece ModelStates::update_of(int unit, const OwnedPiece& piece,
                                      const std::function<Matrix(StateKind)>& state_of) {
  const auto part = [&](const Matrix& flat) { return cols_of(flat, piece.offset, piece.count); };
  const Matrix weights = part(owned_state(unit, StateKind::weight));
  const bool master = has(StateKind::master);
  const bool decays = piece.parameter->decays();
  return {.gradient = part(owned_gradients(unit)),
          .master = master ? state_of(StateKind::master) : weights,
          .m = state_of(StateKind::m),
          .v = has(StateKind::v) ? state_of(StateKind::v) : Matrix{},
          .weights = master ? weights : Matrix{},
          .weight_decay = decays ? static_cast<float>(optimizer_.weight_decay) : 0.0f};
}

Matrix ModelStates::by_owner(void* data, int unit, DType dtype) const {
  return matrix_at(data, data_ranks_, shard(unit).size, dtype);
}

// --- Weights

void ModelStates::wait(WholeUnit& whole) {
  if (!whole.ticket) return;
  groups_.stream->wait(*whole.ticket);
  whole.ticket.reset();
}

void ModelStates::begin_step() {
  for (int unit = 0; unit < std::ssize(units_); ++unit) {
    state(unit).gradients_due = gradient_uses_[static_cast<std::size_t>(unit)];
    state(unit).to_clear = true;
    state(unit).has_sums = false;
    if (!update_->is_pending(unit)) clear_gradients(unit);
  }
  next_use_ = 0;
  if (offloaded_) offloaded_->fetch_first();
  // Now, since the first unit may be used only after a message that takes its time to come.
  if (!sharded_weights()) return catch_up(use_order_.front());
  for (WholeUnit& whole : gathered_->all()) whole.unit = -1;
  gather(use_order_.front());
}

void ModelStates::catch_up(int unit) {
  update_->complete(unit);
  if (state(unit).to_clear) clear_gradients(unit);
  if (state(unit).to_spread) spread(unit);
}

void ModelStates::clear(int unit, const Matrix& flat) {
  for (const ElementRange& range : state(unit).zeroed) {
    kernels_.fill(cols_of(flat, range.first, range.count), 0);
  }
}

void ModelStates::clear_gradients(int unit) {
  state(unit).to_clear = false;
  if (!sharded_gradients()) clear(unit, state(unit).gradients);
}

/// Gives all data-parallel ranks the weights that each of them owns.
void ModelStates::spread(int unit) {
  Unit& u = state(unit);
  u.to_spread = false;
  const Matrix all = by_owner(u.weights.data, unit, dtype_);
  if (overlap_) {
    u.spreading = groups_.stream->start_all_gather(*groups_.overlapped_data, own_row(all), all);
  } else {
    groups_.data->all_gather(own_row(all), all);
  }
}

void ModelStates::finish_spreading(int unit) {
  auto& spreading = state(unit).spreading;
  if (spreading) groups_.stream->wait(*std::exchange(spreading, {}));
}

/// Starts gathering a unit's weights unless a buffer has them, as when the backward pass begins
/// with the layer with which the forward pass has ended.
WholeUnit& ModelStates::gather(int unit) {
  WholeUnit& whole = gathered_->buffer_of(unit);
  if (whole.unit == unit) return whole;
  catch_up(unit);
  whole.unit = unit;
  whole.ticket = groups_.stream->start_all_gather(*groups_.overlapped_data, state(unit).weights,
                                                  by_owner(whole.memory.data(), unit, dtype_));
  return whole;
}

Matrix ModelStates::use_weights(int unit) {
  KUMIHIMO_CHECK(next_use_ < use_order_.size() && use_order_[next_use_] == unit);
  const bool is_last = ++next_use_ == use_order_.size();
  if (!sharded_weights()) {
    catch_up(unit);
    finish_spreading(unit);
    if (spreads_on_stream() && !is_last) catch_up(use_order_[next_use_]);
    return state(unit).weights;
  }
  WholeUnit& whole = gather(unit);
  wait(whole);
  gathered_->in_use(whole);
  if (!is_last) gather(use_order_[next_use_]);
  return whole.flat;
}

// --- Gradients

GradientSums ModelStates::gradients(int unit) {
  if (!sharded_gradients()) {
    return {state(unit).gradients, state(unit).has_sums ? Accumulate::yes : Accumulate::no};
  }
  WholeUnit& whole = reduced_->buffer_of(unit);
  if (whole.unit != unit || whole.ticket) {
    add_reduced(whole);
    whole.unit = unit;
    clear(unit, whole.flat);
  }
  reduced_->in_use(whole);
  return {whole.flat, Accumulate::no};
}

/// Adds what a reduction has left in this rank's row to its shard, which the first of a step fills,
/// and frees the buffer.
void ModelStates::add_reduced(WholeUnit& whole) {
  if (!whole.ticket) return;
  wait(whole);
  Unit& owner = state(whole.unit);
  const Matrix reduced = own_row(by_owner(whole.memory.data(), whole.unit, DType::fp32));
  if (owner.has_sums) {
    kernels_.add(owner.gradients, reduced, owner.gradients);
  } else {
    kernels_.copy(reduced, owner.gradients);
  }
  owner.has_sums = true;
  whole.unit = -1;
}

void ModelStates::finish_gradients(int unit) {
  if (sharded_gradients()) {
    // A shard cannot take in a whole: every micro-batch is reduced on its own.
    WholeUnit& whole = reduced_->buffer_of(unit);
    sum_over_tensor_ranks(unit, whole.flat);
    const Matrix all = by_owner(whole.memory.data(), unit, DType::fp32);
    whole.ticket =
        groups_.stream->start_reduce_scatter(*groups_.overlapped_data, all, own_row(all));
    if (!overlap_) add_reduced(whole);
    return;
  }
  KUMIHIMO_CHECK(state(unit).gradients_due > 0);
  state(unit).has_sums = true;
  if (--state(unit).gradients_due > 0) return;
  sum_over_tensor_ranks(unit, state(unit).gradients);
  if (overlap_) start_reduction(unit);
}

/// Completes gradients of which each tensor-parallel rank has a part: of norms and biases under
/// sequence parallelism, and of key/value heads that several ranks hold.
void ModelStates::sum_over_tensor_ranks(int unit, const Matrix& flat) {
  const ParameterUnit& u = units_[static_cast<std::size_t>(unit)];
  if (sum_replicated_ && u.replicated > 0) {
    groups_.tensor->all_reduce(cols_of(flat, 0, u.replicated));
  }
  if (groups_.kv_replicas->size() == 1) return;
  if (u.kv_weights > 0) {
    groups_.kv_replicas->all_reduce(cols_of(flat, u.kv_weights_offset, u.kv_weights));
  }
  if (u.kv_biases > 0) {
    groups_.kv_replicas->all_reduce(cols_of(flat, u.kv_biases_offset, u.kv_biases));
  }
}

void ModelStates::start_reduction(int unit) {
  if (data_ranks_ == 1) return;
  const Matrix& flat = state(unit).gradients;
  if (owns_all()) {
    reductions_.push_back(groups_.stream->start_all_reduce(*groups_.overlapped_data, flat));
  } else {
    const Matrix all = by_owner(flat.data, unit, DType::fp32);
    reductions_.push_back(
        groups_.stream->start_reduce_scatter(*groups_.overlapped_data, all, own_row(all)));
  }
}

void ModelStates::end_gradients() {
  if (sharded_gradients()) {
    for (WholeUnit& whole : reduced_->all()) add_reduced(whole);
  } else {
    if (!overlap_) {
      for (int unit = 0; unit < std::ssize(units_); ++unit) start_reduction(unit);
    }
    for (const CommunicationStream::Ticket ticket : reductions_) groups_.stream->wait(ticket);
    reductions_.clear();
  }
  sum_tied_gradients();
}

/// First and last stage each hold the tied table with a part of its gradient.
void ModelStates::sum_tied_gradients() {
  if (!groups_.tied_embedding) return;
  for (int unit = 0; unit < std::ssize(units_); ++unit) {
    const ParameterUnit& u = units_[static_cast<std::size_t>(unit)];
    if (u.kind != UnitKind::table && !u.tied_copy) continue;
    groups_.tied_embedding->all_reduce(owned_gradients(unit));
  }
}

double ModelStates::gradient_norm() {
  const Matrix sum = matrix_at(scalar_memory_.data(), 1, 1, DType::fp64);
  const double zero = 0;
  kernels_.upload(&zero, sum);
  kernels_.sum_of_squares(norm_pieces_, sum);
  groups_.all->all_reduce(sum);
  double squares = 0;
  kernels_.download(sum, &squares);
  return std::sqrt(squares);
}

// --- Update

void ModelStates::update(std::int64_t step, double learning_rate, double gradient_scale) {
  update_->decide(step, learning_rate, gradient_scale);
  for (Unit& unit : states_) unit.to_spread = holds_more_than_owned();
  if (offloaded_) return;
  for (const int unit : first_uses_) {
    update_->complete(unit);
    if (state(unit).to_spread) spread(unit);
  }
}

void ModelStates::complete_update() {
  update_->complete();
  if (offloaded_) offloaded_->synchronize();
  for (const int unit : first_uses_) finish_spreading(unit);
}

void ModelStates::spread_weights() {
  complete_update();
  if (!holds_more_than_owned()) return;
  for (const int unit : first_uses_) spread(unit);
}

// --- What this rank owns

/// Flat, from the first owned element on.
Matrix ModelStates::owned_gradients(int unit) const {
  const Unit& u = state(unit);
  return sharded_gradients() || owns_all() ? u.gradients
                                           : own_row(by_owner(u.gradients.data, unit, DType::fp32));
}

std::int64_t ModelStates::state_kinds() const {
  return 1 + (has(StateKind::v) ? 1 : 0) + (has(StateKind::master) ? 1 : 0);
}

std::int64_t ModelStates::number_of(StateKind kind) const {
  KUMIHIMO_CHECK(kind != StateKind::weight && has(kind));
  if (kind == StateKind::master) return state_kinds() - 1;
  return kind == StateKind::m ? 0 : 1;
}

Matrix ModelStates::owned_state(int unit, StateKind kind) {
  const Unit& u = state(unit);
  const std::int64_t owned = shard(unit).owned;
  if (kind == StateKind::weight) {
    return sharded_weights() || owns_all() ? u.weights
                                           : own_row(by_owner(u.weights.data, unit, dtype_));
  }
  if (offloaded_) {
    return cols_of(offloaded_->in_host_memory(number_of(kind)), u.first_state, owned);
  }
  return cols_of(flat_matrix(u.optimizer_memory, DType::fp32), owned * number_of(kind), owned);
}

std::vector<OwnedPiece> ModelStates::owned_pieces(int unit) const {
  return kumihimo::owned_pieces(units_[static_cast<std::size_t>(unit)], shard(unit));
}

std::vector<OwnedPiece> ModelStates::pieces_to_save(int unit) const {
  return kumihimo::pieces_to_save(units_[static_cast<std::size_t>(unit)], shard(unit));
}

bool ModelStates::has(StateKind kind) const {
  if (kind == StateKind::master) return dtype_ != DType::fp32;
  return kind != StateKind::v || optimizer_.kind == OptimizerKind::adamw;
}

void ModelStates::read_piece(const Matrix& flat, const OwnedPiece& piece, float* values) {
  const Workspace::Scope scope(workspace_);
  const Matrix part = cols_of(flat, piece.offset, piece.count);
  if (part.dtype == DType::fp32) {
    kernels_.download(part, values);
    return;
  }
  const Matrix widened = workspace_.take(1, piece.count, DType::fp32);
  kernels_.copy(part, widened);
  kernels_.download(widened, values);
}

void ModelStates::read_state(int unit, const OwnedPiece& piece, StateKind kind, float* values) {
  complete_update();
  const Matrix whole = owned_state(unit, kind);
  if (is_offloaded(kind)) {
    std::copy_n(static_cast<const float*>(whole.data) + piece.offset, piece.count, values);
  } else {
    read_piece(whole, piece, values);
  }
}

void ModelStates::read_gradient(int unit, const OwnedPiece& piece, float* values) {
  read_piece(owned_gradients(unit), piece, values);
}

void ModelStates::write_state(int unit, const OwnedPiece& piece, StateKind kind,
                              const float* values) {
  complete_update();
  const Matrix whole = owned_state(unit, kind);
  if (is_offloaded(kind)) {
    std::copy_n(values, piece.count, static_cast<float*>(whole.data) + piece.offset);
  } else {
    const Workspace::Scope scope(workspace_);
    const Matrix uploaded = workspace_.take(1, piece.count, DType::fp32);
    kernels_.upload(values, uploaded);
    kernels_.copy(uploaded, cols_of(whole, piece.offset, piece.count));
  }
  if (kind == StateKind::weight && has(StateKind::master)) {
    write_state(unit, piece, StateKind::master, values);
  }
}

}  // namespace kumihimo
