// What a plugin in JavaScript or TypeScript is written with: the host's interfaces by name, each as
// `wit/` describes it, and what settings are read with.
//
// The interfaces are empty here. The component's glue (`guest.js`) fills them with the host's
// functions, a test with those of a double (`testing.js`).

export { SettingsError } from './settings.js';

/** Why there is no answer, by one of the words of `upstream-requests.failure` in the contract. */
export class RequestError extends Error {
  constructor(reason) {
    super(`there is no answer: ${reason}`);
    this.reason = reason;
  }
}

/** What the store refuses, by one of the words of `store.error` in the contract. */
export class StoreError extends Error {
  constructor(reason) {
    super(`the store: ${reason}`);
    this.reason = reason;
  }
}

/** Answers of `pick`. */
export const NO_OPINION = undefined;
export const REFUSE = -2;

/** Which interfaces each grant is for: those of `free` need none. */
export const GRANTS = {
  free: ['fleet', 'upstream', 'nginx', 'clock', 'metrics', 'log'],
  request: ['request', 'connection', 'variables'],
  response: ['response'],
  exchange: ['exchange', 'attempt'],
  changes: ['changes'],
  bodies: ['bodies'],
  checks: ['checks'],
  files: ['files'],
  http: ['upstreamRequests'], // and `fetch`: both ask upstreams that the settings name
  store: ['store'],
};

const grantOf = (name) => Object.keys(GRANTS).find((grant) => GRANTS[grant].includes(name));

/** An interface that says what to do where it has not been asked for. */
function empty(name) {
  return new Proxy(
    {},
    {
      get(functions, key) {
        if (key in functions || typeof key === 'symbol') return functions[key];
        throw new Error(
          `${name}.${key} is not there: has your plugin \`grants = ['${grantOf(name)}']\`?`,
        );
      },
    },
  );
}

export const host = {};
for (const name of Object.values(GRANTS).flat()) host[name] = empty(name);

export const {
  fleet,
  upstream,
  nginx,
  clock,
  metrics,
  log,
  request,
  connection,
  variables,
  response,
  exchange,
  attempt,
  changes,
  bodies,
  checks,
  files,
  store,
  upstreamRequests,
} = host;

/** Gives an interface its functions; whatever it had is gone. */
export function provide(name, functions) {
  for (const key of Object.keys(host[name])) delete host[name][key];
  Object.assign(host[name], functions);
}
