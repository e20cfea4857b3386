// The plugin's tests, by the host's double: a program that ends with the first check that fails.

#include "plugin.c"
#include "waypost_test.h"

#undef NDEBUG
#include <assert.h>

static void the_least_busy_server_is_the_best(void) {
  wp_test_servers(3);
  assert(!wp_test_settings(WP_SCORER, "{\"most\": 4}", NULL));
  wp_host.servers[0].in_flight = 2;
  wp_host.servers[2].in_flight = 9;
  wp_choice choice = {0};
  uint16_t scores[3] = {0};
  score(&choice, scores);
  assert(scores[0] == 32767 && scores[1] == 65535 && scores[2] == 0);
}

static void a_misspelled_setting_is_refused(void) {
  const char *message = wp_test_settings(WP_SCORER, "{\"mots\": 4}", NULL);
  assert(message && strcmp(message, "unknown key `mots`; did you mean `most`?") == 0);
}

int main(void) {
  the_least_busy_server_is_the_best();
  a_misspelled_setting_is_refused();
  puts("2 tests passed");
}
