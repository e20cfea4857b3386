// What changes something: asked about first in a dialog, which stays open with the API's own words
// where it says no. The browser gives the focus back to where it was.

import { Refused, change, pathOf } from "./api.js";
import { byId, el, setHidden, setText } from "./dom.js";

const dialog = byId("dialog");
let running = null;

/** What is changed when something has been: the page asks anew. */
let afterwards = () => {};
export function onChanged(run) {
  afterwards = run;
}

/** A question with fields; `run()` does it, and what it returns is said when it is done. */
function confirm({ title, body, yes, run, closed = () => {} }) {
  if (dialog.open) return;
  setText(byId("dialog-title"), title);
  byId("dialog-body").replaceChildren(...body);
  setText(byId("dialog-yes"), yes);
  setText(byId("dialog-no"), "Cancel");
  setHidden(byId("dialog-error"), true);
  running = { run, isBusy: false, closed };
  dialog.showModal();
  const field = byId("dialog-body").querySelector("input, select");
  // What is done by mistake with Enter is what the focus is at: not what changes something.
  (field ?? byId("dialog-no")).focus();
}

byId("dialog-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const asked = running;
  if (asked === null || asked.isBusy) return;
  asked.isBusy = true;
  byId("dialog-yes").setAttribute("aria-disabled", "true");
  setHidden(byId("dialog-error"), true);
  try {
    const said = await asked.run();
    if (running === asked) dialog.close();
    if (said) done(said);
    afterwards();
  } catch (error) {
    if (running === asked) tell(byId("dialog-error"), words(error));
    else tell(byId("done"), words(error));
  } finally {
    asked.isBusy = false;
    byId("dialog-yes").removeAttribute("aria-disabled");
  }
});
byId("dialog-no").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => {
  // The event comes later, perhaps once the next question is asked.
  if (dialog.open || running === null) return;
  const { closed } = running;
  running = null;
  closed();
});

/** What has failed, in the words of whoever said so. */
export function words(error) {
  if (error instanceof Refused) return [error.message, ...error.problems];
  if (error.name === "TimeoutError") return ["there was no answer in time"];
  return [error.message];
}

function tell(element, lines) {
  const [first, ...problems] = lines;
  const more = problems.map((problem) => el("pre", {}, problem));
  element.replaceChildren(el("p", {}, first), ...more);
  setHidden(element, false);
}

function done({ text, warnings = [] }) {
  tell(byId("done"), [text, ...warnings]);
}

const said = (text, { warnings = [] }) => ({ text, warnings });
const quoted = (text) => el("code", {}, text);
const paragraph = (...parts) => el("p", {}, ...parts);

function alter(upstream, server, patch) {
  const path = pathOf("upstreams", upstream, "servers", server.address ?? server.server);
  return change("PATCH", path, patch);
}

/** Whom a change concerns: all addresses of a name are one server. */
function whom(upstream, server) {
  const of = upstream.servers.filter((other) => other.server === server.server);
  const name = server.address ?? server.server;
  const alike = of.length > 1 ? ` All ${of.length} addresses of it are concerned.` : "";
  const spelled = of.length > 1 ? server.server : name;
  return [quoted(spelled), " of the upstream ", quoted(upstream.name), `.${alike}`];
}

export function drain(upstream, server) {
  const name = server.address ?? server.server;
  const down = !server.down;
  confirm({
    title: down ? "Drain a server" : "Resume a server",
    body: [
      paragraph(
        down ? "No more requests are sent to " : "Requests are sent again to ",
        ...whom(upstream, server),
        down ? " Those under way are finished." : "",
      ),
    ],
    yes: down ? "Drain" : "Resume",
    run: async () => {
      const answer = await alter(upstream.name, server, { down });
      return said(`${name} of ${upstream.name} is ${down ? "drained" : "resumed"}.`, answer);
    },
  });
}

export function weigh(upstream, server) {
  const name = server.address ?? server.server;
  const attributes = { type: "number", min: 1, max: 65535, step: 1, value: server.weight };
  const weight = el("input", attributes);
  confirm({
    title: "Change a weight",
    body: [
      paragraph("The share of requests of ", ...whom(upstream, server)),
      el("label", {}, "Weight ", weight),
    ],
    yes: "Change",
    run: async () => {
      const value = weight.value === "" ? null : Number(weight.value);
      if (value === null) throw new Error("a weight is a number");
      const answer = await alter(upstream.name, server, { weight: value });
      return said(`${name} of ${upstream.name} has the weight ${value}.`, answer);
    },
  });
}

export function reload() {
  confirm({
    title: "Reload the configuration",
    body: [
      paragraph("The file is read again. If it has problems, the configuration that serves stays."),
      paragraph("Changes to servers that were made here are lost, where no state keeps them."),
    ],
    yes: "Reload",
    run: async () => {
      const answer = await change("POST", "reload");
      return said(`Reloaded: generation ${answer.generation}.`, answer);
    },
  });
}

const simple = {
  rollback: ["Roll back", "goes back to the version before", "was rolled back"],
  promote: ["Promote", "has the version that is tried put in force", "has a new version in force"],
  withdraw: ["Withdraw", "ends what is tried", "tries nothing more"],
};

/** `rollback`, `promote` or `withdraw`. */
export function alterPlugin(plugin, what) {
  const [label, does, was] = simple[what];
  const to = what === "rollback" ? ` (${plugin.previous?.version ?? "none"})` : "";
  confirm({
    title: `${label} a plugin`,
    body: [paragraph("The plugin ", quoted(plugin.name), ` ${does}${to}, while requests go on.`)],
    yes: label,
    run: async () => {
      const answer = await change("POST", pathOf("plugins", plugin.name, what));
      return said(`${plugin.name} ${was}: version ${answer.version}.`, {});
    },
  });
}

/** Another version of a plugin, from a file: to serve, or to be tried. */
export function load(plugin) {
  const file = el("input", { type: "file", accept: ".wasm,.cwasm,application/wasm" });
  const signature = el("input", { type: "file", accept: ".minisig" });
  const manner = el(
    "select", {},
    el("option", { value: "load" }, "decide for all requests"),
    el("option", { value: "canary" }, "decide for a share of clients (canary)"),
    el("option", { value: "shadow" }, "be asked as well, and not heeded (shadow)"),
  );
  const share = el("input", { type: "text", value: "5%", size: 6 });
  const shareLabel = el("label", { hidden: true }, "Share of clients ", share);
  manner.addEventListener("change", () => setHidden(shareLabel, manner.value !== "canary"));
  confirm({
    title: "Load a version of a plugin",
    body: [
      paragraph("Another version of ", quoted(plugin.name), ". If it cannot be loaded, the present one stays."),
      el("label", {}, "Component ", file),
      el("label", {}, "Signature, where one is wanted ", signature),
      el("label", {}, "It is to ", manner),
      shareLabel,
    ],
    yes: "Load",
    run: async () => {
      const [component, signed] = [file.files[0], signature.files[0]];
      if (!component) throw new Error("choose a file with a component");
      const query = manner.value === "canary" ? `?share=${encodeURIComponent(share.value)}` : "";
      const path = pathOf("plugins", plugin.name, manner.value) + query;
      const headers = signed ? { "Waypost-Signature": base64(await signed.arrayBuffer()) } : {};
      const answer = await change("POST", path, component, headers);
      const tried = answer.trial && manner.value !== "load" ? answer.trial : answer;
      const does = manner.value === "load" ? "serves" : "is tried";
      return said(`Version ${tried.version} of ${plugin.name} ${does}.`, {});
    },
  });
}

const base64 = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)));

/** Asks for a token; null where none is given. */
export function askForToken(why) {
  // One that is open waits for this.
  if (dialog.open) dialog.close();
  return new Promise((resolve) => {
    let given = null;
    const attributes = { type: "password", autocomplete: "off", spellcheck: "false" };
    const token = el("input", attributes);
    confirm({
      title: "A token is needed",
      body: [
        paragraph(why),
        el("label", {}, "Token ", token),
        paragraph("waypost token NAME makes one, and prints what to add to the configuration: an [[admin.tokens]]. One with the role operate may change things, one with read may look."),
        paragraph("It is kept until this tab is closed."),
      ],
      yes: "Continue",
      run: async () => {
        given = token.value.trim();
        if (!/^[\x21-\x7e]+$/.test(given)) {
          given = null;
          throw new Error("a token is a word without spaces");
        }
        return null;
      },
      closed: () => resolve(given),
    });
  });
}
