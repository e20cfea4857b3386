// Upstreams and their endpoints: each upstream opens to a table, which is filled while it is open.

import { drain, weigh } from "./actions.js";
import { Keyed, Paged, Table, Terms, byId, duration, el, number, rate, setAttribute, setText } from "./dom.js";
import { keyOf } from "./figures.js";

const seconds = (milliseconds) => duration(milliseconds / 1000);
/** As `waypost upstream list` has it. */
const stateOf = ({ down, in_rotation, slow_start_s, why }) => {
  if (down) return "down";
  if (!in_rotation) return why[0]?.reason ?? "out";
  return slow_start_s > 0 ? `starting (${slow_start_s}s)` : "up";
};
const isWell = (server) => stateOf(server) === "up";

/** Why it is out or gets less, and for how long. */
function reasons(server) {
  const said = stateOf(server);
  const others = server.why.filter(({ reason }) => reason !== "starting");
  const told = others.map(({ reason, detail, since_ms, next_ms, ignored }) => {
    const parts = [reason === said ? null : reason, detail].filter(Boolean);
    if (since_ms !== undefined) parts.push(`for ${seconds(since_ms)}`);
    if (next_ms !== undefined) parts.push(`looked at again in ${seconds(next_ms)}`);
    if (ignored) parts.push("ignored: too few servers are healthy");
    return parts.join(", ");
  });
  return told.join("; ");
}

function lastError(server) {
  if (server.check && !server.check.passed) {
    return `probe ${seconds(server.check.ago_ms)} ago: ${server.check.outcome}`;
  }
  const met = server.last_error;
  return met ? `${seconds(met.ago_ms)} ago: ${met.message}` : "";
}

function state(cell) {
  const mark = el("span", { class: "badge" });
  const why = el("span", { class: "why" });
  cell.append(mark, " ", why);
  return ({ server }) => {
    const name = stateOf(server);
    setText(mark, name);
    const kind = isWell(server) ? "good" : server.in_rotation || server.down ? "fair" : "bad";
    setAttribute(mark, "class", `badge ${kind}`);
    setText(why, reasons(server));
  };
}

function address(cell) {
  const [host, port, spelled] = [el("span"), el("span"), el("span", { class: "hint" })];
  // One that is too long for a line is broken ahead of its port.
  cell.append(host, el("wbr"), port, " ", spelled);
  return ({ server }) => {
    const name = server.address ?? server.server;
    const [, before, behind] = /^(.*?)(:\d+)?$/s.exec(name);
    setText(host, before);
    setText(port, behind ?? "");
    const other = server.address && server.address !== server.server ? server.server : "";
    setText(spelled, [other, server.backup ? "backup" : ""].filter(Boolean).join(", "));
  };
}

function actions(cell) {
  let present = null;
  const button = (run) =>
    el("button", { type: "button", on: { click: () => run(present.upstream, present.server) } });
  const [turn, weight] = [button(drain), button(weigh)];
  setText(weight, "Weight");
  cell.append(el("div", { class: "buttons" }, turn, weight));
  return (item) => {
    present = item;
    const name = item.server.address ?? item.server.server;
    const does = item.server.down ? "Resume" : "Drain";
    setText(turn, does);
    setAttribute(turn, "aria-label", `${does} ${name}`);
    setAttribute(weight, "aria-label", `Change the weight of ${name}`);
  };
}

/** Of an endpoint, which has no figures of its own beyond `[metrics] endpoints`. */
const figureOf = (name) => ({ figures, upstream, server }) =>
  server.address === null ? "–" : rate(figures.rate(name, upstream.name, server.address));

const COLUMNS = [
  { label: "Server", build: address },
  { label: "State", build: state },
  { label: "Requests/s", number: true, text: figureOf("endpointRequests") },
  { label: "Errors/s", number: true, text: figureOf("endpointErrors") },
  { label: "Latency", number: true, text: ({ server }) => duration(server.latency_us / 1e6) },
  { label: "In flight", number: true, text: ({ server }) => number(server.in_flight) },
  {
    label: "Failures", number: true,
    text: ({ figures, upstream, server }) =>
      number(server.address ? figures.total("endpointErrors", upstream.name, server.address) : 0),
  },
  { label: "Weight", number: true, text: ({ server }) => number(server.weight) },
  { label: "Last error", text: ({ server }) => lastError(server) },
  { label: "Actions", build: actions },
];

/** What is known of an upstream as a whole. */
function terms(upstream, figures) {
  const { load, names = [], source, name } = upstream;
  const of = (value, most) => (most > 0 ? `${number(value)} of ${number(most)}` : number(value));
  const refused = Object.entries(load.refused).filter(([, count]) => count > 0);
  const quantile = (share) => duration(figures.quantile(share, "latency", name));
  const told = names.map(({ name, addresses, next_ms, error }) =>
    `${name}: ${addresses} addresses, asked again in ${seconds(next_ms)}${error ? `, ${error}` : ""}`,
  );
  return [
    ["Policy", upstream.policy],
    ["Time to the header", `p50 ${quantile(0.5)}, p99 ${quantile(0.99)}`],
    ["Retries", `${rate(figures.rate("retries", name))}/s, ${number(figures.total("retries", name))} in all`],
    ["Requests at servers", of(load.requests, load.max_requests)],
    ["Waiting", load.queue_size > 0 || load.waiting > 0 ? of(load.waiting, load.queue_size) : null],
    ["Connections", of(load.connections, load.max_connections)],
    ["Refused", refused.length > 0 ? refused.map(([why, count]) => `${why} ${number(count)}`).join(", ") : null],
    ["Names", told.length > 0 ? told.join("; ") : null],
    ["Listed by", source ? `${source.kind} ${source.name}${source.error ? `: ${source.error}` : ""}` : null],
  ];
}

function upstreamOf(isOpen) {
  const [name, badge, told] = [el("span", { class: "name" }), el("span", { class: "badge" }), el("span", { class: "hint" })];
  const list = el("dl", { class: "facts" });
  const facts = new Terms(list);
  let [present, table] = [null, null];
  const element = el("details", { class: "upstream" }, el("summary", {}, name, " ", badge, " ", told), list);
  const fill = () => {
    if (!element.open || present === null) return;
    const { upstream, figures } = present;
    if (table === null) {
      table = new Table({
        caption: `Servers of ${upstream.name}`,
        columns: COLUMNS,
        key: ({ key }) => key,
        text: ({ server }) => `${server.address} ${server.server} ${stateOf(server)}`,
        only: { label: "only those that are not up", test: ({ server }) => !isWell(server) },
        empty: "It has no servers.",
      });
      element.append(table.element);
    }
    facts.show(terms(upstream, figures));
    table.show(keyed(upstream).map(([key, server]) => ({ key, server, upstream, figures })));
  };
  element.open = isOpen;
  element.addEventListener("toggle", fill);
  const update = (item) => {
    present = item;
    const { upstream, figures } = item;
    setText(name, upstream.name);
    const ready = upstream.servers.filter((server) => server.in_rotation).length;
    const all = upstream.servers.length;
    setText(badge, `${number(ready)} of ${number(all)} in rotation`);
    setAttribute(badge, "class", `badge ${ready === all ? "good" : ready === 0 ? "bad" : "fair"}`);
    const p99 = duration(figures.quantile(0.99, "latency", upstream.name));
    const of = (figure) => rate(figures.rate(figure, upstream.name));
    setText(told, `${of("requests")} requests/s, ${of("errors")} errors/s, p99 ${p99}, ${number(upstream.load.requests)} in flight`);
    fill();
  };
  return { element, update };
}

/** Servers with a key each: the same address may be there more than once. */
function keyed(upstream) {
  const seen = new Map();
  return upstream.servers.map((server) => {
    const key = keyOf([server.address ?? "", server.server, server.backup]);
    const before = seen.get(key) ?? 0;
    seen.set(key, before + 1);
    return [keyOf([key, before]), server];
  });
}

export class Upstreams {
  #items = [];
  constructor() {
    const list = el("div");
    const isShort = () => this.#items.length <= 3;
    this.shown = new Keyed(list, () => upstreamOf(isShort()));
    this.paged = new Paged({
      what: "upstreams",
      text: ({ upstream }) => `${upstream.name} ${upstream.policy}`,
      only: { label: "only those with servers out", test: ({ upstream }) => upstream.servers.some((server) => !server.in_rotation) },
      changed: () => this.#draw(),
    });
    this.none = el("p", { class: "hint" }, "The configuration has no upstreams.");
    byId("upstreams").append(this.paged.element, this.none, list);
  }

  show(upstreams, figures) {
    this.#items = upstreams.map((upstream) => ({ upstream, figures }));
    this.none.hidden = upstreams.length > 0;
    this.#draw();
  }

  #draw() {
    this.shown.show(this.paged.of(this.#items), ({ upstream }) => upstream.name);
  }
}
