// What is wrong now, the process, routes, certificates, and what was said and changed.

import { Keyed, Table, Terms, byId, duration, el, moment, number, rate, setAttribute, setText } from "./dom.js";
import { faultsOf, isBad } from "./plugins.js";

/** Days before the end of a certificate from which on it is told: authorities renew at 30. */
const SOON = 14;
const DAY = 86_400_000;

/** Certificates as the API lists them, or else as the figures have them. */
export function certificatesOf(listed, families, now) {
  if (listed !== null) {
    return listed.map(({ name, names, state, days_left, not_after, file, ordered }) => {
      const error = ordered?.last_error ?? "";
      return { key: file || name, name, names, state, days: days_left, end: not_after, where: file, error };
    });
  }
  const series = families.get("waypost_tls_certificate_not_after_timestamp_seconds") ?? [];
  return series.map(({ labels, value }) => {
    const days = Math.floor((value * 1000 - now) / DAY);
    const state = days < 0 ? "expired" : "valid";
    const end = new Date(value * 1000).toISOString();
    const { certificate, listener } = labels;
    return { key: `${listener} ${certificate}`, name: certificate, names: [], state, days, end, where: listener, error: "" };
  });
}

/** Each thing that somebody may have to do something about: `[section, text]`. */
function problemsOf({ status, upstreams, plugins, certificates }) {
  const problems = [];
  if (status.state !== "serving") problems.push(["process", `The process is ${status.state}.`]);
  if (status.reloads.last_failed) {
    problems.push(["changes", `The last reload was refused: ${status.reloads.last_error}`]);
  }
  if (status.panics > 0) problems.push(["events", `${number(status.panics)} errors in the program itself.`]);
  if (status.worker_restarts > 0) {
    problems.push(["events", `${number(status.worker_restarts)} workers had to be replaced.`]);
  }
  if (status.store && !status.store.connected) {
    problems.push(["process", `The store ${status.store.url} is not reached: ${status.store.error ?? ""}`]);
  }
  for (const { name, servers, source } of upstreams) {
    const out = servers.filter((server) => !server.in_rotation).length;
    if (servers.length > 0 && out === servers.length) {
      problems.push(["upstreams", `No server of ${name} is in rotation.`]);
    } else if (out > 0) {
      problems.push(["upstreams", `${number(out)} of ${number(servers.length)} servers of ${name} are out.`]);
    }
    if (source?.error) problems.push(["upstreams", `The list of ${name} cannot be had: ${source.error}`]);
  }
  for (const plugin of plugins.filter(isBad)) {
    const faults = faultsOf(plugin);
    problems.push(["plugins", `The plugin ${plugin.name} is ${plugin.state}, ${number(faults)} faults.`]);
  }
  for (const { name, days } of certificates) {
    if (days === null || days === undefined || days >= SOON) continue;
    const when = days < 0 ? "has ended" : `ends in ${number(days)} days`;
    problems.push(["certificates", `The certificate ${name} ${when}.`]);
  }
  return problems;
}

/** As many as are listed. */
const MOST = 20;

export class Overview {
  constructor() {
    this.problems = new Keyed(byId("problem-list"), ([section, text]) => {
      const link = el("a", { href: `#${section}` }, text);
      return { element: el("li", {}, link), update: ([, text]) => setText(link, text) };
    });
    this.totals = new Terms(byId("totals"));
    this.facts = new Terms(byId("facts"));
    const figure = (label, name) => ({
      label, number: true, text: ({ route, figures }) => rate(figures.rate(name, route)),
    });
    const quantile = (label, share) => ({
      label, number: true,
      text: ({ route, figures }) => duration(figures.quantile(share, "routeLatency", route)),
    });
    this.routes = this.#table("routes", {
      caption: "Routes, and their requests of late",
      columns: [
        { label: "Route", text: ({ route }) => route },
        figure("Requests/s", "routeRequests"),
        figure("4xx/s", "routeClientErrors"),
        figure("5xx/s", "routeErrors"),
        quantile("p50", 0.5),
        quantile("p99", 0.99),
        { label: "In all", number: true, text: ({ route, figures }) => number(figures.total("routeRequests", route)) },
      ],
      key: ({ route }) => route,
      text: ({ route }) => route,
      empty: "No route has had a request yet.",
    });
    this.certificates = this.#table("certificates", {
      caption: "Certificates that clients are shown",
      columns: [
        { label: "Certificate", text: ({ name, names }) => [name, ...names.filter((other) => other !== name)].join(", ") },
        { label: "Days left", number: true, build: daysLeft },
        { label: "Ends", text: ({ end }) => (end ? end.slice(0, 10) : "–") },
        { label: "Where", text: ({ where }) => where },
        { label: "Last error", text: ({ error }) => error },
      ],
      key: ({ key }) => key,
      text: ({ name, names, where }) => `${name} ${names.join(" ")} ${where}`,
      empty: "No listener has a certificate.",
    });
    this.events = this.#table("events", {
      caption: "The last errors and warnings of the log, by kind",
      columns: [
        { label: "What was said last", text: ({ text }) => text },
        { label: "Level", build: level },
        { label: "How often", number: true, text: ({ count }) => number(count) },
        { label: "Last", number: true, text: ({ last }) => moment(last) },
        { label: "First", number: true, text: ({ first }) => moment(first) },
      ],
      key: ({ key }) => key,
      text: ({ text, level }) => `${level} ${text}`,
      only: { label: "only errors", test: ({ level }) => level === "error" },
      size: 10,
      empty: "The log has had none.",
    });
    this.changes = this.#table("changes", {
      caption: "What changed, the newest first",
      columns: [
        { label: "What", text: ({ text }) => text },
        { label: "When", number: true, text: ({ last }) => moment(last) },
        { label: "How often", number: true, text: ({ count }) => number(count) },
      ],
      key: ({ key }) => key,
      text: ({ text }) => text,
      size: 10,
    });
  }

  #table(section, setup) {
    const table = new Table(setup);
    byId(section).append(table.element);
    return table;
  }

  show(seen, figures) {
    const { status, upstreams, plugins, certificates } = seen;
    const problems = problemsOf(seen);
    const more = problems.length > MOST ? [["upstreams", `And ${number(problems.length - MOST)} more.`]] : [];
    this.problems.show([...problems.slice(0, MOST), ...more], (item) => item.join(" "));
    const told = problems.length === 0 ? "Nothing is wrong." : `${number(problems.length)} to look at:`;
    // Read out when it changes: it has no figure that goes up and down all the time.
    setText(byId("summary"), told);
    document.title = problems.length === 0 ? "Waypost" : `(${problems.length}) Waypost`;
    setText(byId("state"), status.state);
    setAttribute(byId("state"), "class", `state ${status.state === "serving" ? "good" : "fair"}`);
    const servers = upstreams.flatMap((upstream) => upstream.servers);
    const ready = servers.filter((server) => server.in_rotation).length;
    this.totals.show([
      ["Requests/s", rate(figures.rateOfAll("routeRequests"))],
      ["5xx/s", rate(figures.rateOfAll("routeErrors"))],
      ["Retries/s", rate(figures.rateOfAll("retries"))],
      ["In flight", number(servers.reduce((sum, server) => sum + server.in_flight, 0))],
      ["Servers in rotation", `${number(ready)} of ${number(servers.length)}`],
      ["Connections", number(status.connections)],
      ["Generation", number(status.generation)],
    ]);
    this.facts.show([
      ["Version", status.version],
      ["Process", String(status.pid)],
      ["Up", duration(status.uptime_s)],
      ["Configuration", status.config],
      ["Listeners", status.listeners.join(", ")],
      ["Streams", status.streams.length > 0 ? status.streams.join(", ") : null],
      ["Workers", `${status.workers}, ${number(status.worker_restarts)} replaced`],
      ["Connections accepted", `${number(status.accepted)}, ${rate(figures.rateOfAll("accepted"))}/s`],
      ["Reloads", `${number(status.reloads.succeeded)} succeeded, ${number(status.reloads.failed)} refused`],
      ["Store", status.store ? `${status.store.url}, ${number(status.store.failed)} of ${number(status.store.asked)} failed` : null],
      ["Panics", number(status.panics)],
    ]);
    this.routes.show(figures.keys("routeRequests").map((route) => ({ route, figures })));
    this.certificates.show(certificates);
    this.#said(seen.events, plugins);
  }

  #said(events, plugins) {
    const seen = new Map();
    const items = events.map((event) => {
      // What goes on as one entry has its first time for as long as it does.
      const start = `${event.level} ${event.first} ${event.text.replace(/\d+/g, "0")}`;
      seen.set(start, (seen.get(start) ?? 0) + 1);
      return { ...event, key: `${start} ${seen.get(start)}` };
    });
    this.events.show(items.filter(({ level }) => level !== "info"));
    const ofPlugins = plugins.flatMap(({ name, history }) =>
      history.map(({ version, event, detail, count, first, last }) => ({
        key: `plugin ${name} ${version} ${event} ${first}`,
        text: `plugin ${name} version ${version} ${event}: ${detail}`,
        last,
        count,
      })),
    );
    // Of plugins, the log says what their histories have.
    const said = items.filter(({ level, text }) => level === "info" && !text.startsWith("plugin `"));
    const changes = [...said, ...ofPlugins];
    // Both are UTC; they differ in how exact they are.
    changes.sort((one, other) => Date.parse(other.last) - Date.parse(one.last));
    this.changes.show(changes);
  }
}

function daysLeft(cell) {
  const mark = el("span", { class: "badge" });
  cell.append(mark);
  return ({ days, state }) => {
    const isKnown = days !== null && days !== undefined;
    setText(mark, !isKnown ? state : days < 0 ? "ended" : number(days));
    const kind = !isKnown ? "fair" : days < 0 ? "bad" : days < SOON ? "fair" : "good";
    setAttribute(mark, "class", `badge ${kind}`);
  };
}

function level(cell) {
  const mark = el("span", { class: "badge" });
  cell.append(mark);
  return ({ level }) => {
    setText(mark, level);
    setAttribute(mark, "class", `badge ${level === "error" ? "bad" : "fair"}`);
  };
}
