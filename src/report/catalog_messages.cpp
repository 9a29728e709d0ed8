#include "report/message_tables.hpp"

namespace kumihimo {
namespace {

constexpr Wording table[] = {
    {"catalog.split.description", "another split over tensor, pipeline and data parallelism",
     "テンソル・パイプライン・データ並列の分割を変える"},
    {"catalog.split.reason", "flags of the launch script; saved states must be converted once",
     "起動スクリプトのフラグのみ。保存済みの状態は一度変換が必要"},
    {"catalog.micro-batch.description", "another micro-batch size",
     "マイクロバッチの大きさを変える"},
    {"catalog.micro-batch.reason", "one flag; the result of training is the same",
     "フラグ一つ。学習の結果は変わらない"},
    {"catalog.recompute.description", "recompute fewer activations, or more",
     "活性値再計算を減らす、または増やす"},
    {"catalog.recompute.reason", "one flag; memory runs fuller without recomputation",
     "フラグ一つ。再計算なしではメモリの余裕が減る"},
    {"catalog.sequence-parallel.description", "norms and residuals split over the tensor group",
     "正規化と残差をテンソル並列のグループで分割する"},
    {"catalog.sequence-parallel.reason",
     "one flag where the framework has it; gradients of the norms need another reduction",
     "対応するフレームワークならフラグ一つ。正規化の勾配に追加の集約が必要"},
    {"catalog.zero.description", "another ZeRO stage", "ZeRO の段階を変える"},
    {"catalog.zero.reason",
     "sharded states change how runs are saved and resumed; ZeRO-3 gathers weights all the time, "
     "and a slow link stalls everyone",
     "状態の分割で保存と再開の方法が変わる。ZeRO-3 "
     "は常に重みを集めるため、一本の遅いリンクが全体を止める"},
    {"catalog.schedule.description", "interleaved 1F1B or another pipeline schedule",
     "インターリーブ 1F1B など別のパイプラインスケジュール"},
    {"catalog.schedule.reason",
     "more stages to place, more messages to wait for; hangs are hard to read",
     "配置するステージと待つメッセージが増え、停止の原因を追いにくい"},
    {"catalog.overlap.description", "communication behind compute", "通信を計算の裏に隠す"},
    {"catalog.overlap.reason",
     "kernels and messages compete for the device, and the gain depends on driver and library "
     "versions",
     "カーネルと通信がデバイスを奪い合い、効果はドライバやライブラリの版に左右される"},
    {"catalog.flash2.description", "FlashAttention 2", "FlashAttention 2"},
    {"catalog.flash2.reason", "one package built for the device and framework version",
     "デバイスとフレームワークの版に合わせてパッケージを一つビルドする"},
    {"catalog.flash3.description", "FlashAttention 3 (Hopper)", "FlashAttention 3 (Hopper)"},
    {"catalog.flash3.reason", "runs on one generation of devices, and is built from source",
     "一つの世代のデバイスでのみ動き、ソースからビルドする"},
    {"catalog.fused-norm.description", "norm in one kernel", "正規化を一つのカーネルに融合する"},
    {"catalog.fused-norm.reason", "one extension built for the device and framework version",
     "デバイスとフレームワークの版に合わせて拡張を一つビルドする"},
    {"catalog.fp8.description", "matrix products in fp8", "行列積を fp8 で計算する"},
    {"catalog.fp8.reason",
     "scales to watch, losses to compare with bf16 again for every model; a run can diverge weeks "
     "in",
     "スケールの監視と、モデルごとの bf16 との損失比較が必要。数週間後に発散することもある"},
    {"catalog.inter-node-x2.description", "links between nodes of twice the bandwidth",
     "ノード間の帯域を 2 倍にする"},
    {"catalog.inter-node-x2.reason", "new cards, cables and switches, then as before",
     "カード・ケーブル・スイッチを交換した後は従来どおり"},
    {"catalog.h100.description", "H100 80 GB nodes in place of today's",
     "現在のノードを H100 80 GB に置き換える"},
    {"catalog.h100.reason", "new images, drivers and kernels; higher power and cooling",
     "新しいイメージ・ドライバ・カーネルが必要。電力と冷却も増える"},
    {"catalog.h200.description", "H200 nodes in place of today's",
     "現在のノードを H200 に置き換える"},
    {"catalog.b200.description", "B200 nodes in place of today's",
     "現在のノードを B200 に置き換える"},
    {"catalog.b200.reason",
     "a generation whose kernels and libraries are young; higher power and cooling",
     "カーネルとライブラリがまだ若い世代。電力と冷却も増える"},
    {"catalog.gpus-x2.description", "twice the devices", "デバイス数を 2 倍にする"},
    {"catalog.gpus-x2.reason",
     "twice the parts that can fail; the step gets shorter, its fixed times do not",
     "故障しうる部品が 2 倍になる。ステップは短くなるが固定時間は縮まない"},
};

}  // namespace

std::span<const Wording> catalog_messages() { return table; }

}  // namespace kumihimo
