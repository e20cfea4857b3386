// The host's functions: those that plugins use most. One more is one line here, by its types in
// `wit/`.
//
// A macro for each form that a function can have, which brings what the component model passes
// (texts as pointer and length, what is larger than a number by a pointer to it) into the form
// that C likes.

#ifdef __wasm__
#define WP_IMPORT(interface, name)                                                                \
  __attribute__((import_module("waypost:plugin/" interface "@0.2.0"), import_name(name)))
#define WP_NUMBER(result, function, interface, name)                                              \
  WP_IMPORT(interface, name) extern result function(void);
#define WP_OF_INDEX(result, function, interface, name)                                            \
  WP_IMPORT(interface, name) extern result function(uint32_t index);
#define WP_GIVES_TEXT(function, interface, name)                                                  \
  WP_IMPORT(interface, name) extern void function##_core(void *result);                           \
  static inline wp_text function(void) {                                                          \
    wp_text text;                                                                                 \
    function##_core(&text);                                                                       \
    return text;                                                                                  \
  }
#define WP_FINDS_TEXT(function, interface, name)                                                  \
  WP_IMPORT(interface, name) extern void function##_core(const char *, size_t, void *result);     \
  static inline wp_maybe_text function(wp_text key) {                                             \
    wp_maybe_text found = {0};                                                                    \
    function##_core(key.at, key.length, &found);                                                  \
    return found;                                                                                 \
  }
#define WP_TAKES_TEXT(result, function, interface, name)                                          \
  WP_IMPORT(interface, name) extern result function##_core(const char *, size_t);                 \
  static inline result function(wp_text text) { return function##_core(text.at, text.length); }
#define WP_INDEX_FINDS_TEXT(function, interface, name)                                            \
  WP_IMPORT(interface, name)                                                                      \
  extern void function##_core(uint32_t, const char *, size_t, void *result);                      \
  static inline wp_maybe_text function(uint32_t index, wp_text key) {                             \
    wp_maybe_text found = {0};                                                                    \
    function##_core(index, key.at, key.length, &found);                                           \
    return found;                                                                                 \
  }
#define WP_TAKES_TEXTS(function, interface, name)                                                 \
  WP_IMPORT(interface, name)                                                                      \
  extern bool function##_core(const char *, size_t, const char *, size_t);                        \
  static inline bool function(wp_text key, wp_text value) {                                       \
    return function##_core(key.at, key.length, value.at, value.length);                           \
  }
#else
// Of the double.
#define WP_NUMBER(result, function, interface, name) static result function(void);
#define WP_OF_INDEX(result, function, interface, name) static result function(uint32_t index);
#define WP_GIVES_TEXT(function, interface, name) static wp_text function(void);
#define WP_FINDS_TEXT(function, interface, name) static wp_maybe_text function(wp_text key);
#define WP_TAKES_TEXT(result, function, interface, name) static result function(wp_text text);
#define WP_INDEX_FINDS_TEXT(function, interface, name)                                            \
  static wp_maybe_text function(uint32_t index, wp_text key);
#define WP_TAKES_TEXTS(function, interface, name) static bool function(wp_text key, wp_text value);
#endif

WP_OF_INDEX(bool, wp_fleet_is_down, "fleet", "is-down")
WP_OF_INDEX(uint64_t, wp_fleet_candidates, "fleet", "candidates")
WP_OF_INDEX(uint32_t, wp_fleet_in_flight, "fleet", "in-flight")
WP_OF_INDEX(uint32_t, wp_fleet_latency_us, "fleet", "latency-us")
WP_OF_INDEX(uint32_t, wp_fleet_health, "fleet", "health")
WP_INDEX_FINDS_TEXT(wp_fleet_label, "fleet", "label")
WP_GIVES_TEXT(wp_upstream_name, "upstream", "name")
WP_NUMBER(uint64_t, wp_clock_wall_ms, "clock", "wall-ms")
WP_TAKES_TEXT(uint32_t, wp_metrics_counter, "metrics", "counter")

// Granted by `request`.
WP_GIVES_TEXT(wp_request_method, "request", "method")
WP_GIVES_TEXT(wp_request_authority, "request", "authority")
WP_GIVES_TEXT(wp_request_path, "request", "path")
WP_GIVES_TEXT(wp_request_query, "request", "query")
WP_FINDS_TEXT(wp_request_header, "request", "header")
WP_FINDS_TEXT(wp_request_cookie, "request", "cookie")
WP_FINDS_TEXT(wp_variables_variable, "variables", "variable")

// By `exchange`.
WP_FINDS_TEXT(wp_exchange_attribute, "exchange", "attribute")
WP_GIVES_TEXT(wp_exchange_key, "exchange", "key")
WP_NUMBER(uint64_t, wp_attempt_memo, "attempt", "memo")

// By `response`.
WP_NUMBER(uint32_t, wp_response_status, "response", "status")
WP_FINDS_TEXT(wp_response_header, "response", "header")

// By `changes`.
WP_TAKES_TEXT(bool, wp_changes_set_path, "changes", "set-path")
WP_TAKES_TEXT(bool, wp_changes_set_query, "changes", "set-query")
WP_TAKES_TEXTS(wp_changes_set_request_header, "changes", "set-request-header")
WP_TAKES_TEXT(bool, wp_changes_remove_request_header, "changes", "remove-request-header")
WP_TAKES_TEXTS(wp_changes_set_response_header, "changes", "set-response-header")
WP_TAKES_TEXT(bool, wp_changes_remove_response_header, "changes", "remove-response-header")
WP_TAKES_TEXTS(wp_changes_set_attribute, "changes", "set-attribute")
WP_TAKES_TEXT(bool, wp_changes_take_route, "changes", "take-route")
WP_TAKES_TEXT(bool, wp_changes_take_upstream, "changes", "take-upstream")

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

// Those of a form of their own.
#ifdef __wasm__
WP_IMPORT("exchange", "note") extern void wp_exchange_note_core(const char *, size_t);
static inline void wp_exchange_note(wp_text text) { // `$plugin_note` in logs
  text = wp_utf8(text);
  wp_exchange_note_core(text.at, text.length);
}
WP_IMPORT("fleet", "all-in-flight") extern void wp_fleet_all_in_flight_core(void *result);
static inline wp_numbers wp_fleet_all_in_flight(void) { // of every endpoint, in one crossing
  wp_numbers all;
  wp_fleet_all_in_flight_core(&all);
  return all;
}
WP_IMPORT("metrics", "add") extern void wp_metrics_add(uint32_t counter, uint64_t value);
WP_IMPORT("changes", "delay") extern bool wp_changes_delay(uint64_t us);
WP_IMPORT("attempt", "set-memo") extern void wp_attempt_set_memo(uint64_t value);
WP_IMPORT("log", "write") extern void wp_log_write_core(uint32_t, const char *, size_t);
static inline void wp_log_write(wp_level level, wp_text line) {
  line = wp_utf8(line);
  wp_log_write_core(level, line.at, line.length);
}
WP_IMPORT("request", "hash")
extern uint64_t wp_request_hash_core(uint32_t, const char *, size_t, uint64_t);
static inline uint64_t wp_request_hash(wp_part part, wp_text name, uint64_t seed) {
  return wp_request_hash_core(part, name.at, name.length, seed);
}
WP_IMPORT("changes", "answer") extern bool wp_changes_answer_core(uint32_t, const char *, size_t);
static inline bool wp_changes_answer(uint32_t status, wp_text body) {
  return wp_changes_answer_core(status, body.at, body.length);
}
#else
static wp_numbers wp_fleet_all_in_flight(void);
static void wp_metrics_add(uint32_t counter, uint64_t value);
static bool wp_changes_delay(uint64_t us);
static void wp_attempt_set_memo(uint64_t value);
static void wp_exchange_note(wp_text text);
static void wp_log_write(wp_level level, wp_text line);
static uint64_t wp_request_hash(wp_part part, wp_text name, uint64_t seed);
static bool wp_changes_answer(uint32_t status, wp_text body);
#endif
