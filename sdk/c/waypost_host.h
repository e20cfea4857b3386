// The host's functions, each by its types in `wit/`. What a plugin calls is imported, and nothing
// else.
//
// A macro for each form that a function can have, which brings what the component model passes
// (texts as pointer and length, what is larger than a number by a pointer to it) into the form
// that C likes.

#ifdef __wasm__
#define WP_IMPORT(interface, name)                                                                \
  __attribute__((import_module("waypost:plugin/" interface "@0.2.0"), import_name(name)))
#define WP_NUMBER(result, function, interface, name)                                              \
  WP_IMPORT(interface, name) extern result function(void);
#define WP_OF_NUMBER(result, function, type, interface, name)                                     \
  WP_IMPORT(interface, name) extern result function(type number);
// What is larger than a number comes by a pointer to where it is to lie.
#define WP_GIVES(result, function, interface, name)                                               \
  WP_IMPORT(interface, name) extern void function##_core(result *);                               \
  static inline result function(void) {                                                           \
    result given;                                                                                 \
    function##_core(&given);                                                                      \
    return given;                                                                                 \
  }
#define WP_OF_INDEX(result, function, interface, name)                                            \
  WP_IMPORT(interface, name) extern void function##_core(uint32_t, result *);                     \
  static inline result function(uint32_t index) {                                                 \
    result given;                                                                                 \
    function##_core(index, &given);                                                               \
    return given;                                                                                 \
  }
#define WP_FINDS(result, function, interface, name)                                               \
  WP_IMPORT(interface, name) extern void function##_core(const char *, size_t, result *);         \
  static inline result function(wp_text key) {                                                    \
    result found = {0};                                                                           \
    function##_core(key.at, key.length, &found);                                                  \
    return found;                                                                                 \
  }
#define WP_INDEX_FINDS(result, function, interface, name)                                         \
  WP_IMPORT(interface, name)                                                                      \
  extern void function##_core(uint32_t, const char *, size_t, result *);                          \
  static inline result function(uint32_t index, wp_text key) {                                    \
    result found = {0};                                                                           \
    function##_core(index, key.at, key.length, &found);                                           \
    return found;                                                                                 \
  }
#define WP_TAKES_TEXT(result, function, interface, name)                                          \
  WP_IMPORT(interface, name) extern result function##_core(const char *, size_t);                 \
  static inline result function(wp_text text) { return function##_core(text.at, text.length); }
#define WP_TAKES_TEXTS(result, function, interface, name)                                         \
  WP_IMPORT(interface, name)                                                                      \
  extern result function##_core(const char *, size_t, const char *, size_t);                      \
  static inline result function(wp_text key, wp_text value) {                                     \
    return function##_core(key.at, key.length, value.at, value.length);                           \
  }
#define WP_TAKES_TOLD(function, interface, name)                                                  \
  WP_IMPORT(interface, name) extern void function##_core(uint32_t, const char *, size_t);         \
  static inline void function(wp_level level, wp_text line) {                                     \
    line = wp_utf8(line);                                                                         \
    function##_core(level, line.at, line.length);                                                 \
  }
#else
// Of the double.
#define WP_NUMBER(result, function, interface, name) static result function(void);
#define WP_OF_NUMBER(result, function, type, interface, name) static result function(type number);
#define WP_GIVES(result, function, interface, name) static result function(void);
#define WP_OF_INDEX(result, function, interface, name) static result function(uint32_t index);
#define WP_FINDS(result, function, interface, name) static result function(wp_text key);
#define WP_INDEX_FINDS(result, function, interface, name)                                         \
  static result function(uint32_t index, wp_text key);
#define WP_TAKES_TEXT(result, function, interface, name) static result function(wp_text text);
#define WP_TAKES_TEXTS(result, function, interface, name)                                         \
  static result function(wp_text key, wp_text value);
#define WP_TAKES_TOLD(function, interface, name)                                                  \
  static void function(wp_level level, wp_text line);
#endif

// What is told in words has to be UTF-8, and what clients send need not be: bytes that are not
// become `?`. As long as the next such text; 1,024 bytes at most.
static inline wp_text wp_utf8(wp_text text) {
  static uint8_t valid[1024];
  size_t count = text.length < sizeof valid ? text.length : sizeof valid, length;
  for (size_t i = 0; i < count; i += length) {
    const uint8_t *at = (const uint8_t *)text.at + i;
    length = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    bool is_valid = length > 0 && at[0] < 0xf5 && i + length <= count;
    for (size_t more = 1; is_valid && more < length; more++) is_valid = (at[more] & 0xc0) == 0x80;
    if (is_valid && length > 2) // neither a longer form than needed, nor a surrogate, nor too large
      is_valid = !(at[0] == 0xe0 && at[1] < 0xa0) && !(at[0] == 0xed && at[1] > 0x9f) &&
                 !(at[0] == 0xf0 && at[1] < 0x90) && !(at[0] == 0xf4 && at[1] > 0x8f);
    if (!is_valid) length = 1;
    if (is_valid) memcpy(valid + i, at, length);
    else valid[i] = '?';
  }
  return (wp_text){(const char *)valid, count};
}

WP_OF_INDEX(wp_text, wp_fleet_name, "fleet", "name")
WP_OF_NUMBER(bool, wp_fleet_is_down, uint32_t, "fleet", "is-down")
WP_INDEX_FINDS(wp_maybe_text, wp_fleet_label, "fleet", "label")
WP_OF_NUMBER(uint64_t, wp_fleet_candidates, uint32_t, "fleet", "candidates")
WP_GIVES(wp_words, wp_fleet_all_candidates, "fleet", "all-candidates")
WP_OF_NUMBER(uint32_t, wp_fleet_in_flight, uint32_t, "fleet", "in-flight")
WP_GIVES(wp_numbers, wp_fleet_all_in_flight, "fleet", "all-in-flight")
WP_OF_NUMBER(uint32_t, wp_fleet_latency_us, uint32_t, "fleet", "latency-us")
WP_GIVES(wp_numbers, wp_fleet_all_latency_us, "fleet", "all-latency-us")
WP_OF_NUMBER(uint32_t, wp_fleet_health, uint32_t, "fleet", "health")
WP_GIVES(wp_numbers, wp_fleet_all_health, "fleet", "all-health")
WP_GIVES(wp_text, wp_upstream_name, "upstream", "name")
WP_NUMBER(bool, wp_upstream_has_backups, "upstream", "has-backups")
WP_NUMBER(bool, wp_upstream_carries_streams, "upstream", "carries-streams")
WP_FINDS(wp_maybe_text, wp_nginx_check_variable, "nginx", "check-variable")
WP_FINDS(wp_maybe_text, wp_nginx_check_early_variable, "nginx", "check-early-variable")
WP_OF_NUMBER(uint32_t, wp_nginx_max_fails, uint32_t, "nginx", "max-fails")
WP_OF_NUMBER(uint64_t, wp_nginx_fail_timeout, uint32_t, "nginx", "fail-timeout")
WP_OF_INDEX(wp_text, wp_nginx_route, "nginx", "route")
WP_NUMBER(uint64_t, wp_clock_wall_ms, "clock", "wall-ms")
WP_TAKES_TEXT(uint32_t, wp_metrics_counter, "metrics", "counter")
WP_TAKES_TOLD(wp_log_write, "log", "write")
WP_TAKES_TOLD(wp_log_write_exchange, "log", "write-exchange")

// Granted by `request`.
WP_GIVES(wp_text, wp_request_method, "request", "method")
WP_GIVES(wp_text, wp_request_scheme, "request", "scheme")
WP_GIVES(wp_text, wp_request_authority, "request", "authority")
WP_GIVES(wp_text, wp_request_path, "request", "path")
WP_GIVES(wp_text, wp_request_query, "request", "query")
WP_GIVES(wp_text, wp_request_decoded_path, "request", "decoded-path")
WP_NUMBER(wp_version, wp_request_version, "request", "version")
WP_FINDS(wp_maybe_text, wp_request_header, "request", "header")
WP_FINDS(wp_texts, wp_request_header_all, "request", "header-all")
WP_GIVES(wp_headers, wp_request_headers, "request", "headers")
WP_FINDS(wp_maybe_text, wp_request_cookie, "request", "cookie")
WP_FINDS(wp_maybe_text, wp_variables_variable, "variables", "variable")
WP_GIVES(wp_maybe_address, wp_connection_client_address, "connection", "client-address")
WP_GIVES(wp_maybe_address, wp_connection_peer_address, "connection", "peer-address")
WP_NUMBER(uint32_t, wp_connection_peer_port, "connection", "peer-port")
WP_GIVES(wp_maybe_address, wp_connection_local_address, "connection", "local-address")
WP_NUMBER(uint32_t, wp_connection_local_port, "connection", "local-port")
WP_GIVES(wp_maybe_text, wp_connection_server_name, "connection", "server-name")
WP_GIVES(wp_maybe_text, wp_connection_alpn, "connection", "alpn")
WP_GIVES(wp_maybe_text, wp_connection_tls_version, "connection", "tls-version")
WP_GIVES(wp_maybe_text, wp_connection_certificate_subject, "connection", "certificate-subject")
WP_GIVES(wp_maybe_text, wp_connection_certificate_fingerprint, "connection",
         "certificate-fingerprint")

// By `exchange`.
WP_FINDS(wp_maybe_text, wp_exchange_attribute, "exchange", "attribute")
WP_GIVES(wp_text, wp_exchange_key, "exchange", "key")
WP_NUMBER(bool, wp_exchange_is_note_wanted, "exchange", "is-note-wanted")
WP_NUMBER(uint64_t, wp_attempt_memo, "attempt", "memo")
WP_OF_NUMBER(void, wp_attempt_set_memo, uint64_t, "attempt", "set-memo")
WP_TAKES_TEXTS(void, wp_attempt_add_response_header, "attempt", "add-response-header")
WP_OF_NUMBER(void, wp_attempt_set_refusal_status, uint32_t, "attempt", "set-refusal-status")
WP_NUMBER(wp_failure, wp_attempt_failure, "attempt", "failure")
WP_NUMBER(uint64_t, wp_attempt_bytes_sent, "attempt", "bytes-sent")
WP_NUMBER(uint64_t, wp_attempt_bytes_received, "attempt", "bytes-received")

// By `response`.
WP_NUMBER(uint32_t, wp_response_status, "response", "status")
WP_FINDS(wp_maybe_text, wp_response_header, "response", "header")
WP_FINDS(wp_texts, wp_response_header_all, "response", "header-all")
WP_NUMBER(bool, wp_response_is_local, "response", "is-local")

// By `changes`.
WP_TAKES_TEXT(bool, wp_changes_set_method, "changes", "set-method")
WP_TAKES_TEXT(bool, wp_changes_set_path, "changes", "set-path")
WP_TAKES_TEXT(bool, wp_changes_set_query, "changes", "set-query")
WP_TAKES_TEXTS(bool, wp_changes_set_request_header, "changes", "set-request-header")
WP_TAKES_TEXTS(bool, wp_changes_add_request_header, "changes", "add-request-header")
WP_TAKES_TEXT(bool, wp_changes_remove_request_header, "changes", "remove-request-header")
WP_TAKES_TEXTS(bool, wp_changes_set_response_header, "changes", "set-response-header")
WP_TAKES_TEXTS(bool, wp_changes_add_response_header, "changes", "add-response-header")
WP_TAKES_TEXT(bool, wp_changes_remove_response_header, "changes", "remove-response-header")
WP_TAKES_TEXTS(bool, wp_changes_set_attribute, "changes", "set-attribute")
WP_OF_NUMBER(bool, wp_changes_delay, uint64_t, "changes", "delay")
WP_TAKES_TEXT(bool, wp_changes_take_route, "changes", "take-route")
WP_TAKES_TEXT(bool, wp_changes_take_upstream, "changes", "take-upstream")
WP_FINDS(wp_maybe_text, wp_changes_check_route, "changes", "check-route")
WP_FINDS(wp_maybe_text, wp_changes_check_upstream, "changes", "check-upstream")

// By `bodies`.
WP_TAKES_TEXT(bool, wp_bodies_set_body, "bodies", "set-body")
WP_GIVES(wp_headers, wp_bodies_trailers, "bodies", "trailers")

// By `checks`, `files` and `store`.
WP_TAKES_TEXTS(void, wp_checks_verify_password, "checks", "verify-password")
WP_FINDS(wp_maybe_text, wp_checks_check_hash, "checks", "check-hash")
WP_TAKES_TEXT(bool, wp_files_is_there, "files", "is-there")
WP_NUMBER(bool, wp_store_is_elsewhere, "store", "is-elsewhere")

// Those of a form of their own.
#ifdef __wasm__
WP_IMPORT("exchange", "note") extern void wp_exchange_note_core(const char *, size_t);
static inline void wp_exchange_note(wp_text text) { // `$plugin_note` in logs
  text = wp_utf8(text);
  wp_exchange_note_core(text.at, text.length);
}
WP_IMPORT("metrics", "add") extern void wp_metrics_add(uint32_t counter, uint64_t value);
WP_IMPORT("request", "hash")
extern uint64_t wp_request_hash_core(uint32_t, const char *, size_t, uint64_t);
static inline uint64_t wp_request_hash(wp_part part, wp_text name, uint64_t seed) {
  return wp_request_hash_core(part, name.at, name.length, seed);
}
WP_IMPORT("changes", "answer") extern bool wp_changes_answer_core(uint32_t, const char *, size_t);
static inline bool wp_changes_answer(uint32_t status, wp_text body) {
  return wp_changes_answer_core(status, body.at, body.length);
}
WP_IMPORT("bodies", "want-request-body")
extern bool wp_bodies_want_request_body_core(uint32_t, uint32_t, uint32_t);
static inline bool wp_bodies_want_request_body(wp_manner how) { // in `on_request`, `on_check`
  return wp_bodies_want_request_body_core(how.manner, how.at_most, how.beyond);
}
WP_IMPORT("bodies", "want-response-body")
extern bool wp_bodies_want_response_body_core(uint32_t, uint32_t, uint32_t, uint32_t);
static inline bool wp_bodies_want_response_body(wp_manner how, wp_form form) { // in `on_response`
  return wp_bodies_want_response_body_core(how.manner, how.at_most, how.beyond, form);
}
WP_IMPORT("files", "read")
extern void wp_files_read_core(const char *, size_t, void *result);
// In `configure` and `attach`: false where it cannot be read, and `why` says why; one that does not
// exist is none.
static inline bool wp_files_read(wp_text path, wp_maybe_text *content, wp_text *why) {
  struct {
    uint8_t is_error;
    union {
      wp_maybe_text content;
      wp_text why;
    };
  } read;
  wp_files_read_core(path.at, path.length, &read);
  if (read.is_error) *why = read.why;
  else *content = read.content;
  return !read.is_error;
}
#define WP_STORE(ok_)                                                                             \
  struct {                                                                                        \
    uint8_t is_error;                                                                             \
    union {                                                                                       \
      ok_;                                                                                        \
      uint8_t error;                                                                              \
    };                                                                                            \
  } stored
#define WP_STORE_SAYS (stored.is_error ? (wp_stored)(stored.error + 1) : WP_STORED)
WP_IMPORT("store", "get") extern void wp_store_get_core(const char *, size_t, void *result);
static inline wp_stored wp_store_get(wp_text key, wp_maybe_text *value) {
  WP_STORE(wp_maybe_text value);
  wp_store_get_core(key.at, key.length, &stored);
  if (!stored.is_error) *value = stored.value;
  return WP_STORE_SAYS;
}
WP_IMPORT("store", "set")
extern void wp_store_set_core(const char *, size_t, const char *, size_t, uint64_t, void *result);
static inline wp_stored wp_store_set(wp_text key, wp_text value, uint64_t ttl_ms) {
  WP_STORE(uint8_t nothing);
  wp_store_set_core(key.at, key.length, value.at, value.length, ttl_ms, &stored);
  return WP_STORE_SAYS;
}
WP_IMPORT("store", "add")
extern void wp_store_add_core(const char *, size_t, int64_t, uint64_t, void *result);
static inline wp_stored wp_store_add(wp_text key, int64_t amount, uint64_t ttl_ms, int64_t *sum) {
  WP_STORE(int64_t sum);
  wp_store_add_core(key.at, key.length, amount, ttl_ms, &stored);
  if (!stored.is_error) *sum = stored.sum;
  return WP_STORE_SAYS;
}
WP_IMPORT("store", "compare-and-swap")
extern void wp_store_compare_and_swap_core(const char *, size_t, uint32_t, const char *, size_t,
                                           const char *, size_t, uint64_t, void *result);
static inline wp_stored wp_store_compare_and_swap(wp_text key, wp_maybe_text expected,
                                                  wp_text value, uint64_t ttl_ms, bool *is_done) {
  WP_STORE(bool is_done);
  wp_store_compare_and_swap_core(key.at, key.length, expected.is_some, expected.value.at,
                                 expected.value.length, value.at, value.length, ttl_ms, &stored);
  if (!stored.is_error) *is_done = stored.is_done;
  return WP_STORE_SAYS;
}
WP_IMPORT("store", "delete") extern void wp_store_delete_core(const char *, size_t, void *result);
static inline wp_stored wp_store_delete(wp_text key, bool *was_there) {
  WP_STORE(bool was_there);
  wp_store_delete_core(key.at, key.length, &stored);
  if (!stored.is_error) *was_there = stored.was_there;
  return WP_STORE_SAYS;
}
WP_IMPORT("store", "fill")
extern void wp_store_fill_core(const char *, size_t, uint64_t, uint64_t, uint64_t, void *result);
static inline wp_stored wp_store_fill(wp_text key, uint64_t amount, uint64_t leak,
                                      uint64_t capacity, uint64_t *level) {
  WP_STORE(uint64_t level);
  wp_store_fill_core(key.at, key.length, amount, leak, capacity, &stored);
  if (!stored.is_error) *level = stored.level;
  return WP_STORE_SAYS;
}
#define WP_SENT                                                                                   \
  const char *, size_t, const char *, size_t, const char *, size_t, const wp_header *, size_t,    \
      const char *, size_t, uint32_t, uint32_t, uint32_t, const wp_text *, size_t, uint32_t,      \
      void *result
#define WP_SEND(core, request, answer)                                                            \
  core(request->upstream.at, request->upstream.length,                                            \
       request->method.length ? request->method.at : "GET",                                       \
       request->method.length ? request->method.length : 3, request->target.at,                   \
       request->target.length, request->headers.at, request->headers.count, request->body.at,     \
       request->body.length, request->timeout_ms > 0, request->timeout_ms,                        \
       request->wanted_headers != NULL,                                                           \
       request->wanted_headers ? request->wanted_headers->at : NULL,                              \
       request->wanted_headers ? request->wanted_headers->count : 0, request->wanted_body, answer)
WP_IMPORT("upstream-requests", "send") extern void wp_upstream_requests_send_core(WP_SENT);
// In `on_request`, `on_check`, and `on_request_body` with a whole body: waits for the response, while the host serves other requests.
static inline wp_asked wp_upstream_requests_send(const wp_request *request, wp_response *response) {
  struct {
    uint8_t is_error;
    union {
      struct {
        uint16_t status;
        wp_headers headers;
        wp_text body;
        bool is_whole;
      };
      uint8_t failure;
    };
  } sent;
  WP_SEND(wp_upstream_requests_send_core, request, &sent);
  if (sent.is_error) return (wp_asked)(sent.failure + 1);
  *response = (wp_response){sent.status, sent.headers, sent.body, sent.is_whole};
  return WP_ASKED;
}
WP_IMPORT("upstream-requests", "send-and-leave")
extern void wp_upstream_requests_send_and_leave_core(WP_SENT);
// Whatever is answered is thrown away.
static inline wp_asked wp_upstream_requests_send_and_leave(const wp_request *request) {
  struct {
    uint8_t is_error, failure;
  } sent;
  WP_SEND(wp_upstream_requests_send_and_leave_core, request, &sent);
  return sent.is_error ? (wp_asked)(sent.failure + 1) : WP_ASKED;
}
#else
static void wp_exchange_note(wp_text text);
static void wp_metrics_add(uint32_t counter, uint64_t value);
static uint64_t wp_request_hash(wp_part part, wp_text name, uint64_t seed);
static bool wp_changes_answer(uint32_t status, wp_text body);
static bool wp_bodies_want_request_body(wp_manner how);
static bool wp_bodies_want_response_body(wp_manner how, wp_form form);
static bool wp_files_read(wp_text path, wp_maybe_text *content, wp_text *why);
static wp_asked wp_upstream_requests_send(const wp_request *request, wp_response *response);
static wp_asked wp_upstream_requests_send_and_leave(const wp_request *request);
static wp_stored wp_store_get(wp_text key, wp_maybe_text *value);
static wp_stored wp_store_set(wp_text key, wp_text value, uint64_t ttl_ms);
static wp_stored wp_store_add(wp_text key, int64_t amount, uint64_t ttl_ms, int64_t *sum);
static wp_stored wp_store_compare_and_swap(wp_text key, wp_maybe_text expected, wp_text value,
                                           uint64_t ttl_ms, bool *is_done);
static wp_stored wp_store_delete(wp_text key, bool *was_there);
static wp_stored wp_store_fill(wp_text key, uint64_t amount, uint64_t leak, uint64_t capacity,
                               uint64_t *level);
#endif
