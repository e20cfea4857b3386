// A filter: a request that names a zone in a header goes to servers of that zone, which is a label
// of theirs. Where none of them can be asked, to any.

#include "waypost.h"

static wp_text header;
static wp_maybe_text *zones; // of each server, by index
static size_t zone_count;

static wp_about describe(wp_kind kind) {
  (void)kind;
  return (wp_about){
      .summary = "The servers of the zone that a request names",
      .settings = "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": "
                  "{\"header\": {\"type\": \"string\", \"default\": \"x-zone\"}}}",
  };
}

static bool configure(wp_kind kind, wp_settings *settings, wp_sharing *sharing) {
  (void)kind, (void)sharing;
  header = wp_setting_text(settings, "header", "x-zone");
  return wp_settled(settings);
}

static void update(const wp_endpoint *endpoints, size_t count) {
  (void)endpoints;
  zone_count = count;
  zones = realloc(zones, count * sizeof *zones);
  for (size_t i = 0; i < count; i++) zones[i] = wp_fleet_label(i, WP_TEXT("zone"));
}

static uint64_t narrow(uint32_t word, uint64_t candidates, const wp_choice *choice) {
  (void)choice;
  wp_maybe_text zone = wp_request_header(header);
  if (!zone.is_some) return candidates;
  uint64_t own = 0;
  for (size_t bit = 0; bit < 64 && 64 * word + bit < zone_count; bit++) {
    wp_maybe_text of = zones[64 * word + bit];
    if (of.is_some && wp_equal(of.value, zone.value)) own |= UINT64_C(1) << bit;
  }
  return candidates & own;
}

static bool may_be_ignored(void) { return true; }

WAYPOST(configure, describe)
WAYPOST_FILTER(update, narrow, may_be_ignored)
