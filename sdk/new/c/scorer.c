// A scorer: the fewer requests a server has in progress, the better; one with `most` of them or
// more is as bad as any.

#include "waypost.h"

#define BEST 65535

static int64_t most;

static wp_about describe(wp_kind kind) {
  (void)kind;
  return (wp_about){
      .summary = "The servers with the fewest requests in progress",
      .settings = "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": "
                  "{\"most\": {\"type\": \"integer\", \"minimum\": 1, "
                  "\"maximum\": 1000, \"default\": 10}}}",
  };
}

static bool configure(wp_kind kind, wp_settings *settings, wp_sharing *sharing) {
  (void)kind, (void)sharing;
  most = wp_setting_number(settings, "most", 1, 1000, 10);
  return wp_settled(settings);
}

static void update(const wp_endpoint *endpoints, size_t count) { (void)endpoints, (void)count; }

static void score(const wp_choice *choice, uint16_t *scores) {
  (void)choice;
  wp_numbers loads = wp_fleet_all_in_flight();
  for (size_t i = 0; i < loads.count; i++)
    if (loads.at[i] < most) scores[i] = BEST * (most - loads.at[i]) / most;
}

WAYPOST(configure, describe)
WAYPOST_SCORER(update, score)
