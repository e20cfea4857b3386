// Two plugins in one component: a policy that keeps each tenant on a server of its own, and a hook
// that counts the requests of tenants, and masks a word in bodies.

#include "waypost.h"

#define TENANTS 16

static wp_text header, mask;
static struct {
  wp_text name;
  uint32_t counter;
  uint64_t count;
} tenants[TENANTS + 1]; // `other` at the end
static size_t tenant_count;

#define HEADER "\"header\": {\"type\": \"string\", \"default\": \"x-tenant\"}"

static wp_about describe(wp_kind kind) {
  if (kind == WP_POLICY)
    return (wp_about){
        .summary = "By the hash of a header, else the least loaded server",
        .settings =
            "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {" HEADER
            "}}",
    };
  return (wp_about){
      .summary = "Counts requests by tenant",
      .settings =
          "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {" HEADER ", "
          "\"tenants\": {\"type\": \"array\", \"items\": {\"type\": \"string\"}}, "
          "\"mask\": {\"type\": \"string\"}}, \"required\": [\"tenants\"]}",
  };
}

static bool is_name(wp_text text) {
  for (size_t i = 0; i < text.length; i++)
    if (!text.at[i] || !strchr("abcdefghijklmnopqrstuvwxyz0123456789_", text.at[i])) return false;
  return text.length > 0 && text.length < 32;
}

static bool configure(wp_kind kind, wp_settings *settings, wp_sharing *sharing) {
  header = wp_setting_text(settings, "header", "x-tenant");
  if (header.length == 0) return wp_refuse(settings, "header", "`header` must not be empty");
  if (kind == WP_POLICY) return wp_settled(settings);

  *sharing = WP_PER_PROCESS; // one instance, so that the numbers are those of all workers
  wp_text names[TENANTS + 1];
  mask = wp_setting_text(settings, "mask", "");
  tenant_count = wp_setting_texts(settings, "tenants", names, TENANTS);
  if (!wp_settled(settings)) return false;
  if (tenant_count == 0) return wp_refuse(settings, "tenants", "`tenants` is missing");
  names[tenant_count] = WP_TEXT("other");
  for (size_t i = 0; i <= tenant_count; i++) {
    char name[64];
    if (!is_name(names[i]))
      return wp_refuse(settings, "tenants", "a tenant is no name of a counter");
    snprintf(name, sizeof name, "requests_%.*s", (int)names[i].length, names[i].at);
    tenants[i].name = names[i];
    tenants[i].counter = wp_metrics_counter(wp_text_of(name));
    tenants[i].count = 0;
  }
  return true;
}

// One server for each tenant, by a hash of its name; the least loaded one for everybody else.
static void update(const wp_endpoint *endpoints, size_t count) { (void)endpoints, (void)count; }

static uint32_t pick(const wp_pick *call) {
  wp_maybe_text tenant = wp_request_header(header);
  wp_numbers candidates = wp_candidates(call);
  if (tenant.is_some && tenant.value.length > 0)
    return candidates.at[wp_request_hash(WP_PART_HEADER, header, 0) % candidates.count];

  wp_numbers loads = wp_fleet_all_in_flight();
  uint32_t best = candidates.at[0];
  for (size_t i = 1; i < candidates.count; i++)
    if (loads.at[candidates.at[i]] < loads.at[best]) best = candidates.at[i];
  return best;
}

// Counts the requests of some tenants, and stamps what it has counted.
static bool attach(uint32_t place, wp_settings *settings) {
  (void)place;
  return wp_settled(settings);
}

static wp_verdict on_request(const wp_call *call) {
  (void)call;
  wp_maybe_text tenant = wp_request_header(header);
  size_t which = 0;
  while (which < tenant_count && !(tenant.is_some && wp_equal(tenants[which].name, tenant.value)))
    which++;
  char count[24];
  snprintf(count, sizeof count, "%llu", (unsigned long long)++tenants[which].count);
  wp_metrics_add(tenants[which].counter, 1);
  wp_changes_set_request_header(WP_TEXT("x-counted-as"), tenants[which].name);
  wp_changes_set_response_header(WP_TEXT("x-counted"), wp_text_of(count));
  // Whoever does not ask for a body pays nothing for it.
  if (mask.length) wp_bodies_want_request_body(wp_whole(65536, WP_PASSED));
  return WP_PROCEED;
}

// Masks a word in bodies, of requests and of answers.
static void on_response(const wp_call *call) {
  (void)call;
  if (mask.length) wp_bodies_want_response_body(wp_whole(65536, WP_PASSED), WP_DECODED);
}

static wp_verdict on_body(const wp_call *call, wp_body body) {
  (void)call;
  static char masked[65536];
  memcpy(masked, body.bytes.length ? body.bytes.at : "", body.bytes.length);
  for (size_t i = 0; i + mask.length <= body.bytes.length; i++)
    if (memcmp(masked + i, mask.at, mask.length) == 0) memset(masked + i, '*', mask.length);
  wp_bodies_set_body((wp_text){masked, body.bytes.length});
  return WP_PROCEED;
}

WAYPOST(configure, describe)
WAYPOST_POLICY(update, pick)
WAYPOST_HOOK(attach)
WAYPOST_ON_REQUEST(on_request)
WAYPOST_ON_RESPONSE(on_response)
WAYPOST_ON_REQUEST_BODY(on_body)
WAYPOST_ON_RESPONSE_BODY(on_body)
