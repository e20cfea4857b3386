// Settings: a table of the configuration, which the host passes as JSON. Read what you know, then
// ask `wp_settled`: it refuses keys that nobody has asked for.

#define WP_KEYS 32

typedef struct {
  wp_text key, value;
  bool is_read;
} wp_setting; // the value as JSON spells it
typedef struct {
  wp_setting given[WP_KEYS];
  const char *known[WP_KEYS];
  size_t given_count, known_count;
  bool is_refused;
  char key[128], message[512]; // why
} wp_settings;

// Says what is wrong with a key, in lower case; the first word counts. Always false.
__attribute__((format(printf, 3, 4))) static bool wp_refuse(wp_settings *settings, const char *key,
                                                            const char *message, ...) {
  if (!settings->is_refused) {
    settings->is_refused = true;
    snprintf(settings->key, sizeof settings->key, "%s", key);
    va_list values;
    va_start(values, message);
    vsnprintf(settings->message, sizeof settings->message, message, values);
    va_end(values);
  }
  return false;
}

static const char *wp_json_space(const char *at, const char *end) {
  while (at < end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')) at++;
  return at;
}

// The end of the value that begins here. The host's JSON is well-formed.
static const char *wp_json_end(const char *at, const char *end) {
  int depth = 0;
  bool in_text = false;
  for (; at < end; at++) {
    if (in_text) {
      if (*at == '\\')
        at++;
      else if (*at == '"')
        in_text = false;
    } else if (*at == '"')
      in_text = true;
    else if (*at == '[' || *at == '{')
      depth++;
    else if ((*at == ']' || *at == '}') && depth-- == 0)
      return at;
    else if (*at == ',' && depth == 0)
      return at;
  }
  return end;
}

// A text without its quotes and escapes.
static wp_text wp_json_text(wp_text json) {
  char *text = malloc(json.length), *to = text;
  const char *end = json.at + json.length - 1;
  for (const char *at = json.at + 1; at < end; at++) {
    if (*at != '\\') {
      *to++ = *at;
      continue;
    }
    const char *from = "nrtbf", *into = "\n\r\t\b\f", *found = strchr(from, *++at);
    if (*at == 'u') { // those below a space: the host writes all others as they are
      char digits[5] = {at[1], at[2], at[3], at[4], 0};
      *to++ = (char)strtol(digits, NULL, 16);
      at += 4;
    } else
      *to++ = found ? into[found - from] : *at;
  }
  return (wp_text){text, (size_t)(to - text)};
}

static wp_settings wp_settings_parse(wp_text json) {
  wp_settings settings = {0};
  const char *end = json.at + json.length, *at = wp_json_space(json.at, end) + 1;
  for (;;) {
    at = wp_json_space(at, end);
    if (at >= end || *at == '}') return settings;
    const char *colon = at + 1;
    while (colon < end && *colon != '"') colon += *colon == '\\' ? 2 : 1;
    wp_text key = wp_json_text((wp_text){at, (size_t)(colon + 1 - at)});
    at = wp_json_space(wp_json_space(colon + 1, end) + 1, end);
    const char *stop = wp_json_end(at, end), *last = stop;
    while (last > at && (last[-1] == ' ' || last[-1] == '\n')) last--;
    if (settings.given_count == WP_KEYS)
      wp_refuse(&settings, "", "more than %d keys", WP_KEYS);
    else
      settings.given[settings.given_count++] = (wp_setting){key, {at, (size_t)(last - at)}, false};
    at = stop + (stop < end && *stop == ',');
  }
}

// The value of a key as JSON spells it.
static wp_maybe_text wp_setting_json(wp_settings *settings, const char *key) {
  if (settings->known_count < WP_KEYS) settings->known[settings->known_count++] = key;
  for (size_t i = 0; i < settings->given_count; i++) {
    wp_setting *given = &settings->given[i];
    if (wp_equal(given->key, wp_text_of(key))) {
      given->is_read = true;
      return (wp_maybe_text){true, given->value};
    }
  }
  return (wp_maybe_text){0};
}

__attribute__((unused)) static wp_text wp_setting_text(wp_settings *settings, const char *key,
                                                       const char *otherwise) {
  wp_maybe_text given = wp_setting_json(settings, key);
  if (given.is_some && *given.value.at == '"') return wp_json_text(given.value);
  if (given.is_some) wp_refuse(settings, key, "`%s` must be a text", key);
  return wp_text_of(otherwise);
}

__attribute__((unused)) static int64_t wp_setting_number(wp_settings *settings, const char *key,
                                                         int64_t least, int64_t most,
                                                         int64_t otherwise) {
  wp_maybe_text given = wp_setting_json(settings, key);
  if (!given.is_some) return otherwise;
  char digits[24], *end = digits;
  snprintf(digits, sizeof digits, "%.*s", (int)given.value.length, given.value.at);
  int64_t number = strtoll(digits, &end, 10);
  if (end == digits || *end || given.value.length >= sizeof digits || number < least ||
      number > most)
    wp_refuse(settings, key, "`%s` must be a whole number from %lld to %lld", key,
              (long long)least, (long long)most);
  return number;
}

__attribute__((unused)) static bool wp_setting_flag(wp_settings *settings, const char *key) {
  wp_maybe_text given = wp_setting_json(settings, key);
  bool is_true = given.is_some && wp_equal(given.value, WP_TEXT("true"));
  if (given.is_some && !is_true && !wp_equal(given.value, WP_TEXT("false")))
    wp_refuse(settings, key, "`%s` must be `true` or `false`", key);
  return is_true;
}

// A list of texts: how many, up to `most`.
__attribute__((unused)) static size_t wp_setting_texts(wp_settings *settings, const char *key,
                                                       wp_text *texts, size_t most) {
  wp_maybe_text given = wp_setting_json(settings, key);
  if (!given.is_some) return 0;
  const char *end = given.value.at + given.value.length, *at = given.value.at + 1;
  size_t count = 0;
  if (*given.value.at != '[')
    wp_refuse(settings, key, "`%s` must be a list", key);
  else
    while (at = wp_json_space(at, end), at < end && *at != ']') {
      const char *stop = wp_json_end(at, end);
      if (*at != '"') return wp_refuse(settings, key, "`%s` must be a list of texts", key);
      if (count == most)
        return wp_refuse(settings, key, "`%s` has more than %zu entries", key, most);
      texts[count++] = wp_json_text((wp_text){at, (size_t)(stop - at)});
      at = stop + (*stop == ',');
    }
  return count;
}

// Letters to add, drop or change from one word to the other; two that are swapped count once.
static size_t wp_edits(wp_text a, const char *b) {
  size_t m = strlen(b), d[3][65];
  if (a.length > 64 || m > 64) return 64;
  for (size_t j = 0; j <= m; j++) d[0][j] = j;
  for (size_t i = 1; i <= a.length; i++) {
    size_t *row = d[i % 3], *above = d[(i + 2) % 3], *second = d[(i + 1) % 3];
    row[0] = i;
    for (size_t j = 1; j <= m; j++) {
      row[j] = above[j - 1] + (a.at[i - 1] != b[j - 1]);
      if (above[j] + 1 < row[j]) row[j] = above[j] + 1;
      if (row[j - 1] + 1 < row[j]) row[j] = row[j - 1] + 1;
      if (i > 1 && j > 1 && a.at[i - 1] == b[j - 2] && a.at[i - 2] == b[j - 1] &&
          second[j - 2] + 1 < row[j])
        row[j] = second[j - 2] + 1;
    }
  }
  return d[a.length % 3][m];
}

// Whether nothing was refused, and nothing is left that nobody has asked for.
__attribute__((unused)) static bool wp_settled(wp_settings *settings) {
  for (size_t i = 0; i < settings->given_count; i++) {
    wp_text key = settings->given[i].key;
    if (settings->given[i].is_read) continue;
    char name[128], hint[320] = "it takes none";
    snprintf(name, sizeof name, "%.*s", (int)key.length, key.at);
    int length = 0;
    for (size_t k = 0; k < settings->known_count; k++) {
      if (wp_edits(key, settings->known[k]) <= (key.length < 6 ? 1 : key.length / 3)) {
        snprintf(hint, sizeof hint, "did you mean `%s`?", settings->known[k]);
        break;
      }
      if (length < (int)sizeof hint)
        length += snprintf(hint + length, sizeof hint - (size_t)length, "%s`%s`",
                           k ? ", " : "known keys: ", settings->known[k]);
    }
    return wp_refuse(settings, name, "unknown key `%s`; %s", name, hint);
  }
  return !settings->is_refused;
}
