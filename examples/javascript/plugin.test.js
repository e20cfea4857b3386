import assert from 'node:assert/strict';
import { test } from 'node:test';

import { SettingsError } from 'waypost';
import { Hooked, Upstream } from 'waypost/testing';

import { grants, hook, policy } from './plugin.js';

test('a tenant stays on its server, whatever its load', () => {
  const upstream = new Upstream(policy, { servers: 3, grants });
  const acme = { headers: { 'X-Tenant': 'acme' } };
  const first = upstream.pick(acme);
  upstream.servers[first].inFlight = 100;
  assert.equal(upstream.pick(acme), first);
});

test('everybody else gets the least loaded server that is up', () => {
  const upstream = new Upstream(policy, { servers: 3, grants });
  upstream.servers[0].inFlight = 2;
  upstream.servers[1].inFlight = 1;
  upstream.servers[2].isDown = true;
  assert.equal(upstream.pick(), 1);
});

test('a misspelled setting is refused by its key', () => {
  const refused = (error) =>
    error instanceof SettingsError &&
    error.key === 'haeder' &&
    error.message === 'unknown key `haeder`; did you mean `header`?';
  assert.throws(() => new Upstream(policy, { settings: { haeder: 'x-customer' } }), refused);
});

test('requests are counted and stamped by tenant', () => {
  const hooked = new Hooked(hook, { settings: { tenants: ['acme'] }, grants });
  hooked.request({ headers: { 'x-tenant': 'acme' } });
  const exchange = hooked.request({ headers: { 'x-tenant': 'acme' } });
  assert.equal(exchange.verdict, 'proceed');
  assert.equal(exchange.requestHeaders['x-counted-as'], 'acme');
  assert.equal(exchange.responseHeaders['x-counted'], '2');
  const other = hooked.request({ headers: { 'x-tenant': 'initech' } });
  assert.equal(other.requestHeaders['x-counted-as'], 'other');
  assert.deepEqual(hooked.counters, { requests_acme: 2, requests_other: 1 });
});

test('a word is masked in bodies, either way, where it is to be', () => {
  const hooked = new Hooked(hook, { settings: { tenants: [], mask: '4111' }, grants });
  const exchange = hooked.requestBody(hooked.request(), 'card 4111');
  hooked.responseBody(hooked.response(exchange), ['41', '11']);
  assert.deepEqual([exchange.requestBody, exchange.responseBody], ['card ***', '***']);
  const without = new Hooked(hook, { settings: { tenants: [] }, grants });
  assert.deepEqual(without.response(without.request()).wanted, {});
});
