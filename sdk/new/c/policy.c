// A policy: one server for each tenant, by a hash of the header that names it; the least busy one
// for everybody else.

#include "waypost.h"

static wp_text header;

static wp_about describe(wp_kind kind) {
  (void)kind;
  return (wp_about){
      .summary = "One server for each tenant, else the least busy one",
      .settings = "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": "
                  "{\"header\": {\"type\": \"string\", \"default\": \"x-tenant\"}}}",
  };
}

static bool configure(wp_kind kind, wp_settings *settings, wp_sharing *sharing) {
  (void)kind, (void)sharing;
  header = wp_setting_text(settings, "header", "x-tenant");
  return wp_settled(settings);
}

static void update(const wp_endpoint *endpoints, size_t count) { (void)endpoints, (void)count; }

static void note(wp_text tenant) {
  char text[64];
  snprintf(text, sizeof text, "tenant %.*s", (int)tenant.length, tenant.at);
  wp_exchange_note(wp_text_of(text));
}

static uint32_t pick(const wp_pick *call) {
  wp_numbers candidates = wp_candidates(call);
  wp_maybe_text tenant = wp_request_header(header);
  if (tenant.is_some && tenant.value.length > 0) {
    note(tenant.value);
    return candidates.at[wp_request_hash(WP_PART_HEADER, header, 0) % candidates.count];
  }
  wp_exchange_note(WP_TEXT("no tenant"));
  wp_numbers loads = wp_fleet_all_in_flight();
  uint32_t best = candidates.at[0];
  for (size_t i = 1; i < candidates.count; i++)
    if (loads.at[candidates.at[i]] < loads.at[best]) best = candidates.at[i];
  return best;
}

WAYPOST(configure, describe)
WAYPOST_POLICY(update, pick)
