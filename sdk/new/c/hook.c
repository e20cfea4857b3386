// A hook: a request has to name its tenant in a header, or is answered with a 401. The server, the
// log and other hooks learn the tenant.

#include "waypost.h"

static wp_text header;

static wp_about describe(wp_kind kind) {
  (void)kind;
  return (wp_about){
      .summary = "Refuses requests that name no tenant",
      .settings = "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": "
                  "{\"header\": {\"type\": \"string\", \"default\": \"x-tenant\"}}}",
  };
}

static bool configure(wp_kind kind, wp_settings *settings, wp_sharing *sharing) {
  (void)kind, (void)sharing;
  header = wp_setting_text(settings, "header", "x-tenant");
  return wp_settled(settings);
}

static bool attach(uint32_t place, wp_settings *settings) {
  (void)place;
  return wp_settled(settings);
}

static wp_verdict on_request(const wp_call *call) {
  (void)call;
  char text[128];
  wp_maybe_text tenant = wp_request_header(header);
  if (!tenant.is_some) {
    wp_exchange_note(WP_TEXT("no tenant"));
    snprintf(text, sizeof text, "say who you are: %.*s\n", (int)header.length, header.at);
    wp_changes_answer(401, wp_text_of(text));
    return WP_ANSWER;
  }
  snprintf(text, sizeof text, "tenant %.*s", (int)tenant.value.length, tenant.value.at);
  wp_exchange_note(wp_text_of(text));
  wp_changes_set_request_header(WP_TEXT("x-authenticated-tenant"), tenant.value);
  wp_changes_set_attribute(WP_TEXT("tenant"), tenant.value);
  return WP_PROCEED;
}

WAYPOST(configure, describe)
WAYPOST_HOOK(attach)
WAYPOST_ON_REQUEST(on_request)
