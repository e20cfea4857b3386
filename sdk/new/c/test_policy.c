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
  assert(strcmp(wp_host.note, "tenant acme") == 0);
}

static void everybody_else_gets_the_least_busy_server_that_is_up(void) {
  wp_test_servers(3);
  wp_host.servers[0].in_flight = 2;
  wp_host.servers[1].in_flight = 1;
  wp_host.servers[2].is_down = true;
  wp_pick call = wp_test_pick_of();
  assert(pick(&call) == 1);
}

static void a_misspelled_setting_is_refused(void) {
  const char *message = wp_test_settings(WP_POLICY, "{\"haeder\": \"x-tenant\"}", NULL);
  assert(message && strcmp(message, "unknown key `haeder`; did you mean `header`?") == 0);
}

int main(void) {
  a_tenant_stays_on_its_server_whatever_its_load();
  everybody_else_gets_the_least_busy_server_that_is_up();
  a_misspelled_setting_is_refused();
  puts("3 tests passed");
}
