#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "advise/sensitivity.hpp"
#include "report/messages.hpp"

namespace kumihimo {

/// Two layouts by the knobs in which they differ: {"pp 4", "pp 2"}.
std::pair<std::string, std::string> difference_text(const ParallelLayout& a,
                                                    const ParallelLayout& b);

/// One sentence for each threshold ("below 15 GB/s, pp 4 overtakes pp 2"), or that there is none.
std::vector<std::string> threshold_sentences(const Sensitivity& sensitivity, Language language);

nlohmann::ordered_json sensitivity_json(const Sensitivity& sensitivity, Language language);
nlohmann::ordered_json sensitivity_map_json(const SensitivityMap& map);

/// All axes of a request, in the order of SensitivityAxis.
std::vector<Sensitivity> all_sensitivities(const SearchRequest& request);

}  // namespace kumihimo
