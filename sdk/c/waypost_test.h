// A double of the host: include it behind the plugin, in a program that is compiled natively.
//
// It answers what a test has said in `wp_host`, and keeps there what the plugin has changed.
// Hashes are not those of the host (XXH64), but as good for telling values apart. What the plugin
// calls is in `waypost_double.h`.
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
  wp_named files[WP_MOST], trailers[WP_MOST];
  wp_asked (*answers)(const wp_request *, wp_response *); // answers in place of upstreams
  uint32_t status;
  uint64_t now_us;
  // What the plugin has said.
  wp_named changed_request[WP_MOST], changed_response[WP_MOST], counters[WP_MOST];
  struct {
    uint32_t status;
    char body[1024];
  } answer;
  uint64_t delay_us, memo;
  uint32_t refusal_status;
  wp_named store[WP_MOST];
  uint32_t asked; // requests to upstreams
  wp_manner wanted_request, wanted_response;
  bool wants_request, wants_response;
  wp_form wanted_form;
  struct {
    char hash[256], password[256];
  } check;
  char log[1024], note[256], upstream[64], route[64];
  // What is at hand in a call about a body: what it has been given in its place.
  wp_text body;
  bool may_be_replaced;
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
// A file that the plugin may read.
static inline void wp_test_file(const char *path, const char *content) {
  wp_named_set(wp_host.files, wp_text_of(path), wp_text_of(content));
}
// What a hook makes of a body, or a piece of it: `wp_test_body(on_request_body, "{}", true)`,
// behind the call that has asked for it. Until the next such call.
static inline wp_text wp_test_body(wp_verdict (*on_body)(const wp_call *, wp_body),
                                   const char *piece, bool last) {
  wp_call call = {.exchange = 1, .now_us = wp_host.now_us};
  wp_manner *wanted = wp_host.wants_response ? &wp_host.wanted_response : &wp_host.wanted_request;
  wp_host.body = wp_text_of(piece);
  wp_host.may_be_replaced = wanted->manner != WP_WATCH.manner;
  on_body(&call, (wp_body){wp_text_of(piece), last});
  wp_host.may_be_replaced = false;
  return wp_host.body;
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

#include "waypost_double.h"
#endif
