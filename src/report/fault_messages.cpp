#include "report/message_tables.hpp"

namespace kumihimo {
namespace {

// The English texts are the phrases of layout/validate and search/layout_judge.
constexpr Wording table[] = {
    {"fault.seq_length", "sequence length out of range", "系列長が範囲外"},
    {"fault.global_batch", "global batch out of range", "グローバルバッチが範囲外"},
    {"fault.vocab_multiple", "vocabulary multiple out of range", "語彙の切り上げ単位が範囲外"},
    {"fault.devices_range", "number of devices out of range", "デバイス数が範囲外"},
    {"fault.positions", "sequence longer than the position table", "系列が位置の表より長い"},
    {"fault.tp_range", "tp out of range", "tp が範囲外"},
    {"fault.pp_range", "pp out of range", "pp が範囲外"},
    {"fault.dp_range", "dp out of range", "dp が範囲外"},
    {"fault.cp_range", "cp out of range", "cp が範囲外"},
    {"fault.micro_batch_range", "micro-batch out of range", "マイクロバッチが範囲外"},
    {"fault.vpp_range", "virtual stages out of range", "仮想ステージ数が範囲外"},
    {"fault.devices", "tp x pp x dp x cp is not the number of devices",
     "tp × pp × dp × cp がデバイス数と一致しない"},
    {"fault.heads", "tp does not divide the attention heads", "tp が注意ヘッド数を割り切らない"},
    {"fault.kv_heads", "tp and the key-value heads do not divide each other",
     "tp と KV ヘッド数のどちらも他方を割り切らない"},
    {"fault.ffn", "tp does not divide the MLP width", "tp が MLP の幅を割り切らない"},
    {"fault.sp_without_tp", "sequence parallelism without tp", "tp なしのシーケンス並列"},
    {"fault.cp_sequence", "2 x cp does not divide the sequence", "2 × cp が系列長を割り切らない"},
    {"fault.cp_attention", "cp without flash attention", "cp は FlashAttention を必要とする"},
    {"fault.sp_sequence", "sp does not divide the sequence",
     "シーケンス並列の分割数が系列長を割り切らない"},
    {"fault.batch", "dp x micro-batch does not divide the global batch",
     "dp × マイクロバッチがグローバルバッチを割り切らない"},
    {"fault.interleaved_batch", "pp does not divide the micro-batches of an interleaved schedule",
     "インターリーブ型スケジュールのマイクロバッチ数を pp が割り切らない"},
    {"fault.vpp_schedule", "virtual stages without interleaving",
     "インターリーブ型でないスケジュールに仮想ステージがある"},
    {"fault.interleaved_vpp", "interleaved without virtual stages",
     "インターリーブ型スケジュールに仮想ステージがない"},
    {"fault.interleaved_pp", "interleaved without a pipeline",
     "パイプラインなしのインターリーブ型スケジュール"},
    {"fault.stages", "more stages than layers", "ステージ数が層数より多い"},
    {"fault.split_length", "layer split of the wrong length", "層の分割がステージ数と一致しない"},
    {"fault.split_sum", "layer split of the wrong sum", "層の分割の合計が層数と一致しない"},
    {"fault.split_negative", "negative number of layers", "層数が負"},
    {"fault.stage_empty", "stage without layers", "層のないステージがある"},
    {"fault.zero", "zero stage out of range", "ZeRO の段階が範囲外"},
    {"fault.zero_group", "zero group does not divide dp x cp",
     "ZeRO のグループが dp × cp を割り切らない"},
    {"fault.gradient_dtype", "gradient dtype does not go with the precision",
     "勾配の型が精度と合わない"},
    {"fault.precision", "precision not supported by the device",
     "デバイスがこの精度に対応していない"},
    {"fault.flash2", "flash2 on Volta", "Volta では flash2 が動かない"},
    {"fault.flash3", "flash3 on a device other than Hopper", "flash3 は Hopper でのみ動く"},
    {"fault.flash3_precision", "flash3 in fp32 or tf32", "flash3 は fp32 と tf32 では動かない"},
    {"fault.wide_heads", "heads too wide for the flash kernel",
     "ヘッドの幅が flash カーネルの上限を超える"},
    {"fault.offload", "offload without host memory or host link",
     "退避先のホストメモリまたはホストとの接続がない"},
    {"fault.simulated", "too many micro-batches to simulate",
     "マイクロバッチが多すぎて模擬できない"},
};

}  // namespace

std::span<const Wording> fault_messages() { return table; }

}  // namespace kumihimo
