// The planner as the page calls it: memory for a request, an answer, progress on the way.
#include <cstdint>
#include <string>

#include "what_if/what_if.hpp"

extern "C" {

// The page's: called now and then with layouts judged and layouts in all.
void kumihimo_progress(double done, double total);

/// Room for a request of `size` bytes, until the next call.
char* kumihimo_request(std::uint32_t size);
/// The answer to the request that stands there, ended by a zero, until the next call.
const char* kumihimo_answer();

}  // extern "C"

namespace {

std::string& request() {
  static std::string text;
  return text;
}

}  // namespace

char* kumihimo_request(std::uint32_t size) {
  request().assign(size, ' ');
  return request().data();
}

const char* kumihimo_answer() {
  static std::string text;
  text = kumihimo::answer_what_if(request(), [](std::int64_t done, std::int64_t total) {
    kumihimo_progress(static_cast<double>(done), static_cast<double>(total));
  });
  return text.c_str();
}
