// Elements, tables and pages of them. Text from elsewhere becomes text and nothing else: there is
// no way here to make markup of it. What is the same as before is not touched, so that focus,
// selections and screen readers stay where they are.

export const byId = (id) => document.getElementById(id);

/** An element with attributes and children; a string is text. */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "on") Object.entries(value).forEach(([on, run]) => element.addEventListener(on, run));
    else setAttribute(element, key, value);
  }
  element.append(...children);
  return element;
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** `null` and `false` remove it. */
export function setAttribute(element, name, value) {
  const text = value === true ? "" : value === false || value === null ? null : String(value);
  if (element.getAttribute(name) === text) return;
  if (text === null) element.removeAttribute(name);
  else element.setAttribute(name, text);
}

export function setHidden(element, isHidden) {
  if (element.hidden !== isHidden) element.hidden = isHidden;
}

/** Children of an element by key: `make(item)` gives `{element, update(item)}`. */
export class Keyed {
  #kept = new Map();
  constructor(parent, make) {
    this.parent = parent;
    this.make = make;
  }

  show(items, keyOf) {
    const wanted = new Set();
    let before = null;
    for (const item of items) {
      const key = keyOf(item);
      if (wanted.has(key)) continue;
      wanted.add(key);
      let child = this.#kept.get(key);
      if (!child) this.#kept.set(key, (child = this.make(item)));
      child.update(item);
      const place = before ? before.nextElementSibling : this.parent.firstElementChild;
      if (place !== child.element) this.#move(child.element, place);
      before = child.element;
    }
    for (const [key, child] of this.#kept) {
      if (wanted.has(key)) continue;
      child.element.remove();
      this.#kept.delete(key);
    }
  }

  /** An element that moves loses the focus within it. */
  #move(element, place) {
    const focused = element.contains(document.activeElement) ? document.activeElement : null;
    this.parent.insertBefore(element, place);
    focused?.focus({ preventScroll: true });
  }
}

/** A part of a long list: a filter, a box to see only some, and pages. `changed`: another part. */
export class Paged {
  #page = 0;
  constructor({ what, size = 25, text, only, changed }) {
    Object.assign(this, { size, text, only });
    const again = () => changed();
    const first = () => ((this.#page = 0), again());
    this.filter = el("input", { type: "search", placeholder: "Filter", "aria-label": `Filter ${what}` });
    this.filter.addEventListener("input", first);
    this.box = el("input", { type: "checkbox", on: { change: first } });
    this.count = el("span", { class: "count" });
    this.back = this.#button("Previous", what, -1, again);
    this.next = this.#button("Next", what, 1, again);
    this.element = el("div", { class: "pager" }, this.filter);
    if (only) this.element.append(el("label", {}, this.box, ` ${only.label}`));
    this.element.append(this.back, this.next, this.count);
  }

  #button(label, what, step, again) {
    const attributes = { type: "button", "aria-label": `${label} page of ${what}` };
    const button = el("button", attributes, label);
    button.addEventListener("click", () => {
      // Not `disabled`, which would take the focus away.
      if (button.getAttribute("aria-disabled") === "true") return;
      this.#page += step;
      again();
    });
    return button;
  }

  of(items) {
    const words = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const isWanted = (item) => {
      const text = words.length > 0 ? this.text(item).toLowerCase() : "";
      return words.every((word) => text.includes(word)) && (!this.box.checked || this.only.test(item));
    };
    const found = words.length > 0 || this.box.checked ? items.filter(isWanted) : items;
    const pages = Math.max(1, Math.ceil(found.length / this.size));
    this.#page = Math.min(this.#page, pages - 1);
    const start = this.#page * this.size;
    const part = found.slice(start, start + this.size);
    setHidden(this.element, items.length <= this.size && words.length === 0 && !this.box.checked
      && (!this.only || items.length < 5));
    setAttribute(this.back, "aria-disabled", this.#page === 0);
    setAttribute(this.next, "aria-disabled", this.#page === pages - 1);
    [this.back, this.next].forEach((button) => setHidden(button, pages === 1));
    const range = found.length === 0 ? "none" : `${start + 1}–${start + part.length}`;
    setText(this.count, `${range} of ${found.length}`);
    return part;
  }
}

/**
 * A table. A column: its `label`, and `text(item)`, or `build(cell)` that gives `update(item)`.
 * The first column names its row.
 */
export class Table {
  #items = [];
  constructor({ caption, columns, key, text, only, size, empty }) {
    this.key = key;
    this.paged = new Paged({ what: caption, text, only, size, changed: () => this.#draw() });
    const head = columns.map(({ label, number }) =>
      el("th", { scope: "col", role: "columnheader", class: number ? "number" : null }, label),
    );
    const body = el("tbody", { role: "rowgroup" });
    this.rows = new Keyed(body, () => row(columns));
    this.table = el(
      "table",
      { role: "table" },
      el("caption", {}, caption),
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...head)),
      body,
    );
    this.empty = el("p", { class: "hint" }, empty ?? "None.");
    this.element = el("div", { class: "table" }, this.paged.element, this.empty, this.table);
  }

  show(items) {
    this.#items = items;
    this.#draw();
  }

  #draw() {
    const part = this.paged.of(this.#items);
    setHidden(this.empty, this.#items.length > 0);
    setHidden(this.table, this.#items.length === 0);
    this.rows.show(part, this.key);
  }
}

function row(columns) {
  const updates = [];
  const cells = columns.map(({ label, number, text, build }, index) => {
    const attributes = { "data-label": label, class: number ? "number" : null };
    const cell =
      index === 0
        ? el("th", { scope: "row", role: "rowheader", ...attributes })
        : el("td", { role: "cell", ...attributes });
    updates.push(build ? build(cell) : (item) => setText(cell, text(item)));
    return cell;
  });
  const element = el("tr", { role: "row" }, ...cells);
  return { element, update: (item) => updates.forEach((update) => update(item)) };
}

/** A list of terms: `[term, text]`, changed in place. */
export class Terms {
  constructor(list) {
    this.rows = new Keyed(list, ([term]) => {
      const value = el("dd");
      const element = el("div", {}, el("dt", {}, term), value);
      return { element, update: ([, text]) => setText(value, text) };
    });
  }

  show(terms) {
    this.rows.show(terms.filter(([, text]) => text !== null), ([term]) => term);
  }
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const small = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });

export const number = (value) => whole.format(value);
/** For each second; a dash before it is known. */
export const rate = (value) => {
  if (value === null) return "–";
  return value >= 10 || value === 0 ? whole.format(value) : small.format(value);
};

/** A time of seconds, in the unit that fits. */
export function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds === 0) return "0";
  const short = (value) => (value >= 10 ? whole : small).format(value);
  if (seconds < 1e-6) return `${short(seconds * 1e9)} ns`;
  if (seconds < 1e-3) return `${short(seconds * 1e6)} µs`;
  if (seconds < 1) return `${short(seconds * 1e3)} ms`;
  if (seconds < 100) return `${short(seconds)} s`;
  if (seconds < 2 * 3600) return `${whole.format(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${whole.format(seconds / 3600)} h`;
  return `${whole.format(seconds / 86400)} d`;
}

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  for (; value >= 1024 && unit < 3; unit++) value /= 1024;
  return `${(value >= 10 || unit === 0 ? whole : small).format(value)} ${units[unit]}`;
}

/** A moment of the API, in the browser's own time. */
export function moment(text) {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return text;
  const time = date.toLocaleTimeString("en-GB");
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? time : `${date.toISOString().slice(0, 10)} ${time}`;
}
