import type {
  Filter,
  Grant,
  Hook,
  Manner,
  OutgoingRequest,
  Outcome,
  PluginClass,
  Policy,
  Scorer,
  Summary,
  Text,
  Verdict,
} from './index.js';

/** A request as a test gives it. */
export interface TestRequest {
  method?: string;
  path?: string;
  query?: string;
  authority?: string;
  headers?: Record<string, string | string[]>;
  cookies?: Record<string, string>;
}
export interface TestServer {
  name: string;
  weight: number;
  labels: Record<string, string>;
  inFlight: number;
  isDown: boolean;
  latencyUs: number;
  health: number;
}
declare class Double {
  counters: Record<string, number>;
  log: string[];
  notes: string[];
  nowUs: bigint;
  store: Map<string, string>;
  files: Record<string, Text>;
  changeFile(path: string, content?: Text): void;
}
/** With a policy, which picks; or with a filter, which narrows, or a scorer, which scores. */
export class Upstream<P extends Policy | Filter | Scorer> extends Double {
  constructor(
    policy: PluginClass<P>,
    given?: {
      settings?: object;
      servers?: number | Partial<TestServer>[];
      grants?: readonly Grant[];
      files?: Record<string, Text>;
    },
  );
  policy: P;
  servers: TestServer[];
  responseHeaders: Record<string, string>;
  memo: bigint;
  refusalStatus?: number;
  pick(
    request?: TestRequest,
    attempt?: { attempt?: number; tried?: number[]; random?: bigint },
  ): number | undefined;
  narrow(request?: TestRequest, attempt?: { attempt?: number; random?: bigint }): number[];
  change(servers: (Partial<TestServer> & { name: string })[]): void;
  done(index: number, outcome?: Partial<Outcome>): void;
  score(request?: TestRequest, attempt?: { attempt?: number; random?: bigint }): number[];
}
export interface TestExchange {
  verdict: Verdict;
  /** By name in lower case; `null` for one that is removed. */
  requestHeaders: Record<string, string | null>;
  responseHeaders: Record<string, string | null>;
  attributes: Record<string, string>;
  method?: string;
  path?: string;
  query?: string;
  delayUs?: bigint;
  route?: string;
  upstream?: string;
  answer?: { status: number; body: string };
  check?: { hash: string; password: Text };
  wanted: { request?: Manner; response?: Manner; form?: 'as-sent' | 'decoded' };
  /** What the hook has made of the bodies. */
  requestBody?: string;
  responseBody?: string;
}
export class Hooked<H extends Hook> extends Double {
  constructor(
    hook: PluginClass<H>,
    given?: {
      settings?: object;
      places?: object[];
      grants?: readonly Grant[];
      files?: Record<string, Text>;
    },
  );
  hook: H;
  /** What upstreams answer, and what they were asked. */
  upstream: (
    request: OutgoingRequest,
  ) => { status?: number; headers?: Record<string, Text>; body?: Text } | undefined;
  asked: OutgoingRequest[];
  request(
    request?: TestRequest,
    at?: { place?: number; attributes?: Record<string, string> },
  ): TestExchange;
  response(
    exchange: TestExchange,
    answer?: { place?: number; status?: number; headers?: Record<string, string> },
  ): TestExchange;
  check(exchange: TestExchange, passed: boolean, at?: { place?: number }): TestExchange;
  requestBody(
    exchange: TestExchange,
    body: Text | Text[],
    at?: { place?: number; trailers?: [string, string][] },
  ): TestExchange;
  responseBody(
    exchange: TestExchange,
    body: Text | Text[],
    at?: { place?: number },
  ): TestExchange;
  end(exchange: TestExchange, summary?: Partial<Summary> & { place?: number }): void;
}
export function schemaOf(plugin: PluginClass<unknown>): object;
