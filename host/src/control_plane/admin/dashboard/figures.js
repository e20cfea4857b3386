// What `GET /metrics` tells, as rates: counters are compared with those of a few polls before, and
// what charts show is kept here, for as long as the page is open.

/** Polls that a rate spans: one poll alone would jump. */
const SPAN = 4;
/** Of charts: how far apart points are at least, and how long they are kept. */
const STEP = 4_000;
export const KEPT = 15 * 60_000;

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;
const UNESCAPED = { n: "\n", "\\": "\\", '"': '"' };

/** Families by name, each a list of `{labels, value}`; what has an unknown form is left out. */
export function parse(text) {
  const families = new Map();
  for (const line of text.split("\n")) {
    const found = line.startsWith("#") ? null : LINE.exec(line);
    if (found === null) continue;
    const labels = {};
    for (const [, name, value] of (found[2] ?? "").matchAll(LABEL)) {
      labels[name] = value.includes("\\")
        ? value.replace(/\\(.)/g, (_, escaped) => UNESCAPED[escaped] ?? escaped)
        : value;
    }
    const series = { labels, value: Number(found[3].replace("+Inf", "Infinity")) };
    const family = families.get(found[1]);
    if (family) family.push(series);
    else families.set(found[1], [series]);
  }
  return families;
}

/** Sums of a family by some of its labels, of the series that are wanted. */
function sums(families, name, by, wanted = () => true) {
  const result = new Map();
  for (const { labels, value } of families.get(name) ?? []) {
    if (!wanted(labels)) continue;
    const key = keyOf(by.map((label) => labels[label]));
    result.set(key, (result.get(key) ?? 0) + value);
  }
  return result;
}

/** One text of several, none of which has this character: names of ours are checked. */
export const keyOf = (parts) => parts.join("\u0000");

/** Buckets of a histogram by a label: from the lowest bound, each with all below it. */
function buckets(families, name, by) {
  const result = new Map();
  for (const { labels, value } of families.get(name) ?? []) {
    const bounds = result.get(labels[by]) ?? new Map();
    const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
    bounds.set(bound, (bounds.get(bound) ?? 0) + value);
    result.set(labels[by], bounds);
  }
  return result;
}

/** What a share of what was counted stays below, in seconds, as Prometheus reckons it; or null. */
function quantile(share, bounds) {
  const sorted = [...bounds].sort(([one], [other]) => one - other);
  const total = sorted.at(-1)?.[1] ?? 0;
  if (!(total > 0)) return null;
  const rank = share * total;
  let [lower, below] = [0, 0];
  for (const [bound, count] of sorted) {
    if (count >= rank && count > below) {
      // Above the last bound there is no more to say than that.
      if (bound === Infinity) return lower;
      return lower + (bound - lower) * ((rank - below) / (count - below));
    }
    [lower, below] = [bound, count];
  }
  return lower;
}

const lost = (labels) => labels.reason !== "status";
const failed = (labels) => labels.code === "5xx";

function added(one, other) {
  const result = new Map(one);
  for (const [key, value] of other) result.set(key, (result.get(key) ?? 0) + value);
  return result;
}

/** The counters that rates are made of. */
function counters(families) {
  const of = (name, by, wanted) => sums(families, `waypost_${name}`, by, wanted);
  const failures = (by) =>
    added(of("upstream_requests_total", by, failed), of("upstream_failures_total", by, lost));
  const [upstream, endpoint] = [["upstream"], ["upstream", "endpoint"]];
  return {
    requests: of("upstream_requests_total", upstream),
    errors: failures(upstream),
    retries: of("upstream_retries_total", upstream),
    endpointRequests: of("upstream_requests_total", endpoint),
    endpointErrors: failures(endpoint),
    routeRequests: of("requests_total", ["route"]),
    routeClientErrors: of("requests_total", ["route"], ({ code }) => code === "4xx"),
    routeErrors: of("requests_total", ["route"], failed),
    verdicts: of("hook_verdicts_total", ["hook", "verdict"]),
    calls: of("plugin_calls_total", ["plugin"]),
    accepted: of("connections_accepted_total", []),
    latency: buckets(families, "waypost_upstream_header_duration_seconds_bucket", "upstream"),
    routeLatency: buckets(families, "waypost_request_duration_seconds_bucket", "route"),
  };
}

function since(earlier, now, name, key) {
  const bounds = now.counters[name].get(key);
  const before = earlier.counters[name].get(key);
  if (!bounds) return new Map();
  return new Map([...bounds].map(([bound, count]) => [bound, count - (before?.get(bound) ?? 0)]));
}

/** Samples of one process; another process begins anew. */
export class Figures {
  #samples = [];
  #last = null;
  #process = null;
  /** By upstream, points `{at, requests, errors, p50, p99}`. */
  history = new Map();

  take(families, at, process) {
    const sample = { at, counters: counters(families) };
    if (process !== this.#process) [this.#samples, this.#last] = [[], null];
    this.#process = process;
    this.#samples.push(sample);
    if (this.#samples.length > SPAN) this.#samples.shift();
    this.#last ??= sample;
    if (at - this.#last.at >= STEP) {
      this.#point(this.#last, sample);
      this.#last = sample;
    }
  }

  #point(earlier, now) {
    const rate = (name, key) => between(earlier, now, name, key);
    for (const upstream of now.counters.requests.keys()) {
      const times = since(earlier, now, "latency", upstream);
      const points = this.history.get(upstream) ?? [];
      points.push({
        at: now.at,
        requests: rate("requests", upstream),
        errors: rate("errors", upstream),
        p50: quantile(0.5, times),
        p99: quantile(0.99, times),
      });
      this.history.set(upstream, points);
    }
    for (const [upstream, points] of this.history) {
      while (points.length > 0 && points[0].at < now.at - KEPT) points.shift();
      if (points.length === 0) this.history.delete(upstream);
    }
  }

  /** In all. */
  total(name, ...key) {
    return this.#samples.at(-1)?.counters[name].get(keyOf(key)) ?? 0;
  }

  /** For each second, of late; null before there are two polls to compare. */
  rate(name, ...key) {
    if (this.#samples.length < 2) return null;
    return between(this.#samples[0], this.#samples.at(-1), name, keyOf(key));
  }

  /** Of all keys together. */
  rateOfAll(name) {
    if (this.#samples.length < 2) return null;
    const keys = [...this.#samples.at(-1).counters[name].keys()];
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    return keys.reduce((sum, key) => sum + between(first, last, name, key), 0);
  }

  /** What a share of the times of late stays below, in seconds, or null. */
  quantile(share, name, key) {
    if (this.#samples.length < 2) return null;
    return quantile(share, since(this.#samples[0], this.#samples.at(-1), name, key));
  }

  keys(name) {
    return [...(this.#samples.at(-1)?.counters[name].keys() ?? [])];
  }
}

function between(earlier, now, name, key) {
  const seconds = (now.at - earlier.at) / 1000;
  const more = (now.counters[name].get(key) ?? 0) - (earlier.counters[name].get(key) ?? 0);
  return seconds > 0 ? Math.max(more, 0) / seconds : 0;
}
