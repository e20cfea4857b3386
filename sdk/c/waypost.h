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

#define WP_TEXT(literal) ((wp_text){literal, sizeof(literal) - 1})
static inline wp_text wp_text_of(const char *text) { return (wp_text){text, strlen(text)}; }
static inline bool wp_equal(wp_text a, wp_text b) {
  return a.length == b.length && memcmp(a.at, b.at, a.length) == 0;
}

typedef enum { WP_POLICY, WP_FILTER, WP_SCORER, WP_HOOK } wp_kind;
typedef enum { WP_PROCEED, WP_ANSWER, WP_REROUTE, WP_WAIT } wp_verdict;
typedef enum { WP_ERROR, WP_WARN, WP_INFO, WP_DEBUG } wp_level;
typedef enum { WP_PER_WORKER, WP_PER_PROCESS } wp_sharing;
typedef enum { WP_COMPLETED, WP_FAILED, WP_PASSED_OVER, WP_UNUSED, WP_ABANDONED } wp_ending;
typedef enum {
  WP_PART_AUTHORITY,
  WP_PART_PATH,
  WP_PART_QUERY,
  WP_PART_HEADER,
  WP_PART_COOKIE,
  WP_PART_CLIENT_ADDRESS
} wp_part;

#define WP_NO_OPINION 0xffffffffu // answers of `pick`
#define WP_REFUSE 0xfffffffeu

typedef struct {
  uint64_t id;
  wp_text address;
  uint32_t weight;
} wp_endpoint;
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
