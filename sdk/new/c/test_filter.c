// The plugin's tests, by the host's double: a program that ends with the first check that fails.

#include "plugin.c"
#include "waypost_test.h"

#undef NDEBUG
#include <assert.h>

static uint64_t left_of_three(const char *zone) {
  wp_test_servers(3);
  assert(!wp_test_settings(WP_FILTER, "{}", NULL));
  wp_test_label(0, "zone", "a");
  wp_test_label(1, "zone", "b");
  wp_test_label(2, "zone", "a");
  update(NULL, 3);
  if (zone) wp_test_header("X-Zone", zone);
  wp_choice choice = {0};
  return narrow(0, 7, &choice);
}

static void a_request_goes_to_the_zone_that_it_names(void) {
  assert(left_of_three("a") == 5);
  assert(left_of_three("b") == 2);
  assert(left_of_three(NULL) == 7);
}

static void a_zone_without_a_server_leaves_none_and_the_filter_is_ignored(void) {
  assert(left_of_three("c") == 0);
  assert(may_be_ignored());
}

int main(void) {
  a_request_goes_to_the_zone_that_it_names();
  a_zone_without_a_server_leaves_none_and_the_filter_is_ignored();
  puts("2 tests passed");
}
