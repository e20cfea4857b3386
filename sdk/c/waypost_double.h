// The host's functions as a plugin under test calls them: answered from `wp_host`, see
// `waypost_test.h`.

#define WP_HOST __attribute__((unused)) static
WP_HOST wp_text wp_fleet_name(uint32_t index) {
  static char name[16];
  return (wp_text){name, (size_t)snprintf(name, sizeof name, "s%u", index)};
}
WP_HOST bool wp_fleet_is_down(uint32_t index) { return wp_host.servers[index].is_down; }
WP_HOST uint64_t wp_fleet_candidates(uint32_t word) {
  return word ? 0 : wp_test_pick_of().candidates;
}
WP_HOST uint32_t wp_fleet_in_flight(uint32_t index) { return wp_host.servers[index].in_flight; }
#define WP_ALL(field)                                                                             \
  static uint32_t all[WP_MOST];                                                                   \
  for (uint32_t i = 0; i < wp_count; i++) all[i] = wp_host.servers[i].field;                      \
  return (wp_numbers){all, wp_count}
WP_HOST wp_numbers wp_fleet_all_in_flight(void) { WP_ALL(in_flight); }
WP_HOST wp_numbers wp_fleet_all_latency_us(void) { WP_ALL(latency_us); }
WP_HOST wp_numbers wp_fleet_all_health(void) { WP_ALL(health); }
WP_HOST wp_words wp_fleet_all_candidates(void) {
  static uint64_t word;
  word = wp_fleet_candidates(0);
  return (wp_words){&word, wp_count > 0};
}
WP_HOST uint32_t wp_fleet_latency_us(uint32_t index) { return wp_host.servers[index].latency_us; }
WP_HOST uint32_t wp_fleet_health(uint32_t index) { return wp_host.servers[index].health; }
WP_HOST wp_maybe_text wp_fleet_label(uint32_t index, wp_text key) {
  return wp_named_text(wp_host.servers[index].labels, key);
}
WP_HOST wp_text wp_upstream_name(void) { return WP_TEXT("test"); }
WP_HOST bool wp_upstream_has_backups(void) { return false; }
WP_HOST bool wp_upstream_carries_streams(void) { return false; }
WP_HOST wp_maybe_text wp_nothing(wp_text key) {
  (void)key;
  return (wp_maybe_text){0};
}
WP_HOST wp_maybe_text wp_nginx_check_variable(wp_text name) { return wp_nothing(name); }
WP_HOST wp_maybe_text wp_nginx_check_early_variable(wp_text name) { return wp_nothing(name); }
WP_HOST uint32_t wp_nginx_max_fails(uint32_t index) {
  (void)index;
  return 1;
}
WP_HOST uint64_t wp_nginx_fail_timeout(uint32_t index) {
  (void)index;
  return 10;
}
WP_HOST wp_text wp_nginx_route(uint32_t index) {
  (void)index;
  return WP_TEXT("");
}
WP_HOST uint64_t wp_clock_wall_ms(void) { return wp_host.now_us / 1000; }
WP_HOST uint32_t wp_metrics_counter(wp_text name) {
  if (!wp_named_find(wp_host.counters, name)) wp_named_set(wp_host.counters, name, WP_TEXT(""));
  return (uint32_t)(wp_named_find(wp_host.counters, name) - wp_host.counters);
}
WP_HOST void wp_metrics_add(uint32_t counter, uint64_t value) {
  wp_host.counters[counter].count += value;
}
WP_HOST wp_text wp_request_method(void) { return wp_or(wp_host.method, "GET"); }
WP_HOST wp_text wp_request_scheme(void) { return WP_TEXT("http"); }
WP_HOST wp_text wp_request_decoded_path(void) { return wp_or(wp_host.path, "/"); }
WP_HOST wp_version wp_request_version(void) { return WP_HTTP11; }
WP_HOST wp_headers wp_named_all(const wp_named *all) {
  static wp_header headers[WP_MOST];
  size_t count = 0;
  for (; count < WP_MOST && all[count].name[0]; count++)
    headers[count] = (wp_header){wp_text_of(all[count].name), wp_text_of(all[count].value)};
  return (wp_headers){headers, count};
}
WP_HOST wp_texts wp_named_texts(wp_named *all, wp_text name) {
  static wp_text value;
  wp_maybe_text found = wp_named_text(all, name);
  value = found.value;
  return (wp_texts){&value, found.is_some};
}
WP_HOST wp_headers wp_request_headers(void) { return wp_named_all(wp_host.request_headers); }
WP_HOST wp_texts wp_request_header_all(wp_text name) {
  return wp_named_texts(wp_host.request_headers, name);
}
WP_HOST wp_maybe_address wp_loopback(void) {
  return (wp_maybe_address){true, {.is_ipv6 = false, .ipv4 = {127, 0, 0, 1}}};
}
WP_HOST wp_maybe_address wp_connection_client_address(void) { return wp_loopback(); }
WP_HOST wp_maybe_address wp_connection_peer_address(void) { return wp_loopback(); }
WP_HOST wp_maybe_address wp_connection_local_address(void) { return wp_loopback(); }
WP_HOST uint32_t wp_connection_peer_port(void) { return 50000; }
WP_HOST uint32_t wp_connection_local_port(void) { return 80; }
WP_HOST wp_maybe_text wp_connection_server_name(void) { return (wp_maybe_text){0}; }
WP_HOST wp_maybe_text wp_connection_alpn(void) { return (wp_maybe_text){0}; }
WP_HOST wp_maybe_text wp_connection_tls_version(void) { return (wp_maybe_text){0}; }
WP_HOST wp_maybe_text wp_connection_certificate_subject(void) { return (wp_maybe_text){0}; }
WP_HOST wp_maybe_text wp_connection_certificate_fingerprint(void) { return (wp_maybe_text){0}; }
WP_HOST wp_text wp_request_authority(void) { return WP_TEXT("test"); }
WP_HOST wp_text wp_request_path(void) { return wp_or(wp_host.path, "/"); }
WP_HOST wp_text wp_request_query(void) { return wp_or(wp_host.query, ""); }
WP_HOST wp_maybe_text wp_request_header(wp_text key) {
  return wp_named_text(wp_host.request_headers, key);
}
WP_HOST wp_maybe_text wp_request_cookie(wp_text key) {
  return wp_named_text(wp_host.cookies, key);
}
WP_HOST wp_maybe_text wp_variables_variable(wp_text name) { return wp_nothing(name); }
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
WP_HOST bool wp_exchange_is_note_wanted(void) { return true; }
WP_HOST wp_text wp_exchange_key(void) { return WP_TEXT(""); }
WP_HOST uint64_t wp_attempt_memo(void) { return wp_host.memo; }
WP_HOST void wp_attempt_set_memo(uint64_t value) { wp_host.memo = value; }
WP_HOST void wp_attempt_add_response_header(wp_text key, wp_text value) {
  wp_named_set(wp_host.changed_response, key, value);
}
WP_HOST void wp_attempt_set_refusal_status(uint32_t status) { wp_host.refusal_status = status; }
WP_HOST wp_failure wp_attempt_failure(void) { return WP_FAILURE_NONE; }
WP_HOST uint64_t wp_attempt_bytes_sent(void) { return 0; }
WP_HOST uint64_t wp_attempt_bytes_received(void) { return 0; }
WP_HOST bool wp_response_is_local(void) { return false; }
WP_HOST wp_texts wp_response_header_all(wp_text name) {
  return wp_named_texts(wp_host.response_headers, name);
}
WP_HOST uint32_t wp_response_status(void) { return wp_host.status; }
WP_HOST wp_maybe_text wp_response_header(wp_text key) {
  return wp_named_text(wp_host.response_headers, key);
}
WP_HOST bool wp_changes_set_method(wp_text text) {
  (void)text;
  return true;
}
WP_HOST bool wp_changes_set_path(wp_text text) {
  (void)text;
  return true;
}
WP_HOST bool wp_changes_add_request_header(wp_text key, wp_text value) {
  return wp_named_set(wp_host.changed_request, key, value);
}
WP_HOST bool wp_changes_add_response_header(wp_text key, wp_text value) {
  return wp_named_set(wp_host.changed_response, key, value);
}
WP_HOST wp_maybe_text wp_changes_check_route(wp_text name) { return wp_nothing(name); }
WP_HOST wp_maybe_text wp_changes_check_upstream(wp_text name) { return wp_nothing(name); }
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
WP_HOST void wp_log_write_exchange(wp_level level, wp_text line) { wp_log_write(level, line); }

WP_HOST bool wp_bodies_want_request_body(wp_manner how) {
  wp_host.wanted_request = how;
  return wp_host.wants_request = true;
}
WP_HOST bool wp_bodies_want_response_body(wp_manner how, wp_form form) {
  wp_host.wanted_response = how;
  wp_host.wanted_form = form;
  return wp_host.wants_response = true;
}
WP_HOST bool wp_bodies_set_body(wp_text body) {
  static char kept[65536]; // what was given is the plugin's own
  if (!wp_host.may_be_replaced) return false;
  size_t length = body.length < sizeof kept ? body.length : sizeof kept;
  memmove(kept, length ? body.at : "", length);
  wp_host.body = (wp_text){kept, length};
  return true;
}
WP_HOST wp_headers wp_bodies_trailers(void) { return wp_named_all(wp_host.trailers); }

WP_HOST void wp_checks_verify_password(wp_text hash, wp_text password) {
  snprintf(wp_host.check.hash, 256, "%.*s", (int)hash.length, hash.at);
  snprintf(wp_host.check.password, 256, "%.*s", (int)password.length, password.at);
}
WP_HOST wp_maybe_text wp_checks_check_hash(wp_text hash) { return wp_nothing(hash); }
WP_HOST bool wp_files_is_there(wp_text path) {
  return wp_named_find(wp_host.files, path) != NULL;
}
WP_HOST bool wp_files_read(wp_text path, wp_maybe_text *content, wp_text *why) {
  (void)why;
  *content = wp_named_text(wp_host.files, path);
  return true;
}

WP_HOST wp_asked wp_upstream_requests_send(const wp_request *request, wp_response *response) {
  wp_host.asked++;
  return wp_host.answers ? wp_host.answers(request, response) : WP_NONE_LIVE;
}
WP_HOST wp_asked wp_upstream_requests_send_and_leave(const wp_request *request) {
  (void)request;
  wp_host.asked++;
  return WP_ASKED;
}

// Nothing expires, and values have 255 bytes.
WP_HOST bool wp_store_is_elsewhere(void) { return false; }
WP_HOST wp_stored wp_store_get(wp_text key, wp_maybe_text *value) {
  *value = wp_named_text(wp_host.store, key);
  return WP_STORED;
}
WP_HOST wp_stored wp_store_set(wp_text key, wp_text value, uint64_t ttl_ms) {
  (void)ttl_ms;
  wp_named_set(wp_host.store, key, value);
  return WP_STORED;
}
WP_HOST wp_stored wp_store_add(wp_text key, int64_t amount, uint64_t ttl_ms, int64_t *sum) {
  wp_maybe_text before = wp_named_text(wp_host.store, key);
  char *end = "", digits[24];
  long long number = before.is_some ? strtoll(before.value.at, &end, 10) : 0;
  if (*end) return WP_STORE_WRONG_KIND;
  *sum = number + amount;
  snprintf(digits, sizeof digits, "%lld", (long long)*sum);
  return wp_store_set(key, wp_text_of(digits), ttl_ms);
}
WP_HOST wp_stored wp_store_compare_and_swap(wp_text key, wp_maybe_text expected, wp_text value,
                                            uint64_t ttl_ms, bool *is_done) {
  wp_maybe_text before = wp_named_text(wp_host.store, key);
  *is_done = before.is_some == expected.is_some &&
             (!before.is_some || wp_equal(before.value, expected.value));
  return *is_done ? wp_store_set(key, value, ttl_ms) : WP_STORED;
}
WP_HOST wp_stored wp_store_delete(wp_text key, bool *was_there) {
  wp_named *found = wp_named_find(wp_host.store, key);
  *was_there = found != NULL;
  wp_named *last = wp_host.store + WP_MOST - 1;
  if (found) memmove(found, found + 1, (size_t)(last - found) * sizeof *found);
  return WP_STORED;
}
WP_HOST wp_stored wp_store_fill(wp_text key, uint64_t amount, uint64_t leak, uint64_t capacity,
                                uint64_t *level) {
  (void)leak;
  int64_t before = 0;
  *level = 0;
  if (wp_named_find(wp_host.store, key)) {
    wp_stored stored = wp_store_add(key, 0, 0, &before);
    if (stored != WP_STORED) return stored;
    *level = (uint64_t)before + amount;
  }
  return *level <= capacity ? wp_store_add(key, (int64_t)*level - before, 0, &before) : WP_STORED;
}
