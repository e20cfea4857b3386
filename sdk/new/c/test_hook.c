// The plugin's tests, by the host's double: a program that ends with the first check that fails.

#include "plugin.c"
#include "waypost_test.h"

#undef NDEBUG
#include <assert.h>

static void the_server_learns_the_tenant(void) {
  wp_test_servers(1);
  assert(!wp_test_settings(WP_HOOK, "{}", NULL));
  wp_test_header("X-Tenant", "acme");
  wp_call call = {0};
  assert(on_request(&call) == WP_PROCEED);
  const char *tenant = wp_test_changed(wp_host.changed_request, "x-authenticated-tenant");
  assert(tenant && strcmp(tenant, "acme") == 0);
  assert(strcmp(wp_host.note, "tenant acme") == 0);
}

static void a_request_without_a_tenant_is_a_401(void) {
  wp_test_servers(1);
  assert(!wp_test_settings(WP_HOOK, "{}", NULL));
  wp_call call = {0};
  assert(on_request(&call) == WP_ANSWER);
  assert(wp_host.answer.status == 401);
  assert(strcmp(wp_host.answer.body, "say who you are: x-tenant\n") == 0);
}

static void a_misspelled_setting_is_refused(void) {
  const char *message = wp_test_settings(WP_HOOK, "{\"haeder\": \"x-tenant\"}", NULL);
  assert(message && strcmp(message, "unknown key `haeder`; did you mean `header`?") == 0);
}

int main(void) {
  the_server_learns_the_tenant();
  a_request_without_a_tenant_is_a_401();
  a_misspelled_setting_is_refused();
  puts("3 tests passed");
}
