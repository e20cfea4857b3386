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

int main(void) {
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
