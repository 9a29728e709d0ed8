#include <gmock/gmock.h>

#include "base/number_text.hpp"
#include "cli/report_sources.hpp"
#include "unit/advise/example.hpp"

namespace kumihimo {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

/// What a plan's best layout has said before.
ReportContent after_a_plan() {
  ReportContent content;
  Recommendation& r = content.recommendation;
  r.headline = r.detail = r.gain = r.certainty = r.next = "of the best layout";
  return content;
}

std::string certainty_of(const AdviceRequest& request, const Outcome& outcome) {
  return certainty_text(request.profile, request.cluster, outcome.ranked.prediction,
                        Language::english);
}

TEST(ReportOfAdvice, IsAsCertainAsTheLayoutThatItRecommends) {
  AdviseQuestion question;
  question.request = testing::founding_study(testing::founding_start);
  const Advice advice = advise(question.request);
  ReportContent content = after_a_plan();
  add_advice(question, advice, content);
  EXPECT_EQ(content.recommendation.certainty,
            certainty_of(question.request, advice.steps.at(0).after));

  question.request.options.clear();
  const Advice nothing = advise(question.request);
  content = after_a_plan();
  add_advice(question, nothing, content);
  EXPECT_EQ(content.recommendation.certainty, certainty_of(question.request, nothing.start));
  EXPECT_THAT(content.recommendation.gain,
              HasSubstr(step_text(nothing.start.ranked.prediction.step_s)));
}

TEST(ReportOfAdvice, CallsCheaperWhatIsNotFaster) {
  AdviseQuestion question;
  question.request = testing::founding_study(testing::founding_start);
  question.request.goal = AdviceGoal::cost;
  question.request.prices.device_hour = Money{2};
  const Advice advice = advise(question.request);
  ReportContent content;
  add_advice(question, advice, content);
  for (const std::string& text : {content.recommendation.gain, content.steps.at(0).gain}) {
    EXPECT_THAT(text, AllOf(HasSubstr("% cheaper"), Not(HasSubstr("speed"))));
  }
}

}  // namespace
}  // namespace kumihimo
