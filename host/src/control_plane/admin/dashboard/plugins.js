// Plugins with what they cost, their versions and trials; and the hooks that they are.

import { alterPlugin, load } from "./actions.js";
import { Table, byId, bytes, duration, el, moment, number, rate, setAttribute, setHidden, setText } from "./dom.js";

const BAD = ["quarantined", "refused", "over budget", "rolled back"];
export const faultsOf = ({ traps, deadlines, memory_faults, answers }) =>
  traps + deadlines + memory_faults + answers;
export const isBad = ({ state }) => BAD.includes(state);

function name(cell) {
  const [called, version] = [el("span"), el("span", { class: "hint" })];
  cell.append(called, " ", version);
  return ({ plugin }) => {
    setText(called, plugin.name);
    const since = plugin.since ? `, since ${moment(plugin.since)}` : "";
    const stock = plugin.stock ? "stock, " : "";
    const hash = plugin.hash ? `, ${plugin.hash.slice(0, 12)}` : "";
    const signed = plugin.signed_by ? ", signed" : "";
    setText(version, `${stock}version ${plugin.version}${hash}${since}${signed}`);
  };
}

function state(cell) {
  const [mark, why] = [el("span", { class: "badge" }), el("span", { class: "why" })];
  cell.append(mark, " ", why);
  return ({ plugin }) => {
    setText(mark, plugin.state);
    const kind = plugin.state === "live" ? "good" : isBad(plugin) ? "bad" : "fair";
    setAttribute(mark, "class", `badge ${kind}`);
    setText(why, plugin.last_error ?? "");
  };
}

const uses = ({ upstreams, hooks, routes }) => {
  const of = (what, names) => (names.length > 0 ? [`${what} ${names.join(", ")}`] : []);
  return [...of("upstream", upstreams), ...of("hook", hooks), ...of("route", routes)].join("; ") || "nothing";
};

/** A trial: both versions side by side. */
function tried({ trial }) {
  if (!trial) return "";
  const side = ({ exchanges, errors, mean_us, imbalance }) => {
    const balance = imbalance === null ? "" : `, imbalance ${imbalance}`;
    return `${number(exchanges)} exchanges, ${number(errors)} errors, ${duration(mean_us / 1e6)}${balance}`;
  };
  const share = trial.share ? ` of ${trial.share}` : "";
  const compared =
    trial.manner === "shadow"
      ? `agreed ${number(trial.agreed)}, differed ${number(trial.differed)}`
      : `it: ${side(trial.candidate)}; that which serves: ${side(trial.serving)}`;
  return `${trial.manner}${share}, version ${trial.version}, ${number(trial.faults)} faults, since ${moment(trial.since)}: ${compared}`;
}

function actions(cell) {
  let present = null;
  const button = (label, run) => {
    const element = el("button", { type: "button", on: { click: () => run(present) } }, label);
    return [label, element];
  };
  const buttons = [
    button("Load…", load),
    button("Roll back", (plugin) => alterPlugin(plugin, "rollback")),
    button("Promote", (plugin) => alterPlugin(plugin, "promote")),
    button("Withdraw", (plugin) => alterPlugin(plugin, "withdraw")),
  ];
  const group = el("div", { class: "buttons" }, ...buttons.map(([, element]) => element));
  cell.append(group);
  return ({ plugin }) => {
    present = plugin;
    const isThere = [!plugin.stock, plugin.previous !== null, plugin.trial, plugin.trial];
    setHidden(group, !isThere.some(Boolean));
    buttons.forEach(([label, element], index) => {
      setHidden(element, !isThere[index]);
      setAttribute(element, "aria-label", `${label.replace("…", " a version of")} ${plugin.name}`);
    });
  };
}

export class Plugins {
  constructor() {
    this.plugins = new Table({
      caption: "Plugins, and what their calls cost",
      columns: [
        { label: "Plugin", build: name },
        { label: "State", build: state },
        { label: "Used by", text: ({ plugin }) => uses(plugin) },
        { label: "Calls/s", number: true, text: ({ plugin, figures }) => rate(figures.rate("calls", plugin.name)) },
        { label: "Mean", number: true, text: ({ plugin }) => duration(plugin.mean_ns / 1e9) },
        { label: "p99", number: true, text: ({ plugin }) => duration(plugin.p99_ns / 1e9) },
        { label: "Worker", number: true, text: ({ plugin }) => `${plugin.worker_percent} %` },
        { label: "Faults", number: true, text: ({ plugin }) => number(faultsOf(plugin)) },
        { label: "Memory", number: true, text: ({ plugin }) => bytes(plugin.memory_bytes) },
        { label: "Trial", text: ({ plugin }) => tried(plugin) },
        { label: "Actions", build: actions },
      ],
      key: ({ plugin }) => plugin.name,
      text: ({ plugin }) => `${plugin.name} ${plugin.state} ${uses(plugin)}`,
      only: { label: "only those that are not live", test: ({ plugin }) => plugin.state !== "live" },
    });
    byId("plugins").append(this.plugins.element);
    const verdict = (label, word) => ({
      label,
      number: true,
      text: ({ hook, figures }) => {
        const all = figures.total("verdicts", hook, word);
        return `${rate(figures.rate("verdicts", hook, word))}/s, ${number(all)}`;
      },
    });
    this.hooks = new Table({
      caption: "Hooks, and what they decided: per second, and in all",
      columns: [
        { label: "Hook", text: ({ hook }) => hook },
        { label: "Plugin", text: ({ plugin }) => plugin },
        verdict("Proceed", "proceed"),
        verdict("Answer", "answer"),
        verdict("Reroute", "reroute"),
        verdict("Failed", "failed"),
        { label: "Mean", number: true, text: ({ cost }) => duration(cost) },
      ],
      key: ({ hook }) => hook,
      text: ({ hook, plugin }) => `${hook} ${plugin}`,
      empty: "The configuration has no hooks.",
    });
    byId("hooks").append(this.hooks.element);
  }

  show(plugins, figures) {
    this.plugins.show(plugins.map((plugin) => ({ plugin, figures })));
    const hooks = plugins.flatMap((plugin) =>
      plugin.hooks.map((hook) => ({ hook, plugin: plugin.name, cost: plugin.mean_ns / 1e9, figures })),
    );
    this.hooks.show(hooks);
  }
}
