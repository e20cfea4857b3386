// Types of the host's interfaces, as `wit/` describes them, and of what a plugin consists of.

export class SettingsError extends Error {
  constructor(key: string, message: string);
  readonly key: string;
}

/** Why an upstream gave no answer: one of the words of `upstream-requests.failure`. */
export class RequestError extends Error {
  constructor(reason: string);
  readonly reason: string;
}

/** What the store refuses. */
export class StoreError extends Error {
  constructor(reason: 'full' | 'unavailable' | 'too-large' | 'wrong-kind');
  readonly reason: 'full' | 'unavailable' | 'too-large' | 'wrong-kind';
}

/** Answers of `pick`. */
export const NO_OPINION: undefined;
export const REFUSE: -2;

export type Grant =
  | 'request'
  | 'response'
  | 'exchange'
  | 'changes'
  | 'bodies'
  | 'checks'
  | 'files'
  | 'http'
  | 'store';
export type Text = string | Uint8Array;

/** A key of a schema, in the words of JSON Schema. */
export interface Rule {
  type?: 'string' | 'integer' | 'number' | 'boolean' | 'array' | 'object';
  description?: string;
  default?: unknown;
  required?: boolean;
  enum?: unknown[];
  minimum?: number;
  maximum?: number;
  minLength?: number;
  items?: Rule;
  properties?: Schema;
}
export type Schema = Record<string, Rule>;
export type Sharing = 'per-worker' | 'per-process' | { perKey: string };

export interface Endpoint {
  index: number;
  id: bigint;
  address: string;
  weight: number;
}
export interface Pick {
  lease: bigint;
  attempt: number;
  nowUs: bigint;
  random: bigint;
  /** The endpoints that may be picked, in order; one at least. */
  candidates: number[];
}
export interface Outcome {
  lease: bigint;
  index: number;
  status: number;
  connectUs: number;
  headerUs: number;
  totalUs: number;
  ending: 'completed' | 'failed' | 'passed-over' | 'unused' | 'abandoned';
}
/** A policy. A method that is not there is never called. */
export interface Policy {
  sharing?: Sharing;
  update?(endpoints: Endpoint[]): void;
  pick(call: Pick): number | undefined;
  change?(endpoints: Endpoint[]): void;
  failed?(index: number): void;
  done?(outcome: Outcome): void;
  exportState?(): Text;
  importState?(state: Uint8Array): void;
  tick?(nowUs: bigint): number;
  changed?(path: string, content: Uint8Array | undefined): void;
}

export interface Choice {
  attempt: number;
  nowUs: bigint;
  random: bigint;
}
/** Narrows the candidates before a policy picks. */
export interface Filter {
  sharing?: Sharing;
  update?(endpoints: Endpoint[]): void;
  /** Those that stay of the candidates of one word: endpoint `64 * word` in the lowest bit. */
  narrow(call: Choice & { word: number; candidates: bigint }): bigint;
  /** Whether all candidates may be chosen from, where none was left: without it, no. */
  mayBeIgnored?(): boolean;
  exportState?(): Text;
  importState?(state: Uint8Array): void;
  tick?(nowUs: bigint): number;
  changed?(path: string, content: Uint8Array | undefined): void;
}
/** Ranks the candidates before a policy picks. */
export interface Scorer {
  sharing?: Sharing;
  update?(endpoints: Endpoint[]): void;
  /** How good each endpoint is, in order, from 0 to 65,535. */
  score(call: Choice): ArrayLike<number>;
  exportState?(): Text;
  importState?(state: Uint8Array): void;
  tick?(nowUs: bigint): number;
  changed?(path: string, content: Uint8Array | undefined): void;
}

export interface Call {
  exchange: bigint;
  place: number;
  nowUs: bigint;
}
export type Verdict = 'proceed' | 'answer' | 'reroute' | 'wait';
export interface Summary {
  status: number;
  complete: boolean;
  durationUs: bigint;
  bytesSent: bigint;
  bytesReceived: bigint;
}
/** A body, where it was wanted as a whole, or a piece of it. */
export interface Piece {
  body: Uint8Array;
  /** Nothing follows. */
  last: boolean;
  text(): string;
  json(): any;
}
/** A hook: one phase at least. */
export interface Hook {
  sharing?: Sharing;
  attach?(place: number, settings: any): void;
  /** `async` where it waits for a `fetch`: the grant `http`. */
  onRequest?(call: Call & { random: bigint }): Verdict | void | Promise<Verdict | void>;
  onCheck?(call: Call & { passed: boolean }): Verdict | void | Promise<Verdict | void>;
  onResponse?(call: Call): void;
  /** The body of a request, where `bodies.wantRequestBody` has asked for it. */
  onRequestBody?(call: Call & Piece): Verdict | void;
  /** The body of an answer, where `bodies.wantResponseBody` has asked for it. */
  onResponseBody?(call: Call & Piece): Verdict | void;
  onEnd?(call: Call & Summary): void;
  exportState?(): Text;
  importState?(state: Uint8Array): void;
  tick?(nowUs: bigint): number;
  changed?(path: string, content: Uint8Array | undefined): void;
}

/** A class of a plugin: what it says of itself, and how it is made. */
export interface PluginClass<T> {
  new (settings: any): T;
  about?: string;
  settings?: Schema;
  placeSettings?: Schema;
  backups?: boolean;
  streams?: boolean;
}

export type Part =
  'authority' | 'path' | 'query' | 'client-address' | { header: string } | { cookie: string };
export type Address = { tag: 'ipv4' | 'ipv6'; val: number[] };

export const fleet: {
  name(index: number): string;
  isDown(index: number): boolean;
  label(index: number, name: string): string | undefined;
  candidates(word: number): bigint;
  allCandidates(): BigUint64Array;
  inFlight(index: number): number;
  allInFlight(): Uint32Array;
  latencyUs(index: number): number;
  allLatencyUs(): Uint32Array;
  health(index: number): number;
  allHealth(): Uint32Array;
};
export const upstream: { name(): string; hasBackups(): boolean; carriesStreams(): boolean };
export const nginx: {
  checkVariable(name: string): string | undefined;
  checkEarlyVariable(name: string): string | undefined;
  maxFails(index: number): number;
  failTimeout(index: number): bigint;
  route(index: number): string;
};
export const clock: { wallMs(): bigint };
export const metrics: { counter(name: string): number; add(counter: number, value: bigint): void };
export type Level = 'error' | 'warn' | 'info' | 'debug';
export const log: {
  write(level: Level, message: string): void;
  writeExchange(level: Level, message: string): void;
};

export const request: {
  method(): string;
  scheme(): string;
  authority(): string;
  path(): string;
  query(): string;
  decodedPath(): string;
  version(): 'http10' | 'http11' | 'http2' | 'http3';
  header(name: string): string | undefined;
  headerAll(name: string): string[];
  headers(): [string, string][];
  cookie(name: string): string | undefined;
  hash(part: Part, seed?: bigint): bigint;
};
export const connection: {
  clientAddress(): Address | undefined;
  peerAddress(): Address | undefined;
  peerPort(): number;
  localAddress(): Address | undefined;
  localPort(): number;
  serverName(): string | undefined;
  alpn(): string | undefined;
  tlsVersion(): string | undefined;
  certificateSubject(): string | undefined;
  certificateFingerprint(): Uint8Array | undefined;
};
export const variables: { variable(name: string): string | undefined };
export const response: {
  status(): number;
  header(name: string): string | undefined;
  headerAll(name: string): string[];
  isLocal(): boolean;
};
export const exchange: {
  attribute(name: string): string | undefined;
  key(): string;
  note(text: string): void;
  isNoteWanted(): boolean;
};
export const attempt: {
  memo(): bigint;
  setMemo(value: bigint): void;
  addResponseHeader(name: string, value: Text): void;
  setRefusalStatus(status: number): void;
  failure(): string;
  bytesSent(): bigint;
  bytesReceived(): bigint;
};
export const changes: {
  setMethod(method: string): boolean;
  setPath(path: string): boolean;
  setQuery(query: string): boolean;
  setRequestHeader(name: string, value: Text): boolean;
  addRequestHeader(name: string, value: Text): boolean;
  removeRequestHeader(name: string): boolean;
  setResponseHeader(name: string, value: Text): boolean;
  addResponseHeader(name: string, value: Text): boolean;
  removeResponseHeader(name: string): boolean;
  setAttribute(name: string, value: Text): boolean;
  answer(status: number, body: Text): boolean;
  delay(us: bigint): boolean;
  takeRoute(name: string): boolean;
  takeUpstream(name: string): boolean;
  checkRoute(name: string): string | undefined;
  checkUpstream(name: string): string | undefined;
};
/** How a body is wanted: in pieces that may be replaced, in pieces as they are, or as a whole. */
export type Manner = 'chunks' | 'watch' | { whole: number; beyond?: 'refuse' | 'pass' };
export const bodies: {
  /** In `onRequest` and `onCheck`; false where there is no method `onRequestBody`. */
  wantRequestBody(manner: Manner): boolean;
  /** In `onResponse`; false where there is no method `onResponseBody`. */
  wantResponseBody(manner: Manner, form: 'as-sent' | 'decoded'): boolean;
  /** What goes on in place of the bytes at hand. */
  setBody(body: Text): boolean;
  /** With the last piece of a request's body. */
  trailers(): [string, string][];
};
export const checks: {
  verifyPassword(hash: string, password: Text): void;
  checkHash(hash: string): string | undefined;
};
/** What all instances share. What fails throws a `StoreError`. */
export const store: {
  isElsewhere(): boolean;
  get(key: Text): string | undefined;
  set(key: Text, value: Text, ttlMs: bigint): void;
  add(key: Text, amount: bigint, ttlMs: bigint): bigint;
  compareAndSwap(key: Text, expected: Text | undefined, value: Text, ttlMs: bigint): boolean;
  delete(key: Text): boolean;
  fill(key: Text, amount: bigint, leak: bigint, capacity: bigint): bigint;
};
/** A request to an upstream that the settings name: path and query are its `target`. */
export interface OutgoingRequest {
  upstream: string;
  target: string;
  method?: string;
  headers?: Record<string, Text>;
  body?: Text;
  timeoutMs?: number;
  /** All without it. */
  wantedHeaders?: string[];
  /** How many bytes: a mebibyte without it. */
  wantedBody?: number;
}
export interface IncomingResponse {
  status: number;
  /** By names in lower case. */
  headers: Record<string, string>;
  body: Uint8Array;
  isWhole: boolean;
  text(): string;
  json(): any;
}
/** In `onRequest`, `onCheck`, and `onRequestBody` with a whole body. What fails throws a `RequestError`. */
export const upstreamRequests: {
  send(request: OutgoingRequest): IncomingResponse;
  sendAndLeave(request: OutgoingRequest): void;
};
/** In `constructor` and `attach`. What cannot be read throws an `Error` that says why. */
export const files: { read(path: string): Uint8Array | undefined; isThere(path: string): boolean };
