// The page: it asks again and again, one question after the other, as long as somebody can see it.

import { askForToken, onChanged, reload, words } from "./actions.js";
import { getJson, getText, onTokenWanted } from "./api.js";
import { Charts } from "./charts.js";
import { byId, setAttribute, setHidden, setText } from "./dom.js";
import { Figures, parse } from "./figures.js";
import { Overview, certificatesOf } from "./overview.js";
import { Plugins } from "./plugins.js";
import { Upstreams } from "./upstreams.js";

/** Between rounds; the pause grows with what a round takes, and while nobody answers. */
const PAUSE = 2_000;
const LONGEST = 30_000;
const SHARE = 4;

const figures = new Figures();
const [overview, upstreams, plugins, charts] = [new Overview(), new Upstreams(), new Plugins(), new Charts()];

const seen = { certificates: [], events: [] };
let hasCertificates = true;

/** What only some processes tell: null where it is not there. */
async function certificates() {
  if (!hasCertificates) return null;
  try {
    return (await getJson("certificates")).certificates;
  } catch (error) {
    if (error.status !== 404) throw error;
    hasCertificates = false;
    return null;
  }
}

async function round() {
  seen.status = await getJson("status");
  seen.upstreams = (await getJson("upstreams")).upstreams;
  seen.plugins = (await getJson("plugins")).plugins;
  seen.events = (await getJson("events")).events;
  const families = parse(await getText("metrics"));
  const now = Date.now();
  seen.certificates = certificatesOf(await certificates(), families, now);
  // Something was changed meanwhile: part of this is from before, and is asked for again at once.
  if (isWanted) return;
  figures.take(families, now, seen.status.pid);
  overview.show(seen, figures);
  upstreams.show(seen.upstreams, figures);
  plugins.show(seen.plugins, figures);
  charts.show(figures.history, now);
}

let [timer, isAsking, isPaused, isWanted, failures] = [null, false, false, false, 0];

async function poll() {
  clearTimeout(timer);
  timer = null;
  // One that is asked for meanwhile follows at once.
  if (isAsking) return void (isWanted = true);
  [isAsking, isWanted] = [true, false];
  const begin = performance.now();
  try {
    await round();
    failures = 0;
    setHidden(byId("lost"), true);
    setText(byId("updated"), `as of ${new Date().toLocaleTimeString("en-GB")}`);
  } catch (error) {
    failures += 1;
    // Who gave no token is not asked again and again.
    if (error.status === 401) setPaused(true);
    // The first one may be a process that hands over to another.
    if (failures > 1 || error.status !== undefined) {
      setText(byId("lost"), `What is shown is old: ${words(error).join(" ")}`);
      setHidden(byId("lost"), false);
      setText(byId("state"), "no answer");
      setAttribute(byId("state"), "class", "state bad");
    }
  } finally {
    isAsking = false;
  }
  const took = performance.now() - begin;
  const pause = Math.min(Math.max(PAUSE * 2 ** Math.min(failures, 4), took * SHARE), LONGEST);
  if (isWanted) poll();
  else if (!document.hidden && !isPaused) timer = setTimeout(poll, pause);
}

function look() {
  clearTimeout(timer);
  timer = null;
  if (!document.hidden && !isPaused) poll();
}

function setPaused(paused) {
  isPaused = paused;
  setAttribute(byId("pause"), "aria-pressed", isPaused);
}

byId("pause").addEventListener("click", () => {
  setPaused(!isPaused);
  look();
});
byId("reload").addEventListener("click", reload);
document.addEventListener("visibilitychange", look);
onChanged(poll);
onTokenWanted(askForToken);
look();
