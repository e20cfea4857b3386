import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Upstream } from 'waypost/testing';

import { filter, grants } from './plugin';

const servers = ['a', 'b', 'a'].map((zone) => ({ labels: { zone } }));
const of = (zone: string) => ({ headers: { 'X-Zone': zone } });

test('a request goes to the zone that it names', () => {
  const upstream = new Upstream(filter, { servers, grants });
  assert.deepEqual(upstream.narrow(of('a')), [0, 2]);
  assert.deepEqual(upstream.narrow(of('b')), [1]);
  assert.deepEqual(upstream.narrow(), [0, 1, 2]);
});

test('a zone without a server leaves none, and the filter is ignored', () => {
  const upstream = new Upstream(filter, { servers, grants });
  assert.deepEqual(upstream.narrow(of('c')), []);
  assert.equal(upstream.policy.mayBeIgnored(), true);
});
