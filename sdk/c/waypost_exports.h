// The macros that make functions the exports of a plugin. Each says which function is for what;
// those that a plugin has no use for it leaves out, and the host does not call them.
//
//   WAYPOST(configure, describe)     bool configure(wp_kind, wp_settings *, wp_sharing *)
//                                    wp_about describe(wp_kind)
//   WAYPOST_POLICY(update, pick)     void update(const wp_endpoint *, size_t)
//                                    uint32_t pick(const wp_pick *)
//   WAYPOST_FILTER(update, narrow, may_be_ignored)
//                                    uint64_t narrow(uint32_t word, uint64_t candidates,
//                                                    const wp_choice *)
//                                    bool may_be_ignored(void)
//   WAYPOST_SCORER(update, score)    void score(const wp_choice *, uint16_t *scores)
//   WAYPOST_CHANGE(change)           void change(const wp_member *, size_t)
//   WAYPOST_DONE(done)               void done(uint64_t lease, uint32_t index, wp_outcome)
//   WAYPOST_FAILED(failed)           void failed(uint32_t index)
//   WAYPOST_HOOK(attach)             bool attach(uint32_t place, wp_settings *)
//   WAYPOST_ON_REQUEST(on_request)   wp_verdict on_request(const wp_call *)
//   WAYPOST_ON_CHECK(on_check)       wp_verdict on_check(const wp_call *, bool passed)
//   WAYPOST_ON_RESPONSE(on_response) void on_response(const wp_call *)
//   WAYPOST_ON_REQUEST_BODY(on_request_body), WAYPOST_ON_RESPONSE_BODY(on_response_body)
//                                    wp_verdict on_request_body(const wp_call *, wp_body)
//   WAYPOST_ON_END(on_end)           void on_end(const wp_call *, wp_summary)
//   WAYPOST_KEEPER(export_state, import_state)
//                                    wp_text export_state(void)
//                                    const char *import_state(wp_text), NULL where it was taken
//   WAYPOST_TICK(tick)               uint32_t tick(uint64_t now_us)
//   WAYPOST_CHANGED(changed)         void changed(wp_text path, wp_maybe_text content)
//
// A file has one of policy, filter and scorer: all three are told of endpoints by `update`.
// `scores` has room for one of each endpoint, all 0. A policy with `change` is told of other
// endpoints there, in place: `change` copies the texts that it keeps.

#ifdef __wasm__

#include "component_types.h"

// What the host hands over within a call. Given back at the next call, but for what `configure`,
// `attach` and `update` were told.
typedef struct wp_chunk {
  struct wp_chunk *next;
} wp_chunk;
static wp_chunk *wp_chunks;

__attribute__((export_name("cabi_realloc"))) void *wp_cabi_realloc(void *old, size_t old_size,
                                                                   size_t align, size_t size) {
  (void)align; // 8 at most, as `malloc` has it; the host never asks for more of what it has
  wp_chunk *chunk = malloc(sizeof(uint64_t) + size);
  if (!chunk) wp_panic("there is no memory left");
  chunk->next = wp_chunks;
  wp_chunks = chunk;
  return memcpy((char *)chunk + sizeof(uint64_t), old ? old : "", old_size);
}
// For the adapter of WASI preview 1, which keeps what it gets.
__attribute__((export_name("cabi_realloc_adapter"))) void *
wp_cabi_realloc_adapter(void *old, size_t old_size, size_t align, size_t size) {
  void *memory = aligned_alloc(align, (size + align - 1) / align * align);
  return memcpy(memory, old ? old : "", old_size);
}

// At the begin of a call: what the one before was given is free again, but not what this one is.
static void wp_begin_with(const char *first, const char *second) {
  wp_chunk **at = &wp_chunks;
  while (*at) {
    wp_chunk *chunk = *at;
    const char *given = (const char *)chunk + sizeof(uint64_t);
    if (given == first || given == second) {
      at = &chunk->next;
      continue;
    }
    *at = chunk->next;
    free(chunk);
  }
}
static void wp_begin(void) { wp_begin_with(NULL, NULL); }
static void wp_keep(void) { wp_chunks = NULL; }

// clang-format off
#define WP_SECTION(interface)                                                           \
  __asm__(".section \".custom_section.component-type:waypost:" #interface "\",\"\",@\n" \
          WAYPOST_TYPE_##interface                                                      \
          ".text\n");
// clang-format on
WP_SECTION(imports)
#define WP_EXPORT(interface, function)                                                            \
  __attribute__((export_name("waypost:plugin/" interface "@0.2.0#" function)))

// `result<sharing, settings-error>` and `result<_, settings-error>`.
typedef struct {
  uint8_t is_error;
  union {
    struct {
      uint8_t sharing;
      wp_text key;
    } ok;
    struct {
      wp_text key, message;
    } error;
  };
} wp_configured;

static wp_configured *wp_answer(bool is_taken, wp_settings *settings, wp_sharing sharing) {
  static wp_configured answer;
  static wp_settings kept; // its texts are answered
  kept = *settings;
  if (is_taken && !kept.is_refused)
    answer = (wp_configured){.is_error = 0, .ok = {(uint8_t)sharing, wp_sharing_key}};
  else
    answer =
        (wp_configured){.is_error = 1, .error = {wp_text_of(kept.key), wp_text_of(kept.message)}};
  wp_keep();
  return &answer;
}

typedef struct {
  wp_text summary, settings, place_settings;
  bool backups, streams;
} wp_told;

static wp_text wp_or_empty(const char *text) { return wp_text_of(text ? text : ""); }

#define WAYPOST(configure_, describe_)                                                            \
  WP_SECTION(plugin)                                                                              \
  WP_SECTION(description) WP_EXPORT("plugin", "configure") wp_configured *wp_export_configure(    \
      uint32_t kind, const char *at, size_t length) {                                             \
    wp_settings settings = wp_settings_parse((wp_text){at, length});                              \
    wp_sharing sharing = WP_PER_WORKER;                                                           \
    bool is_taken = configure_((wp_kind)kind, &settings, &sharing);                               \
    return wp_answer(is_taken, &settings, sharing);                                               \
  }                                                                                               \
  WP_EXPORT("description", "describe") wp_told *wp_export_describe(uint32_t kind) {               \
    static wp_told told;                                                                          \
    wp_about about = describe_((wp_kind)kind);                                                    \
    told = (wp_told){wp_or_empty(about.summary), wp_or_empty(about.settings),                     \
                     wp_or_empty(about.place_settings), !about.no_backups, !about.no_streams};    \
    return &told;                                                                                 \
  }
#define WP_MEMBERS(update_)                                                                       \
  WP_SECTION(members)                                                                             \
  WP_EXPORT("members", "update")                                                                  \
  void wp_export_update(uint64_t generation, const wp_endpoint *endpoints, size_t count) {        \
    (void)generation;                                                                             \
    wp_count = (uint32_t)count;                                                                   \
    update_(endpoints, count);                                                                    \
    wp_keep();                                                                                    \
  }
#define WAYPOST_POLICY(update_, pick_)                                                            \
  WP_MEMBERS(update_)                                                                             \
  WP_SECTION(balancer)                                                                            \
  WP_EXPORT("balancer", "pick")                                                                   \
  uint32_t wp_export_pick(uint64_t lease, uint32_t attempt, uint64_t now_us, uint64_t random,     \
                          uint64_t candidates) {                                                  \
    wp_begin();                                                                                   \
    wp_pick call = {lease, attempt, now_us, random, candidates};                                  \
    return pick_(&call);                                                                          \
  }
#define WAYPOST_FILTER(update_, narrow_, may_be_ignored_)                                         \
  WP_MEMBERS(update_)                                                                             \
  WP_SECTION(filter)                                                                              \
  WP_EXPORT("filter", "narrow")                                                                   \
  uint64_t wp_export_narrow(uint32_t word, uint64_t candidates, uint32_t attempt,                 \
                            uint64_t now_us, uint64_t random) {                                   \
    wp_begin();                                                                                   \
    wp_choice choice = {attempt, now_us, random};                                                 \
    return narrow_(word, candidates, &choice);                                                    \
  }                                                                                               \
  WP_EXPORT("filter", "may-be-ignored") bool wp_export_may_be_ignored(void) {                     \
    wp_begin();                                                                                   \
    return may_be_ignored_();                                                                     \
  }
#define WAYPOST_SCORER(update_, score_)                                                           \
  WP_MEMBERS(update_)                                                                             \
  WP_SECTION(scorer)                                                                              \
  WP_EXPORT("scorer", "score")                                                                    \
  void *wp_export_score(uint32_t attempt, uint64_t now_us, uint64_t random) {                     \
    static struct {                                                                               \
      uint16_t *at;                                                                               \
      size_t count;                                                                               \
    } scores;                                                                                     \
    wp_begin();                                                                                   \
    if (scores.count < wp_count) scores.at = realloc(scores.at, wp_count * sizeof *scores.at);    \
    scores.count = wp_count;                                                                      \
    memset(scores.at, 0, wp_count * sizeof *scores.at);                                           \
    wp_choice choice = {attempt, now_us, random};                                                 \
    score_(&choice, scores.at);                                                                   \
    return &scores;                                                                               \
  }
#define WAYPOST_CHANGE(change_)                                                                   \
  WP_SECTION(member_changes)                                                                      \
  WP_EXPORT("member-changes", "change")                                                           \
  void wp_export_change(uint64_t generation, const wp_member *members, size_t count) {            \
    (void)generation;                                                                             \
    for (size_t i = 0; i < count; i++)                                                            \
      if (members[i].index >= wp_count) wp_count = members[i].index + 1;                          \
    change_(members, count);                                                                      \
  }
#define WAYPOST_DONE(done_)                                                                       \
  WP_SECTION(observer)                                                                            \
  WP_EXPORT("observer", "done")                                                                   \
  void wp_export_done(uint64_t lease, uint32_t index, uint32_t ending, uint32_t status,           \
                      uint32_t connect_us, uint32_t header_us, uint32_t total_us) {               \
    wp_begin();                                                                                   \
    done_(lease, index,                                                                           \
          (wp_outcome){(wp_ending)ending, status, connect_us, header_us, total_us});              \
  }
#define WAYPOST_FAILED(failed_)                                                                   \
  WP_SECTION(failures)                                                                            \
  WP_EXPORT("failures", "failed") void wp_export_failed(uint32_t index) {                         \
    wp_begin();                                                                                   \
    failed_(index);                                                                               \
  }
#define WAYPOST_HOOK(attach_)                                                                     \
  WP_SECTION(hook)                                                                                \
  WP_EXPORT("hook", "attach")                                                                     \
  wp_configured *wp_export_attach(uint32_t place, const char *at, size_t length) {                \
    wp_settings settings = wp_settings_parse((wp_text){at, length});                              \
    bool is_taken = attach_(place, &settings);                                                    \
    wp_configured *answer = wp_answer(is_taken, &settings, WP_PER_WORKER);                        \
    return answer;                                                                                \
  }
#define WAYPOST_ON_REQUEST(on_request_)                                                           \
  WP_SECTION(on_request)                                                                          \
  WP_EXPORT("on-request", "on-request")                                                           \
  uint32_t wp_export_on_request(uint64_t exchange, uint32_t place, uint64_t now_us,               \
                                uint64_t random) {                                                \
    wp_begin();                                                                                   \
    wp_call call = {exchange, place, now_us, random};                                             \
    return on_request_(&call);                                                                    \
  }
#define WAYPOST_ON_CHECK(on_check_)                                                               \
  WP_SECTION(on_check)                                                                            \
  WP_EXPORT("on-check", "on-check")                                                               \
  uint32_t wp_export_on_check(uint64_t exchange, uint32_t place, uint64_t now_us, bool passed) {  \
    wp_begin();                                                                                   \
    wp_call call = {exchange, place, now_us, 0};                                                  \
    return on_check_(&call, passed);                                                              \
  }
#define WP_ON_BODY(function_, on_body_, section, interface)                                       \
  WP_SECTION(section)                                                                             \
  WP_EXPORT(interface, interface)                                                                 \
  uint32_t function_(uint64_t exchange, uint32_t place, uint64_t now_us, const char *at,          \
                     size_t length, bool last) {                                                  \
    wp_begin_with(at, NULL);                                                                      \
    wp_call call = {exchange, place, now_us, 0};                                                  \
    return on_body_(&call, (wp_body){{at, length}, last});                                        \
  }
#define WAYPOST_ON_REQUEST_BODY(on_request_body_)                                                 \
  WP_ON_BODY(wp_export_on_request_body, on_request_body_, on_request_body, "on-request-body")
#define WAYPOST_ON_RESPONSE_BODY(on_response_body_)                                               \
  WP_ON_BODY(wp_export_on_response_body, on_response_body_, on_response_body, "on-response-body")
#define WAYPOST_ON_RESPONSE(on_response_)                                                         \
  WP_SECTION(on_response)                                                                         \
  WP_EXPORT("on-response", "on-response")                                                         \
  void wp_export_on_response(uint64_t exchange, uint32_t place, uint64_t now_us) {                \
    wp_begin();                                                                                   \
    wp_call call = {exchange, place, now_us, 0};                                                  \
    on_response_(&call);                                                                          \
  }
#define WAYPOST_ON_END(on_end_)                                                                   \
  WP_SECTION(on_end)                                                                              \
  WP_EXPORT("on-end", "on-end")                                                                   \
  void wp_export_on_end(uint64_t exchange, uint32_t place, uint64_t now_us, uint32_t status,      \
                        bool complete, uint64_t duration_us, uint64_t sent, uint64_t received) {  \
    wp_begin();                                                                                   \
    wp_call call = {exchange, place, now_us, 0};                                                  \
    on_end_(&call, (wp_summary){status, complete, duration_us, sent, received});                  \
  }
#define WAYPOST_KEEPER(export_state_, import_state_)                                              \
  WP_SECTION(keeper)                                                                              \
  WP_EXPORT("keeper", "export-state") wp_text *wp_export_state(void) {                            \
    static wp_text state;                                                                         \
    wp_begin();                                                                                   \
    state = export_state_();                                                                      \
    return &state;                                                                                \
  }                                                                                               \
  WP_EXPORT("keeper", "import-state") void *wp_import_state(const char *at, size_t length) {      \
    static struct {                                                                               \
      uint8_t is_error;                                                                           \
      wp_text why;                                                                                \
    } answer;                                                                                     \
    wp_begin_with(at, NULL);                                                                      \
    const char *why = import_state_((wp_text){at, length});                                       \
    answer.is_error = why != NULL;                                                                \
    answer.why = wp_or_empty(why);                                                                \
    return &answer;                                                                               \
  }
#define WAYPOST_CHANGED(changed_)                                                                 \
  WP_SECTION(file_changes)                                                                        \
  WP_EXPORT("file-changes", "changed")                                                            \
  void wp_export_changed(const char *path, size_t length, bool is_some, const char *content,      \
                         size_t content_length) {                                                 \
    wp_begin_with(path, content);                                                                 \
    changed_((wp_text){path, length}, (wp_maybe_text){is_some, {content, content_length}});       \
  }
#define WAYPOST_TICK(tick_)                                                                       \
  WP_SECTION(ticker)                                                                              \
  WP_EXPORT("ticker", "tick") uint32_t wp_export_tick(uint64_t now_us) {                          \
    wp_begin();                                                                                   \
    return tick_(now_us);                                                                         \
  }

#else
// For the double, which calls them by these names.
#define WP_TESTED(result, name, arguments, function)                                              \
  static result(*const wp_test_##name) arguments __attribute__((unused)) = function;
#define WAYPOST(configure_, describe_)                                                            \
  WP_TESTED(bool, configure, (wp_kind, wp_settings *, wp_sharing *), configure_)                  \
  WP_TESTED(wp_about, describe, (wp_kind), describe_)
#define WP_MEMBERS(update_)                                                                       \
  WP_TESTED(void, update, (const wp_endpoint *, size_t), update_)
#define WAYPOST_POLICY(update_, pick_)                                                            \
  WP_MEMBERS(update_)                                                                             \
  WP_TESTED(uint32_t, pick, (const wp_pick *), pick_)
#define WAYPOST_FILTER(update_, narrow_, may_be_ignored_)                                         \
  WP_MEMBERS(update_)                                                                             \
  WP_TESTED(uint64_t, narrow, (uint32_t, uint64_t, const wp_choice *), narrow_)                   \
  WP_TESTED(bool, may_be_ignored, (void), may_be_ignored_)
#define WAYPOST_SCORER(update_, score_)                                                           \
  WP_MEMBERS(update_)                                                                             \
  WP_TESTED(void, score, (const wp_choice *, uint16_t *), score_)
#define WAYPOST_CHANGE(change_) WP_TESTED(void, change, (const wp_member *, size_t), change_)
#define WAYPOST_DONE(done_) WP_TESTED(void, done, (uint64_t, uint32_t, wp_outcome), done_)
#define WAYPOST_FAILED(failed_) WP_TESTED(void, failed, (uint32_t), failed_)
#define WAYPOST_HOOK(attach_) WP_TESTED(bool, attach, (uint32_t, wp_settings *), attach_)
#define WAYPOST_ON_REQUEST(on_request_)                                                           \
  WP_TESTED(wp_verdict, on_request, (const wp_call *), on_request_)
#define WAYPOST_ON_CHECK(on_check_)                                                               \
  WP_TESTED(wp_verdict, on_check, (const wp_call *, bool), on_check_)
#define WAYPOST_ON_RESPONSE(on_response_)                                                         \
  WP_TESTED(void, on_response, (const wp_call *), on_response_)
#define WAYPOST_ON_REQUEST_BODY(on_request_body_)                                                 \
  WP_TESTED(wp_verdict, on_request_body, (const wp_call *, wp_body), on_request_body_)
#define WAYPOST_ON_RESPONSE_BODY(on_response_body_)                                               \
  WP_TESTED(wp_verdict, on_response_body, (const wp_call *, wp_body), on_response_body_)
#define WAYPOST_ON_END(on_end_) WP_TESTED(void, on_end, (const wp_call *, wp_summary), on_end_)
#define WAYPOST_KEEPER(export_state_, import_state_)                                              \
  WP_TESTED(wp_text, export_state, (void), export_state_)                                         \
  WP_TESTED(const char *, import_state, (wp_text), import_state_)
#define WAYPOST_CHANGED(changed_) WP_TESTED(void, changed, (wp_text, wp_maybe_text), changed_)
#define WAYPOST_TICK(tick_) WP_TESTED(uint32_t, tick, (uint64_t), tick_)
#endif
