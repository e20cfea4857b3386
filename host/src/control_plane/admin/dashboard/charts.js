// Charts of the last 15 minutes: lines of SVG, of which only the path changes. What a line says is
// beside it as text too, in the legend.

import { Keyed, byId, duration, el, rate, setAttribute, setText } from "./dom.js";
import { KEPT } from "./figures.js";

const LINES = 6;
/** What a chart spans at least, in milliseconds. */
const SHORTEST = 60_000;
const [WIDTH, HEIGHT] = [320, 110];
const BUSIEST = "";
const FIGURES = [
  { name: "requests", title: "Requests per second", unit: rate },
  { name: "errors", title: "Errors per second", unit: rate },
  { name: "p50", title: "Time to the header, half of the requests below", unit: duration },
  { name: "p99", title: "Time to the header, 99 of 100 below", unit: duration },
];

const svg = (name, attributes, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  Object.entries(attributes).forEach(([key, value]) => setAttribute(element, key, value));
  element.append(...children);
  return element;
};

export class Charts {
  #choice = byId("chart-choice");
  #history = new Map();
  #now = 0;
  constructor() {
    const make = ([value, label]) => {
      const element = el("option", { value }, label);
      return { element, update: () => setText(element, label) };
    };
    this.options = new Keyed(this.#choice, make);
    this.legend = new Keyed(byId("legend"), () => legendLine());
    this.charts = FIGURES.map((figure) => new Chart(figure));
    byId("chart-list").append(...this.charts.map((chart) => chart.element));
    this.#choice.addEventListener("change", () => this.#draw());
  }

  show(history, now) {
    [this.#history, this.#now] = [history, now];
    const names = [...history.keys()].sort();
    const options = [[BUSIEST, `the busiest ${LINES}`], ...names.map((name) => [name, name])];
    this.options.show(options, ([value]) => value);
    this.#draw();
  }

  #draw() {
    const chosen = this.#choice.value;
    const busy = ([, points]) => points.reduce((sum, { requests }) => sum + requests, 0);
    const all = [...this.#history];
    const lines =
      chosen === BUSIEST
        ? all.sort((one, other) => busy(other) - busy(one)).slice(0, LINES)
        : all.filter(([name]) => name === chosen);
    // By name, so that a line has its color for as long as the same are shown.
    lines.sort(([one], [other]) => (one < other ? -1 : 1));
    this.legend.show(lines.map(([name, points], index) => ({ name, points, index })), ({ name }) => name);
    this.charts.forEach((chart) => chart.show(lines, this.#now));
  }
}

function legendLine() {
  const sample = svg("path", { d: "M0 6H26" });
  const text = el("span");
  const mark = svg("svg", { width: 26, height: 12, "aria-hidden": "true" }, sample);
  const update = ({ name, points, index }) => {
    setAttribute(sample, "class", `line line-${index}`);
    const last = points.at(-1);
    const told = FIGURES.map(({ name, unit }) => unit(last?.[name] ?? null));
    const [requests, errors, p50, p99] = told;
    setText(text, `${name}: ${requests} requests/s, ${errors} errors/s, p50 ${p50}, p99 ${p99}`);
  };
  return { element: el("li", {}, mark, text), update };
}

class Chart {
  constructor({ name, title, unit }) {
    Object.assign(this, { name, unit });
    const lines = svg("g", {});
    this.top = svg("text", { x: 2, y: 10 });
    this.title = svg("title", {}, title);
    this.lines = new Keyed(lines, () => {
      const path = svg("path", { fill: "none" });
      const update = ({ d, index }) => {
        setAttribute(path, "class", `line line-${index}`);
        setAttribute(path, "d", d);
      };
      return { element: path, update };
    });
    const grid = [0, 0.5, 1].map((share) => {
      const y = 14 + share * (HEIGHT - 28);
      return svg("path", { class: "grid", d: `M0 ${y}H${WIDTH}` });
    });
    this.from = svg("text", { x: 2, y: HEIGHT - 2 });
    const to = svg("text", { x: WIDTH - 2, y: HEIGHT - 2, "text-anchor": "end" }, "now");
    this.picture = svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title },
      ...grid, lines, this.top, this.from, to,
    );
    this.label = title;
    this.element = el("figure", {}, el("figcaption", {}, title), this.picture);
  }

  show(lines, now) {
    const values = lines.flatMap(([, points]) => points.map((point) => point[this.name] ?? 0));
    const most = Math.max(0, ...values);
    setText(this.top, most > 0 ? this.unit(most) : "");
    setAttribute(this.picture, "aria-label", `${this.label}: ${this.unit(most)} at most`);
    // A page that was just opened has little to show, and shows that large.
    const first = Math.min(now, ...lines.map(([, points]) => points[0]?.at ?? now));
    const span = Math.min(Math.max(now - first, SHORTEST), KEPT);
    setText(this.from, `${duration(span / 1000)} ago`);
    const items = lines.map(([name, points], index) => {
      return { name, index, d: this.#path(points, now, span, most || 1) };
    });
    this.lines.show(items, ({ name }) => name);
  }

  /** A line that breaks off where nothing was measured. */
  #path(points, now, span, most) {
    let [path, isOpen, before] = ["", false, null];
    for (const point of points) {
      const value = point[this.name];
      const x = WIDTH * (1 - (now - point.at) / span);
      const y = HEIGHT - 14 - (value / most) * (HEIGHT - 28);
      const isGap = before !== null && point.at - before > 60_000;
      if (value !== null) path += `${isOpen && !isGap ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
      [isOpen, before] = [value !== null, point.at];
    }
    return path;
  }
}
