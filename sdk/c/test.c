// Tests of the SDK itself: `cc -I sdk/c sdk/c/test.c`, and a program that ends with the first
// check that fails.

#include "waypost.h"

static bool configure(wp_kind kind, wp_settings *settings, wp_sharing *sharing) {
  (void)kind, (void)sharing;
  wp_text names[2];
  wp_setting_text(settings, "mode", "safe");
  wp_setting_number(settings, "count", 1, 9, 3);
  wp_setting_flag(settings, "strict");
  wp_setting_texts(settings, "names", names, 2);
  return wp_settled(settings);
}
static wp_about describe(wp_kind kind) {
  (void)kind;
  return (wp_about){.summary = "none"};
}
WAYPOST(configure, describe)

static bool attach(uint32_t place, wp_settings *settings) {
  (void)place;
  return wp_settled(settings);
}
static wp_verdict on_request(const wp_call *call) {
  (void)call;
  int64_t sum = 0;
  if (wp_store_add(WP_TEXT("seen"), 1, 0, &sum) != WP_STORED || sum > 1) return WP_ANSWER;
  wp_checks_verify_password(WP_TEXT("hash"), WP_TEXT("secret"));
  wp_bodies_want_request_body(wp_whole(10, WP_REFUSED));
  return WP_WAIT;
}
static wp_verdict on_check(const wp_call *call, bool passed) {
  (void)call;
  return passed ? WP_PROCEED : WP_ANSWER;
}
static wp_verdict on_request_body(const wp_call *call, wp_body body) {
  (void)call;
  char made[64];
  snprintf(made, sizeof made, "%.*s%s", (int)body.bytes.length, body.bytes.at, body.last ? "." : "");
  wp_bodies_set_body(wp_text_of(made));
  return WP_PROCEED;
}
static void on_response(const wp_call *call) {
  (void)call;
  wp_bodies_want_response_body(WP_WATCH, WP_AS_SENT);
}
WAYPOST_HOOK(attach)
WAYPOST_ON_REQUEST(on_request)
WAYPOST_ON_CHECK(on_check)
WAYPOST_ON_REQUEST_BODY(on_request_body)
WAYPOST_ON_RESPONSE(on_response)
WAYPOST_ON_RESPONSE_BODY(on_request_body)

#include "waypost_test.h"

#undef NDEBUG
#include <assert.h>

static void refuses(const char *json, const char *key, const char *message) {
  const char *at = "", *said = wp_test_settings(WP_POLICY, json, &at);
  if (!said || strcmp(at, key) || strcmp(said, message)) {
    fprintf(stderr, "%s: `%s`: %s\n", json, at, said ? said : "is taken");
    abort();
  }
}

static void a_hook_that_has_asked_for_bodies_makes_others_of_them(void) {
  wp_call call = {0};
  wp_test_servers(1);
  assert(on_request(&call) == WP_WAIT && strcmp(wp_host.check.password, "secret") == 0);
  assert(on_check(&call, true) == WP_PROCEED);
  assert(wp_host.wants_request && wp_host.wanted_request.at_most == 10);
  assert(wp_equal(wp_test_body(on_request_body, "ab", false), WP_TEXT("ab")));
  assert(wp_equal(wp_test_body(on_request_body, "c", true), WP_TEXT("c.")));
  on_response(&call);
  assert(wp_equal(wp_test_body(wp_test_on_response_body, "c", true), WP_TEXT("c")));
}

static wp_asked knows_jo(const wp_request *request, wp_response *response) {
  response->status = wp_equal(request->target, WP_TEXT("/jo")) ? 200 : 403;
  return WP_ASKED;
}
static void upstreams_are_asked(void) {
  wp_response response;
  wp_request request = {.upstream = WP_TEXT("auth"), .target = WP_TEXT("/jo")};
  wp_test_servers(1);
  assert(wp_upstream_requests_send(&request, &response) == WP_NONE_LIVE);
  wp_host.answers = knows_jo;
  assert(wp_upstream_requests_send(&request, &response) == WP_ASKED && response.status == 200);
  assert(wp_upstream_requests_send_and_leave(&request) == WP_ASKED && wp_host.asked == 3);
}

static void the_store_counts_swaps_fills_and_says_what_it_refuses(void) {
  int64_t sum;
  uint64_t level;
  bool is_done;
  wp_text key = WP_TEXT("key");
  wp_test_servers(1);
  assert(wp_store_add(key, 3, 0, &sum) == WP_STORED && sum == 3);
  wp_store_compare_and_swap(key, (wp_maybe_text){0}, WP_TEXT("x"), 0, &is_done);
  assert(!is_done);
  wp_store_compare_and_swap(key, (wp_maybe_text){true, WP_TEXT("3")}, WP_TEXT("x"), 0, &is_done);
  assert(is_done && wp_store_add(key, 1, 0, &sum) == WP_STORE_WRONG_KIND);
  assert(wp_store_delete(key, &is_done) == WP_STORED && is_done);
  for (uint64_t wanted = 0; wanted <= 4; wanted += 2)
    assert(wp_store_fill(key, 2, 1, 3, &level) == WP_STORED && level == wanted);
  assert(wp_store_fill(key, 1, 1, 3, &level) == WP_STORED && level == 3);
}

int main(void) {
  a_hook_that_has_asked_for_bodies_makes_others_of_them();
  upstreams_are_asked();
  the_store_counts_swaps_fills_and_says_what_it_refuses();
  assert(!wp_test_settings(WP_POLICY, "{}", NULL));
  assert(!wp_test_settings(
      WP_POLICY,
      "{ \"mode\": \"a, \\\"b\\\"}\", \"names\": [\"x\", \"]\"],\"count\":9, \"strict\": true }",
      NULL));
  refuses("{\"mode\": 1}", "mode", "`mode` must be a text");
  refuses("{\"count\": 10}", "count", "`count` must be a whole number from 1 to 9");
  refuses("{\"count\": \"1\"}", "count", "`count` must be a whole number from 1 to 9");
  refuses("{\"strict\": \"yes\"}", "strict", "`strict` must be `true` or `false`");
  refuses("{\"names\": \"x\"}", "names", "`names` must be a list");
  refuses("{\"names\": [\"x\", \"y\", \"z\"]}", "names", "`names` has more than 2 entries");
  refuses("{\"cuont\": 1}", "cuont", "unknown key `cuont`; did you mean `count`?");
  refuses("{\"colour\": 1}", "colour",
          "unknown key `colour`; known keys: `mode`, `count`, `strict`, `names`");
  wp_text text = wp_json_text(WP_TEXT("\"a\\n\\u0009\\/\""));
  assert(wp_equal(text, WP_TEXT("a\n\t/")));
  wp_text told = wp_utf8(WP_TEXT("a\xff\xc3\xa4\xe2\x82\xac\xed\xa0\x80\xc3"));
  assert(wp_equal(told, WP_TEXT("a?\xc3\xa4\xe2\x82\xac????")));
  puts("the SDK's tests passed");
  return 0;
}
