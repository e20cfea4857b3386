// What `measure.py` measures: calls one function of the contract, `call`, as often as `times` says, in
// each call of the phase that has the function.
//
// Built once for each set of exports: `-DWITH_RESPONSE` and so on.

#include "waypost.h"

static wp_text call_name;
static int64_t times;
static uint32_t counter;
static uint64_t sum; // so that no call is left out

static wp_about describe(wp_kind kind) {
  (void)kind;
  return (wp_about){.summary = "Calls one function of the contract"};
}

static bool configure(wp_kind kind, wp_settings *settings, wp_sharing *sharing) {
  (void)kind, (void)sharing;
  call_name = wp_setting_text(settings, "call", "");
  times = wp_setting_number(settings, "times", 0, 10000, 0);
  counter = wp_metrics_counter(WP_TEXT("calls"));
  return wp_settled(settings);
}

#define TRY(name, what)                                                                           \
  if (wp_equal(call_name, WP_TEXT(name))) {                                                       \
    for (int64_t i = 0; i < times; i++) what;                                                     \
    return;                                                                                       \
  }

__attribute__((unused)) static void of_fleet(void) {
  TRY("fleet.name", sum += wp_fleet_name(1).length)
  TRY("fleet.is-down", sum += wp_fleet_is_down(1))
  TRY("fleet.label", sum += wp_fleet_label(1, WP_TEXT("zone")).is_some)
  TRY("fleet.candidates", sum += wp_fleet_candidates(0))
  TRY("fleet.all-candidates", sum += wp_fleet_all_candidates().count)
  TRY("fleet.in-flight", sum += wp_fleet_in_flight(1))
  TRY("fleet.all-in-flight", sum += wp_fleet_all_in_flight().count)
  TRY("fleet.latency-us", sum += wp_fleet_latency_us(1))
  TRY("fleet.all-latency-us", sum += wp_fleet_all_latency_us().count)
  TRY("fleet.health", sum += wp_fleet_health(1))
  TRY("fleet.all-health", sum += wp_fleet_all_health().count)
  TRY("upstream.name", sum += wp_upstream_name().length)
  TRY("upstream.has-backups", sum += wp_upstream_has_backups())
  TRY("upstream.carries-streams", sum += wp_upstream_carries_streams())
  TRY("nginx.max-fails", sum += wp_nginx_max_fails(1))
  TRY("nginx.fail-timeout", sum += wp_nginx_fail_timeout(1))
  TRY("nginx.route", sum += wp_nginx_route(1).length)
  TRY("attempt.memo", sum += wp_attempt_memo())
  TRY("attempt.set-memo", wp_attempt_set_memo(sum))
  TRY("attempt.add-response-header", wp_attempt_add_response_header(WP_TEXT("x-a"), WP_TEXT("b")))
  TRY("attempt.set-refusal-status", wp_attempt_set_refusal_status(503))
  TRY("attempt.failure", sum += wp_attempt_failure())
  TRY("attempt.bytes-sent", sum += wp_attempt_bytes_sent())
  TRY("attempt.bytes-received", sum += wp_attempt_bytes_received())
}

__attribute__((unused)) static void of_request(void) {
  wp_text key = WP_TEXT("key"), agent = WP_TEXT("user-agent");
  int64_t number = 0;
  uint64_t level = 0;
  bool is = false;
  wp_maybe_text value = {0};
  TRY("clock.wall-ms", sum += wp_clock_wall_ms())
  TRY("metrics.add", wp_metrics_add(counter, 1))
  TRY("log.write", wp_log_write(WP_DEBUG, WP_TEXT("a line")))
  TRY("log.write-exchange", wp_log_write_exchange(WP_DEBUG, WP_TEXT("a line")))
  TRY("nginx.check-variable", sum += wp_nginx_check_variable(WP_TEXT("host")).is_some)
  TRY("nginx.check-early-variable", sum += wp_nginx_check_early_variable(WP_TEXT("host")).is_some)
  TRY("request.method", sum += wp_request_method().length)
  TRY("request.scheme", sum += wp_request_scheme().length)
  TRY("request.authority", sum += wp_request_authority().length)
  TRY("request.path", sum += wp_request_path().length)
  TRY("request.query", sum += wp_request_query().length)
  TRY("request.decoded-path", sum += wp_request_decoded_path().length)
  TRY("request.version", sum += wp_request_version())
  TRY("request.header", sum += wp_request_header(agent).is_some)
  TRY("request.header-all", sum += wp_request_header_all(agent).count)
  TRY("request.headers", sum += wp_request_headers().count)
  TRY("request.cookie", sum += wp_request_cookie(WP_TEXT("session")).is_some)
  TRY("request.hash", sum += wp_request_hash(WP_PART_HEADER, agent, 0))
  TRY("connection.client-address", sum += wp_connection_client_address().is_some)
  TRY("connection.peer-address", sum += wp_connection_peer_address().is_some)
  TRY("connection.peer-port", sum += wp_connection_peer_port())
  TRY("connection.local-address", sum += wp_connection_local_address().is_some)
  TRY("connection.local-port", sum += wp_connection_local_port())
  TRY("connection.server-name", sum += wp_connection_server_name().is_some)
  TRY("connection.alpn", sum += wp_connection_alpn().is_some)
  TRY("connection.tls-version", sum += wp_connection_tls_version().is_some)
  TRY("connection.certificate-subject", sum += wp_connection_certificate_subject().is_some)
  TRY("connection.certificate-fingerprint",
      sum += wp_connection_certificate_fingerprint().is_some)
  TRY("variables.variable", sum += wp_variables_variable(WP_TEXT("request_uri")).is_some)
  TRY("exchange.attribute", sum += wp_exchange_attribute(WP_TEXT("user")).is_some)
  TRY("exchange.key", sum += wp_exchange_key().length)
  TRY("exchange.note", wp_exchange_note(WP_TEXT("n")))
  TRY("exchange.is-note-wanted", sum += wp_exchange_is_note_wanted())
  TRY("changes.set-method", wp_changes_set_method(WP_TEXT("POST")))
  TRY("changes.set-path", wp_changes_set_path(WP_TEXT("/other")))
  TRY("changes.set-query", wp_changes_set_query(WP_TEXT("a=b")))
  TRY("changes.set-request-header", wp_changes_set_request_header(WP_TEXT("x-a"), WP_TEXT("b")))
  TRY("changes.add-request-header", wp_changes_add_request_header(WP_TEXT("x-a"), WP_TEXT("b")))
  TRY("changes.remove-request-header", wp_changes_remove_request_header(WP_TEXT("x-a")))
  TRY("changes.set-response-header", wp_changes_set_response_header(WP_TEXT("x-a"), WP_TEXT("b")))
  TRY("changes.add-response-header", wp_changes_add_response_header(WP_TEXT("x-a"), WP_TEXT("b")))
  TRY("changes.remove-response-header", wp_changes_remove_response_header(WP_TEXT("x-a")))
  TRY("changes.set-attribute", wp_changes_set_attribute(WP_TEXT("a"), WP_TEXT("b")))
  TRY("changes.answer", wp_changes_answer(403, WP_TEXT("no")))
  TRY("changes.delay", wp_changes_delay(0))
  TRY("changes.take-route", wp_changes_take_route(WP_TEXT("other")))
  TRY("changes.take-upstream", wp_changes_take_upstream(WP_TEXT("other")))
  TRY("bodies.want-request-body", wp_bodies_want_request_body(WP_WATCH))
  TRY("checks.verify-password", wp_checks_verify_password(WP_TEXT("{SHA}x"), WP_TEXT("secret")))
  TRY("checks.check-hash", sum += wp_checks_check_hash(WP_TEXT("$5$rounds=1000$a$b")).is_some)
  TRY("store.is-elsewhere", sum += wp_store_is_elsewhere())
  TRY("store.get", sum += wp_store_get(key, &value))
  TRY("store.set", sum += wp_store_set(key, WP_TEXT("value"), 0))
  TRY("store.add", sum += wp_store_add(key, 1, 0, &number))
  TRY("store.compare-and-swap",
      sum += wp_store_compare_and_swap(key, (wp_maybe_text){0}, WP_TEXT("a"), 0, &is))
  TRY("store.delete", sum += wp_store_delete(key, &is))
  TRY("store.fill", sum += wp_store_fill(key, 1, 1000, 1000000, &level))
}

__attribute__((unused)) static void of_response(void) {
  TRY("response.status", sum += wp_response_status())
  TRY("response.header", sum += wp_response_header(WP_TEXT("content-type")).is_some)
  TRY("response.header-all", sum += wp_response_header_all(WP_TEXT("content-type")).count)
  TRY("response.is-local", sum += wp_response_is_local())
  TRY("bodies.want-response-body", wp_bodies_want_response_body(WP_WATCH, WP_AS_SENT))
}

__attribute__((unused)) static void of_body(wp_body body) {
  TRY("bodies.set-body", wp_bodies_set_body(body.bytes))
  TRY("bodies.trailers", sum += wp_bodies_trailers().count)
}

#undef TRY
WAYPOST(configure, describe)

#ifdef WITH_POLICY
static void update(const wp_endpoint *endpoints, size_t count) { (void)endpoints, (void)count; }
static uint32_t pick(const wp_pick *call) {
  of_fleet();
  return (uint32_t)__builtin_ctzll(call->candidates | 1ull << 63);
}
WAYPOST_POLICY(update, pick)
#endif
#ifdef WITH_FILTER
static void update(const wp_endpoint *endpoints, size_t count) { (void)endpoints, (void)count; }
static uint64_t narrow(uint32_t word, uint64_t candidates, const wp_choice *choice) {
  (void)word, (void)choice;
  return candidates;
}
static bool may_be_ignored(void) { return true; }
WAYPOST_FILTER(update, narrow, may_be_ignored)
#endif
#ifdef WITH_SCORER
static void update(const wp_endpoint *endpoints, size_t count) { (void)endpoints, (void)count; }
static void score(const wp_choice *choice, uint16_t *scores) { (void)choice, (void)scores; }
WAYPOST_SCORER(update, score)
#endif
#ifdef WITH_DONE
static void done(uint64_t lease, uint32_t index, wp_outcome outcome) {
  sum += lease + index + outcome.status;
}
WAYPOST_DONE(done)
#endif

#ifdef WITH_HOOK
static bool attach(uint32_t place, wp_settings *settings) {
  (void)place;
  return wp_settled(settings);
}
static wp_verdict on_request(const wp_call *call) {
  sum += call->exchange;
  of_request();
#ifdef WITH_BODY
  wp_bodies_want_request_body(wp_whole(65536, WP_PASSED));
#endif
  return WP_PROCEED;
}
static wp_verdict on_request_body(const wp_call *call, wp_body body) {
  sum += call->exchange + body.bytes.length;
  of_body(body);
  return WP_PROCEED;
}
WAYPOST_HOOK(attach)
WAYPOST_ON_REQUEST(on_request)
WAYPOST_ON_REQUEST_BODY(on_request_body)
#endif
#ifdef WITH_RESPONSE
static void on_response(const wp_call *call) {
  sum += call->exchange;
  of_response();
#ifdef WITH_RESPONSE_BODY
  wp_bodies_want_response_body(wp_whole(65536, WP_PASSED), WP_AS_SENT);
#endif
}
static wp_verdict on_response_body(const wp_call *call, wp_body body) {
  sum += call->exchange + body.bytes.length;
  return WP_PROCEED;
}
WAYPOST_ON_RESPONSE(on_response)
WAYPOST_ON_RESPONSE_BODY(on_response_body)
#endif
#ifdef WITH_END
static void on_end(const wp_call *call, wp_summary summary) {
  sum += call->exchange + summary.status;
}
WAYPOST_ON_END(on_end)
#endif
