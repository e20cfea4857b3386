// A double of the host: include it behind the plugin, in a program that is compiled natively.
//
// It answers what a test has said in `wp_host`, and keeps there what the plugin has changed.
// Hashes are not those of the host (XXH64), but as good for telling values apart.
#ifndef WAYPOST_TEST_H
#define WAYPOST_TEST_H

#define WP_MOST 64

typedef struct {
  char name[64], value[256];
  uint64_t count;
} wp_named;

static struct {
  // What a test says.
  struct {
    uint32_t in_flight, latency_us, health;
    bool is_down;
    wp_named labels[WP_MOST];
  } servers[WP_MOST];
  wp_named request_headers[WP_MOST], cookies[WP_MOST], attributes[WP_MOST],
      response_headers[WP_MOST];
  const char *method, *path, *query;
  uint32_t status;
  uint64_t now_us;
  // What the plugin has said.
  wp_named changed_request[WP_MOST], changed_response[WP_MOST], counters[WP_MOST];
  struct {
    uint32_t status;
    char body[1024];
  } answer;
  uint64_t delay_us, memo;
  char log[1024], note[256], upstream[64], route[64];
} wp_host;

static wp_named *wp_named_find(wp_named *all, wp_text name) {
  for (size_t i = 0; i < WP_MOST && all[i].name[0]; i++) {
    size_t at = 0;
    while (at < name.length && (all[i].name[at] | 32) == (name.at[at] | 32)) at++;
    if (at == name.length && !all[i].name[at]) return &all[i];
  }
  return NULL;
}
static bool wp_named_set(wp_named *all, wp_text name, wp_text value) {
  wp_named *found = wp_named_find(all, name);
  for (size_t i = 0; !found && i < WP_MOST; i++)
    if (!all[i].name[0]) found = &all[i];
  snprintf(found->name, sizeof found->name, "%.*s", (int)name.length, name.at);
  snprintf(found->value, sizeof found->value, "%.*s", (int)value.length, value.at);
  return true;
}
static wp_maybe_text wp_named_text(wp_named *all, wp_text name) {
  wp_named *found = wp_named_find(all, name);
  return found ? (wp_maybe_text){true, wp_text_of(found->value)} : (wp_maybe_text){0};
}
static wp_text wp_or(const char *text, const char *otherwise) {
  return wp_text_of(text ? text : otherwise);
}

// What a test calls.

// A host with so many servers that are idle.
static inline void wp_test_servers(uint32_t count) {
  memset(&wp_host, 0, sizeof wp_host);
  wp_count = count;
}
static inline void wp_test_label(uint32_t index, const char *name, const char *value) {
  wp_named_set(wp_host.servers[index].labels, wp_text_of(name), wp_text_of(value));
}
static inline void wp_test_header(const char *name, const char *value) {
  memset(wp_host.request_headers, 0, sizeof wp_host.request_headers);
  wp_named_set(wp_host.request_headers, wp_text_of(name), wp_text_of(value));
}
// NULL where the settings are taken, else the message; the key goes where `key` points.
static const char *wp_test_settings(wp_kind kind, const char *json, const char **key) {
  static wp_settings settings;
  wp_sharing sharing = WP_PER_WORKER;
  settings = wp_settings_parse(wp_text_of(json));
  if (wp_test_configure(kind, &settings, &sharing) && !settings.is_refused) return NULL;
  if (key) *key = settings.key;
  return settings.message;
}
static inline wp_pick wp_test_pick_of(void) {
  wp_pick call = {.now_us = wp_host.now_us};
  for (uint32_t i = 0; i < wp_count; i++)
    if (!wp_host.servers[i].is_down) call.candidates |= UINT64_C(1) << i;
  return call;
}
static inline const char *wp_test_changed(wp_named *all, const char *name) {
  wp_named *found = wp_named_find(all, wp_text_of(name));
  return found ? found->value : NULL;
}
static inline uint64_t wp_test_counted(const char *name) {
  wp_named *found = wp_named_find(wp_host.counters, wp_text_of(name));
  return found ? found->count : 0;
}

// What the plugin calls.

#define WP_HOST __attribute__((unused)) static
WP_HOST bool wp_fleet_is_down(uint32_t index) { return wp_host.servers[index].is_down; }
WP_HOST uint64_t wp_fleet_candidates(uint32_t word) {
  return word ? 0 : wp_test_pick_of().candidates;
}
WP_HOST uint32_t wp_fleet_in_flight(uint32_t index) { return wp_host.servers[index].in_flight; }
WP_HOST wp_numbers wp_fleet_all_in_flight(void) {
  static uint32_t all[WP_MOST];
  for (uint32_t i = 0; i < wp_count; i++) all[i] = wp_host.servers[i].in_flight;
  return (wp_numbers){all, wp_count};
}
WP_HOST uint32_t wp_fleet_latency_us(uint32_t index) { return wp_host.servers[index].latency_us; }
WP_HOST uint32_t wp_fleet_health(uint32_t index) { return wp_host.servers[index].health; }
WP_HOST wp_maybe_text wp_fleet_label(uint32_t index, wp_text key) {
  return wp_named_text(wp_host.servers[index].labels, key);
}
WP_HOST wp_text wp_upstream_name(void) { return WP_TEXT("test"); }
WP_HOST uint64_t wp_clock_wall_ms(void) { return wp_host.now_us / 1000; }
WP_HOST uint32_t wp_metrics_counter(wp_text name) {
  if (!wp_named_find(wp_host.counters, name)) wp_named_set(wp_host.counters, name, WP_TEXT(""));
  return (uint32_t)(wp_named_find(wp_host.counters, name) - wp_host.counters);
}
WP_HOST void wp_metrics_add(uint32_t counter, uint64_t value) {
  wp_host.counters[counter].count += value;
}
WP_HOST wp_text wp_request_method(void) { return wp_or(wp_host.method, "GET"); }
WP_HOST wp_text wp_request_authority(void) { return WP_TEXT("test"); }
WP_HOST wp_text wp_request_path(void) { return wp_or(wp_host.path, "/"); }
WP_HOST wp_text wp_request_query(void) { return wp_or(wp_host.query, ""); }
WP_HOST wp_maybe_text wp_request_header(wp_text key) {
  return wp_named_text(wp_host.request_headers, key);
}
WP_HOST wp_maybe_text wp_request_cookie(wp_text key) {
  return wp_named_text(wp_host.cookies, key);
}
WP_HOST wp_maybe_text wp_variables_variable(wp_text key) {
  (void)key;
  return (wp_maybe_text){0};
}
WP_HOST uint64_t wp_request_hash(wp_part part, wp_text name, uint64_t seed) {
  wp_text value = part == WP_PART_HEADER   ? wp_request_header(name).value
                  : part == WP_PART_COOKIE ? wp_request_cookie(name).value
                  : part == WP_PART_PATH   ? wp_request_path()
                                           : wp_request_query();
  uint64_t hash = 0xcbf29ce484222325 ^ seed;
  for (size_t i = 0; i < value.length; i++) hash = (hash ^ (uint8_t)value.at[i]) * 0x100000001b3;
  return hash ^ hash >> 32;
}
WP_HOST wp_maybe_text wp_exchange_attribute(wp_text key) {
  return wp_named_text(wp_host.attributes, key);
}
WP_HOST void wp_exchange_note(wp_text text) {
  snprintf(wp_host.note, sizeof wp_host.note, "%.*s", (int)text.length, text.at);
}
WP_HOST wp_text wp_exchange_key(void) { return WP_TEXT(""); }
WP_HOST uint64_t wp_attempt_memo(void) { return wp_host.memo; }
WP_HOST void wp_attempt_set_memo(uint64_t value) { wp_host.memo = value; }
WP_HOST uint32_t wp_response_status(void) { return wp_host.status; }
WP_HOST wp_maybe_text wp_response_header(wp_text key) {
  return wp_named_text(wp_host.response_headers, key);
}
WP_HOST bool wp_changes_set_path(wp_text text) {
  (void)text;
  return true;
}
WP_HOST bool wp_changes_set_query(wp_text text) {
  (void)text;
  return true;
}
WP_HOST bool wp_changes_set_request_header(wp_text key, wp_text value) {
  return wp_named_set(wp_host.changed_request, key, value);
}
WP_HOST bool wp_changes_remove_request_header(wp_text key) {
  return wp_named_set(wp_host.changed_request, key, WP_TEXT(""));
}
WP_HOST bool wp_changes_set_response_header(wp_text key, wp_text value) {
  return wp_named_set(wp_host.changed_response, key, value);
}
WP_HOST bool wp_changes_remove_response_header(wp_text key) {
  return wp_named_set(wp_host.changed_response, key, WP_TEXT(""));
}
WP_HOST bool wp_changes_set_attribute(wp_text key, wp_text value) {
  return wp_named_set(wp_host.attributes, key, value);
}
WP_HOST bool wp_changes_take_route(wp_text name) {
  return snprintf(wp_host.route, 64, "%.*s", (int)name.length, name.at) > 0;
}
WP_HOST bool wp_changes_take_upstream(wp_text name) {
  return snprintf(wp_host.upstream, 64, "%.*s", (int)name.length, name.at) > 0;
}
WP_HOST bool wp_changes_delay(uint64_t us) {
  wp_host.delay_us = us;
  return true;
}
WP_HOST bool wp_changes_answer(uint32_t status, wp_text body) {
  wp_host.answer.status = status;
  return snprintf(wp_host.answer.body, sizeof wp_host.answer.body, "%.*s", (int)body.length,
                  body.at) >= 0;
}
WP_HOST void wp_log_write(wp_level level, wp_text line) {
  (void)level;
  snprintf(wp_host.log, sizeof wp_host.log, "%.*s", (int)line.length, line.at);
}
#endif
