import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Upstream } from 'waypost/testing';

import { grants, policy } from './plugin';

test('a tenant stays on its server, whatever its load', () => {
  const upstream = new Upstream(policy, { servers: 3, grants });
  const acme = { headers: { 'X-Tenant': 'acme' } };
  const first = upstream.pick(acme);
  upstream.servers[first!].inFlight = 100;
  assert.equal(upstream.pick(acme), first);
});

test('everybody else gets the least busy server that is up', () => {
  const upstream = new Upstream(policy, { servers: 3, grants });
  upstream.servers[0].inFlight = 2;
  upstream.servers[1].inFlight = 1;
  upstream.servers[2].isDown = true;
  assert.equal(upstream.pick(), 1);
});

test('a misspelled setting is refused', () => {
  const misspelled = () => new Upstream(policy, { settings: { haeder: 'x-tenant' } });
  assert.throws(misspelled, { message: 'unknown key `haeder`; did you mean `header`?' });
});
