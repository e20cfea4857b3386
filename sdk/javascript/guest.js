// The glue between a plugin's classes and the component's exports: what the build imports beside
// the plugin. Texts are texts on this side, and bytes on the host's.

import { provide, REFUSE, RequestError, StoreError } from './index.js';
import { describe, read, SettingsError } from './settings.js';

const NO_OPINION = 0xffff_ffff;
const REFUSED = 0xffff_fffe;

const decoder = new TextDecoder();
const encoder = new TextEncoder();
export const text = (bytes) => (bytes === undefined ? undefined : decoder.decode(bytes));
export const bytes = (value) => (typeof value === 'string' ? encoder.encode(value) : value);

/** Functions whose answers are texts, and those whose last argument is one. */
const ANSWERS = {
  request: {
    header: text,
    cookie: text,
    headerAll: (all) => all.map(text),
    headers: (all) => all.map(([name, value]) => [name, text(value)]),
  },
  response: { header: text, headerAll: (all) => all.map(text) },
  exchange: { attribute: text, key: text },
  variables: { variable: text },
  bodies: { trailers: (all) => all.map(([name, value]) => [name, text(value)]) },
};
const TAKES = {
  changes: [
    'setRequestHeader',
    'addRequestHeader',
    'setResponseHeader',
    'addResponseHeader',
    'setAttribute',
    'answer',
  ],
  attempt: ['addResponseHeader'],
  checks: ['verifyPassword'],
};

function wrapped(name, imported) {
  const functions = { ...imported };
  for (const [key, convert] of Object.entries(ANSWERS[name] ?? {})) {
    functions[key] = (...given) => convert(imported[key](...given));
  }
  for (const key of TAKES[name] ?? []) {
    functions[key] = (first, last) => imported[key](first, bytes(last));
  }
  if (name === 'store') {
    for (const key of Object.keys(imported)) {
      functions[key] = (...given) =>
        failing(
          () => imported[key](...given.map(bytes)),
          (reason) => new StoreError(reason),
        );
    }
    const { get } = functions;
    functions.get = (key) => text(get(key));
  }
  if (name === 'files') {
    functions.read = (path) =>
      failing(
        () => imported.read(path),
        (reason) => new Error(reason),
      );
  }
  if (name === 'upstreamRequests') {
    const asking = (send) => (request) =>
      failing(
        () => send(outgoing(request)),
        (reason) => new RequestError(reason),
      );
    const send = asking(imported.send);
    functions.send = (request) => incoming(send(request));
    functions.sendAndLeave = asking(imported.sendAndLeave);
  }
  if (name === 'bodies') {
    functions.wantRequestBody = (wanted) => imported.wantRequestBody(manner(wanted));
    functions.wantResponseBody = (wanted, form) =>
      imported.wantResponseBody(manner(wanted), form);
    functions.setBody = (body) => imported.setBody(bytes(body));
  }
  if (name === 'request') functions.hash = (of, seed = 0n) => imported.hash(part(of), seed);
  return functions;
}

/** `'path'`, or `{ header: 'x-user' }`, as the host has it. */
function part(of) {
  if (typeof of === 'string') return { tag: of };
  const [[tag, val]] = Object.entries(of);
  return { tag, val };
}

/** `'chunks'`, or `{ whole: 65536, beyond: 'pass' }`, as the host has it. */
export function manner(wanted) {
  if (typeof wanted === 'string') return { tag: wanted };
  return { tag: 'whole', val: { atMost: wanted.whole, beyond: wanted.beyond ?? 'refuse' } };
}

/** A request to an upstream, as the host has it: without `wantedBody` a mebibyte is wanted. */
const outgoing = ({
  upstream,
  target,
  method = 'GET',
  headers = {},
  body = '',
  timeoutMs,
  wantedHeaders,
  wantedBody = 1 << 20,
}) => ({
  upstream,
  method,
  target,
  headers: Object.entries(headers).map(([name, value]) => ({ name, value: bytes(value) })),
  body: bytes(body),
  timeoutMs,
  wantedHeaders,
  wantedBody,
});

/** An answer as a plugin gets it: names of headers in lower case. */
export const incoming = ({ status, headers, body, isWhole }) => ({
  status,
  headers: Object.fromEntries(headers.map(({ name, value }) => [name.toLowerCase(), text(value)])),
  body,
  isWhole,
  text: () => text(body),
  json: () => JSON.parse(text(body)),
});

/** What a function of the host refuses comes as an object with a `payload`. */
function failing(called, error) {
  try {
    return called();
  } catch (refused) {
    throw refused?.payload === undefined ? refused : error(refused.payload);
  }
}

/** A body, or a piece of it, as methods get it. */
export const piece = (call, body, last) => ({
  ...call,
  body,
  last,
  text: () => text(body),
  json: () => JSON.parse(text(body)),
});

/** The places of the bits that are set in words of 64. */
export function indexes(words) {
  const all = [];
  words.forEach((word, at) => {
    for (let half = 0; half < 2; half++) {
      let bits = Number((word >> BigInt(32 * half)) & 0xffff_ffffn);
      while (bits) {
        const lowest = 31 - Math.clz32(bits & -bits);
        all.push(64 * at + 32 * half + lowest);
        bits &= bits - 1;
      }
    }
  });
  return all;
}

const variant = (sharing = 'per-worker') =>
  typeof sharing === 'string' ? { tag: sharing } : { tag: 'per-key', val: sharing.perKey };

/** The component's exports, for the classes of a plugin and the interfaces that it imports. */
export function serve(plugin, imported) {
  for (const [name, functions] of Object.entries(imported))
    provide(name, wrapped(name, functions));
  const { log, fleet } = imported;
  let instance; // there is one, and it is configured once
  let count = 0;

  /** An exception ends the instance, and the engine knows nothing of its text: the log does. */
  const told =
    (called) =>
    (...given) => {
      const tell = (error) => {
        const where = (error?.stack ?? '').trim().split('\n').slice(0, 4).join(' < ');
        log.write('error', `${error} (${where})`);
        throw error;
      };
      try {
        const answer = called(...given);
        // Of a hook that waits: the engine goes on with it until it is settled.
        return answer instanceof Promise ? answer.catch(tell) : answer;
      } catch (error) {
        return tell(error);
      }
    };
  const verdict = (answer) =>
    answer instanceof Promise ? answer.then(verdict) : (answer ?? 'proceed');
  /** The same for calls that may refuse settings, which is no fault. */
  const refusing = (called) => {
    const checked = told((...given) => {
      try {
        return { value: called(...given) };
      } catch (error) {
        if (error instanceof SettingsError)
          return { refused: { key: error.key, message: error.message } };
        throw error;
      }
    });
    return (...given) => {
      const { value, refused } = checked(...given);
      if (refused) throw refused;
      return value;
    };
  };

  const exports = {
    plugin: {
      configure: refusing((kind, settings) => {
        const of = plugin[kind];
        instance = new of(read(of.settings, settings));
        return variant(instance.sharing);
      }),
    },
    description: {
      describe: told((kind) => {
        const {
          about = '',
          settings,
          placeSettings,
          backups = true,
          streams = true,
        } = plugin[kind];
        return {
          summary: about,
          settings: describe(settings),
          placeSettings: describe(placeSettings),
          backups,
          streams,
        };
      }),
    },
    members: {
      update: told((generation, endpoints) => {
        count = endpoints.length;
        instance.update?.(endpoints.map((endpoint, index) => ({ index, ...endpoint })));
      }),
    },
    balancer: {
      pick: told((lease, attempt, nowUs, random, candidates) => {
        const words = count > 64 ? [...fleet.allCandidates()] : [candidates];
        const picked = instance.pick({
          lease,
          attempt,
          nowUs,
          random,
          candidates: indexes(words),
        });
        if (picked === REFUSE) return REFUSED;
        return picked ?? NO_OPINION;
      }),
    },
    filter: {
      narrow: told((word, candidates, attempt, nowUs, random) =>
        instance.narrow({ word, candidates, attempt, nowUs, random }),
      ),
      mayBeIgnored: told(() => instance.mayBeIgnored?.() ?? false),
    },
    scorer: {
      score: told((attempt, nowUs, random) =>
        Uint16Array.from(instance.score({ attempt, nowUs, random })),
      ),
    },
    memberChanges: {
      change: told((generation, endpoints) => {
        for (const [index] of endpoints) count = Math.max(count, index + 1);
        instance.change(endpoints.map(([index, endpoint]) => ({ index, ...endpoint })));
      }),
    },
    failures: { failed: told((index) => instance.failed(index)) },
    observer: {
      done: told((lease, index, outcome) => instance.done({ lease, index, ...outcome })),
    },
    hook: {
      attach: refusing((place, settings) =>
        instance.attach?.(place, read(plugin.hook.placeSettings, settings)),
      ),
    },
    onRequest: {
      onRequest: told(
        (exchange, place, nowUs, random) =>
          verdict(instance.onRequest({ exchange, place, nowUs, random })),
      ),
    },
    onCheck: {
      onCheck: told(
        (exchange, place, nowUs, passed) =>
          verdict(instance.onCheck({ exchange, place, nowUs, passed })),
      ),
    },
    onResponse: {
      onResponse: told((exchange, place, nowUs) =>
        instance.onResponse({ exchange, place, nowUs }),
      ),
    },
    onRequestBody: {
      onRequestBody: told((exchange, place, nowUs, body, last) =>
        verdict(instance.onRequestBody(piece({ exchange, place, nowUs }, body, last))),
      ),
    },
    onResponseBody: {
      onResponseBody: told((exchange, place, nowUs, body, last) =>
        verdict(instance.onResponseBody(piece({ exchange, place, nowUs }, body, last))),
      ),
    },
    onEnd: {
      onEnd: told((exchange, place, nowUs, summary) =>
        instance.onEnd({ exchange, place, nowUs, ...summary }),
      ),
    },
    keeper: {
      exportState: told(() => bytes(instance.exportState())),
      importState: (state) => {
        try {
          instance.importState(state);
        } catch (error) {
          throw String(error?.message ?? error); // no fault: it serves with what it has
        }
      },
    },
    ticker: { tick: told((nowUs) => instance.tick(nowUs) ?? 0) },
    fileChanges: { changed: told((path, content) => instance.changed(path, content)) },
  };
  return exports;
}
