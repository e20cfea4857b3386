// The plugin's tests, by the host's double: a program that ends with the first check that fails.

#include "plugin.c"
#include "waypost_test.h"

#undef NDEBUG
#include <assert.h>

static void a_tenant_stays_on_its_server_whatever_its_load(void) {
  wp_test_servers(3);
  assert(!wp_test_settings(WP_POLICY, "{}", NULL));
  wp_test_header("X-Tenant", "acme");
  wp_pick call = wp_test_pick_of();
  uint32_t first = pick(&call);
  wp_host.servers[first].in_flight = 100;
  assert(pick(&call) == first);
}

static void everybody_else_gets_the_least_loaded_server_that_is_up(void) {
  wp_test_servers(3);
  wp_host.servers[0].in_flight = 2;
  wp_host.servers[1].in_flight = 1;
  wp_host.servers[2].is_down = true;
  wp_pick call = wp_test_pick_of();
  assert(pick(&call) == 1);
}

static void a_misspelled_setting_is_refused_by_its_key(void) {
  const char *key = "",
             *message = wp_test_settings(WP_POLICY, "{\"haeder\": \"x-customer\"}", &key);
  assert(message && strcmp(key, "haeder") == 0);
  assert(strcmp(message, "unknown key `haeder`; did you mean `header`?") == 0);
}

static void requests_are_counted_and_stamped_by_tenant(void) {
  wp_test_servers(1);
  assert(!wp_test_settings(WP_HOOK, "{\"tenants\": [\"acme\", \"globex\"]}", NULL));
  wp_test_header("x-tenant", "acme");
  wp_call call = {0};
  on_request(&call);
  assert(on_request(&call) == WP_PROCEED);
  assert(strcmp(wp_test_changed(wp_host.changed_request, "x-counted-as"), "acme") == 0);
  assert(strcmp(wp_test_changed(wp_host.changed_response, "x-counted"), "2") == 0);
  wp_test_header("x-tenant", "initech");
  on_request(&call);
  assert(strcmp(wp_test_changed(wp_host.changed_request, "x-counted-as"), "other") == 0);
  assert(wp_test_counted("requests_acme") == 2 && wp_test_counted("requests_other") == 1);
}

static void a_word_is_masked_in_bodies_where_it_is_to_be(void) {
  wp_call call = {0};
  wp_test_servers(1);
  assert(!wp_test_settings(WP_HOOK, "{\"tenants\": [\"a\"], \"mask\": \"4111\"}", NULL));
  on_request(&call);
  assert(wp_host.wants_request);
  assert(wp_equal(wp_test_body(on_body, "card 4111", true), WP_TEXT("card ****")));
  wp_test_servers(1);
  assert(!wp_test_settings(WP_HOOK, "{\"tenants\": [\"a\"]}", NULL));
  on_request(&call);
  on_response(&call);
  assert(!wp_host.wants_request && !wp_host.wants_response);
}

int main(void) {
  a_tenant_stays_on_its_server_whatever_its_load();
  everybody_else_gets_the_least_loaded_server_that_is_up();
  a_misspelled_setting_is_refused_by_its_key();
  requests_are_counted_and_stamped_by_tenant();
  a_word_is_masked_in_bodies_where_it_is_to_be();
  puts("5 tests passed");
}
