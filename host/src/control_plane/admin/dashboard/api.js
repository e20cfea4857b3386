// The admin API, as `docs/admin.md` has it: asked by relative paths, so that a proxy in front may
// put the page below a path of its own.

const TOKEN = "waypost-token";
/** For an answer: that of a change may wait for a compiler, as the commands do. */
const PATIENCE = { GET: 20_000, other: 310_000 };

/** What the API says no with, in its words. */
export class Refused extends Error {
  constructor(status, message, problems = []) {
    super(message);
    this.status = status;
    this.problems = problems;
  }
}

/** Asks for a token: set by the page; resolves to one, or to null where none is given. */
let askForToken = async () => null;
export function onTokenWanted(ask) {
  askForToken = ask;
}

async function send(method, path, body, headers) {
  const token = sessionStorage.getItem(TOKEN);
  const response = await fetch(path, {
    method,
    body,
    headers: token ? { ...headers, Authorization: `Bearer ${token}` } : headers,
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
    signal: AbortSignal.timeout(PATIENCE[method] ?? PATIENCE.other),
  });
  return [response, token];
}

async function refusal(response) {
  const text = await response.text();
  try {
    const { error, problems } = JSON.parse(text);
    return new Refused(response.status, error, problems);
  } catch {
    return new Refused(response.status, text || `the answer has the status ${response.status}`);
  }
}

async function ask(method, path, body, headers = {}) {
  let [response, token] = await send(method, path, body, headers);
  while (response.status === 401) {
    const why = await refusal(response);
    const given = await wantToken(why.message, token);
    if (given === null) throw why;
    [response, token] = await send(method, path, body, headers);
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

let asking = null;
/** One question for all that wait; a token that came meanwhile is tried first. */
async function wantToken(why, tried) {
  const present = sessionStorage.getItem(TOKEN);
  if (present !== tried) return present;
  sessionStorage.removeItem(TOKEN);
  asking ??= askForToken(why).finally(() => (asking = null));
  const token = await asking;
  if (token !== null) sessionStorage.setItem(TOKEN, token);
  return token;
}

export const getJson = async (path) => (await ask("GET", path)).json();
export const getText = async (path) => (await ask("GET", path)).text();

/** A change: JSON where it is said so, or the bytes of a file. */
export async function change(method, path, body, headers) {
  const isFile = body instanceof Blob;
  const type = isFile ? "application/wasm" : "application/json";
  const content = body === undefined || isFile ? body : JSON.stringify(body);
  const all = body === undefined ? headers : { "Content-Type": type, ...headers };
  return (await ask(method, path, content, all)).json();
}

/** A path of segments, each of which may have any text. */
export const pathOf = (...segments) => segments.map(encodeURIComponent).join("/");
