// What a plugin in C is written with. One header: include it in the one file that has the plugin.
//
// Compiled for WebAssembly, functions named `wp_INTERFACE_FUNCTION` are the host's, as `wit/`
// describes them, and the macros at the end export the plugin. Compiled natively, both are those
// of the double in `waypost_test.h`.
//
// Texts are a pointer and a length, not ended by zero. What the host hands over lasts until the
// end of the call; in `configure`, `attach` and `update`, as long as the instance.
#ifndef WAYPOST_H
#define WAYPOST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  const char *at;
  size_t length;
} wp_text;
typedef struct {
  bool is_some;
  wp_text value;
} wp_maybe_text;
typedef struct {
  const uint32_t *at;
  size_t count;
} wp_numbers;
typedef struct {
  const uint64_t *at;
  size_t count;
} wp_words;
typedef struct {
  const wp_text *at;
  size_t count;
} wp_texts;
typedef struct {
  wp_text name, value;
} wp_header;
typedef struct {
  const wp_header *at;
  size_t count;
} wp_headers;
typedef struct {
  bool is_ipv6;
  union {
    uint8_t ipv4[4];
    uint16_t ipv6[8];
  };
} wp_address;
typedef struct {
  bool is_some;
  wp_address value;
} wp_maybe_address;

#define WP_TEXT(literal) ((wp_text){literal, sizeof(literal) - 1})
static inline wp_text wp_text_of(const char *text) { return (wp_text){text, strlen(text)}; }
static inline bool wp_equal(wp_text a, wp_text b) {
  return a.length == b.length && memcmp(a.at, b.at, a.length) == 0;
}

typedef enum { WP_POLICY, WP_FILTER, WP_SCORER, WP_HOOK } wp_kind;
typedef enum { WP_PROCEED, WP_ANSWER, WP_REROUTE, WP_WAIT } wp_verdict;
typedef enum { WP_ERROR, WP_WARN, WP_INFO, WP_DEBUG } wp_level;
typedef enum { WP_PER_WORKER, WP_PER_PROCESS, WP_PER_KEY } wp_sharing; // see `wp_per_key`
typedef enum { WP_COMPLETED, WP_FAILED, WP_PASSED_OVER, WP_UNUSED, WP_ABANDONED } wp_ending;
typedef enum {
  WP_PART_AUTHORITY,
  WP_PART_PATH,
  WP_PART_QUERY,
  WP_PART_HEADER,
  WP_PART_COOKIE,
  WP_PART_CLIENT_ADDRESS
} wp_part;
typedef enum { WP_HTTP10, WP_HTTP11, WP_HTTP2, WP_HTTP3 } wp_version;
typedef enum {
  WP_FAILURE_NONE,
  WP_FAILURE_CONNECT,
  WP_FAILURE_TLS,
  WP_FAILURE_CONNECT_TIMEOUT,
  WP_FAILURE_TIMEOUT,
  WP_FAILURE_RESET,
  WP_FAILURE_PROTOCOL,
  WP_FAILURE_STATUS,
  WP_FAILURE_OTHER
} wp_failure;
// What the store has to say: it did what it was asked for, or why not.
typedef enum {
  WP_STORED,
  WP_STORE_FULL,
  WP_STORE_UNAVAILABLE,
  WP_STORE_TOO_LARGE,
  WP_STORE_WRONG_KIND
} wp_stored;
// A request to an upstream that the settings name, and what it answered.
typedef struct {
  wp_text upstream, method, target; // path and query; `GET` where there is no method
  wp_headers headers;
  wp_text body;
  uint32_t timeout_ms;     // 0 for what the upstream's configuration says
  const wp_texts *wanted_headers; // NULL for all of them
  uint32_t wanted_body;    // bytes
} wp_request;
typedef struct {
  uint32_t status;
  wp_headers headers;
  wp_text body;
  bool is_whole;
} wp_response;
typedef enum {
  WP_ASKED,
  WP_NOT_HERE,
  WP_DENIED,
  WP_NO_SUCH_UPSTREAM,
  WP_NONE_LIVE,
  WP_TOO_MANY,
  WP_INVALID_REQUEST,
  WP_BODY_TOO_LARGE,
  WP_CONNECTION_REFUSED,
  WP_CONNECTION_TIMEOUT,
  WP_RESPONSE_TIMEOUT,
  WP_TLS_FAILED,
  WP_BROKEN,
  WP_INVALID_RESPONSE
} wp_asked;
// How a body is wanted: `wp_whole(65536, WP_REFUSED)`, `WP_CHUNKS`, `WP_WATCH`.
typedef enum { WP_REFUSED, WP_PASSED } wp_beyond; // what becomes of one that is larger
typedef enum { WP_AS_SENT, WP_DECODED } wp_form;
typedef struct {
  uint32_t manner, at_most;
  wp_beyond beyond;
} wp_manner;
#define WP_CHUNKS ((wp_manner){1, 0, WP_REFUSED})
#define WP_WATCH ((wp_manner){2, 0, WP_REFUSED})
static inline wp_manner wp_whole(uint32_t at_most, wp_beyond beyond) {
  return (wp_manner){0, at_most, beyond};
}

#define WP_NO_OPINION 0xffffffffu // answers of `pick`
#define WP_REFUSE 0xfffffffeu

typedef struct {
  uint64_t id;
  wp_text address;
  uint32_t weight;
} wp_endpoint;
typedef struct {
  uint32_t index;
  wp_endpoint endpoint;
} wp_member;
// A body, where it was wanted as a whole, or a piece of it.
typedef struct {
  wp_text bytes;
  bool last;
} wp_body;
typedef struct {
  uint64_t lease;
  uint32_t attempt;
  uint64_t now_us, random, candidates;
} wp_pick;
typedef struct {
  uint32_t attempt;
  uint64_t now_us, random;
} wp_choice;
typedef struct {
  uint64_t exchange;
  uint32_t place;
  uint64_t now_us, random;
} wp_call;
typedef struct {
  uint32_t status;
  bool complete;
  uint64_t duration_us, bytes_sent, bytes_received;
} wp_summary;
typedef struct {
  wp_ending ending;
  uint32_t status, connect_us, header_us, total_us;
} wp_outcome;
typedef struct {
  const char *summary, *settings, *place_settings; // one line; JSON schemas
  bool no_backups, no_streams;
} wp_about;

#include "waypost_host.h"
#include "waypost_settings.h"

// One instance for each value of a text with variables:
// `*sharing = wp_per_key(WP_TEXT("$arg_user"))`.
static wp_text wp_sharing_key;
__attribute__((unused)) static wp_sharing wp_per_key(wp_text key) {
  wp_sharing_key = key;
  return WP_PER_KEY;
}

static uint32_t wp_count; // endpoints, as `update` has told

// The endpoints that may be picked, in order, one at least; until the next call.
static inline wp_numbers wp_candidates(const wp_pick *call) {
  static uint32_t *indexes, room;
  if (room < wp_count) indexes = realloc(indexes, (room = wp_count) * sizeof *indexes);
  wp_numbers candidates = {indexes, 0};
  for (uint32_t word = 0; word * 64 < wp_count; word++)
    for (uint64_t set = word ? wp_fleet_candidates(word) : call->candidates; set; set &= set - 1)
      indexes[candidates.count++] = 64 * word + (uint32_t)__builtin_ctzll(set);
  return candidates;
}

// A line in the log, and a trap: the instance is over, another one takes its place.
static inline _Noreturn void wp_panic(const char *message) {
  wp_log_write(WP_ERROR, wp_text_of(message));
  __builtin_trap();
}

#include "waypost_exports.h"
#endif
