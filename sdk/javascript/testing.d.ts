import type { Filter, Grant, Hook, PluginClass, Policy, Scorer, Verdict } from './index.js';

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
}
/** With a policy, which picks; or with a filter, which narrows, or a scorer, which scores. */
export class Upstream<P extends Policy | Filter | Scorer> extends Double {
  constructor(
    policy: PluginClass<P>,
    given?: {
      settings?: object;
      servers?: number | Partial<TestServer>[];
      grants?: readonly Grant[];
    },
  );
  policy: P;
  servers: TestServer[];
  responseHeaders: Record<string, string>;
  pick(
    request?: TestRequest,
    attempt?: { attempt?: number; tried?: number[]; random?: bigint },
  ): number | undefined;
  narrow(request?: TestRequest, attempt?: { attempt?: number; random?: bigint }): number[];
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
}
export class Hooked<H extends Hook> extends Double {
  constructor(
    hook: PluginClass<H>,
    given?: { settings?: object; places?: object[]; grants?: readonly Grant[] },
  );
  hook: H;
  request(
    request?: TestRequest,
    at?: { place?: number; attributes?: Record<string, string> },
  ): TestExchange;
  response(
    exchange: TestExchange,
    answer?: { place?: number; status?: number; headers?: Record<string, string> },
  ): TestExchange;
}
export function schemaOf(plugin: PluginClass<unknown>): object;
