#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "advise/advice.hpp"
#include "cli/advise_options.hpp"
#include "cli/job_options.hpp"
#include "report/report_content.hpp"
#include "search/constraints.hpp"
#include "store/store.hpp"
#include "what_if/what_if.hpp"

// The content of a report, from each of its sources. Each adds rows and sections; whoever comes
// first gives the title, and the recommendation unless a later source overrides it.

namespace kumihimo {

/// The best layouts by prediction, what stands around them, how they change with the machine, and
/// what the page needs to plan anew. `request` is that of `planned` under `constraints`.
/// `current`: a layout to set beside them, or none.
void add_plan(const PlannedJob& planned, const Constraints& constraints,
              const SearchRequest& request, const std::optional<ParallelLayout>& current,
              ReportContent& content);

/// A row's columns of the layout itself.
void fill_knobs(const ParallelLayout& layout, ReportRow& row);

/// Title, rows and recommendation of a plan's layouts, best first. Of `planned` it reads names,
/// counts and the profile's errors.
void add_best_layouts(const PlannedJob& planned, const std::vector<RankedLayout>& best,
                      ReportContent& content);
/// How far a prediction of that profile on that cluster can be trusted.
std::string certainty_text(const StackProfile& profile, const Cluster& cluster,
                           const Prediction& predicted, Language language);
/// Model, cluster, profile, and what was assumed.
void add_plan_provenance(const PlannedJob& planned, ReportContent& content);

/// A document kumihimo.plan/1: its layouts and where they come from. What such a document lacks is
/// left out, and the report says so.
Expected<std::monostate> add_plan_file(const std::string& path, ReportContent& content);

/// What to change first; its recommendation is the report's.
void add_advice(const AdviseQuestion& question, const Advice& advice, ReportContent& content);

/// Every trial of a store that says something. Throws StoreFailure where the file is damaged.
void add_study(Store& store, ReportContent& content);

/// What the page needs to plan anew. `request` and `result` are those of the basis itself.
void add_what_if(const WhatIfBasis& basis, const SearchRequest& request, const SearchResult& result,
                 ReportContent& content);
/// The same for the newest sweep of a store whose model, machine and profile are known; nothing
/// where there is none.
void add_what_if_of_study(Store& store, ReportContent& content);

/// A document kumihimo.compare-precision/1.
Expected<std::monostate> add_precision(const std::string& path, ReportContent& content);

/// The program itself, and when the report was made where `date` says so.
void add_program(ReportContent& content);

}  // namespace kumihimo
