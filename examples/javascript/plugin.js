// Two plugins in one component: a policy that keeps each tenant on a server of its own, and a hook
// that counts the requests of tenants, and masks a word in bodies.

import { bodies, changes, fleet, metrics, request, SettingsError } from 'waypost';

/** What the plugin asks of the host: the same words as in `waypost.toml`. */
export const grants = ['request', 'changes', 'bodies'];

const header = {
  type: 'string',
  default: 'x-tenant',
  description: 'The header that names the tenant',
};

/** One server for each tenant, by a hash of its name; the least loaded one for everybody else. */
class ByTenant {
  static about = 'By the hash of a header, else the least loaded server';
  static settings = { header };

  constructor({ header }) {
    if (!header) throw new SettingsError('header', '`header` must not be empty');
    this.header = header;
  }

  pick({ candidates }) {
    if (request.header(this.header)) {
      const hash = request.hash({ header: this.header });
      return candidates[Number(hash % BigInt(candidates.length))];
    }
    const loads = fleet.allInFlight(); // of all servers at once: a call to the host costs something
    return candidates.reduce((best, index) => (loads[index] < loads[best] ? index : best));
  }
}

/** Counts the requests of some tenants, stamps what it has counted, and masks a word in bodies. */
class CountTenants {
  static about = 'Counts requests by tenant';
  static settings = {
    header,
    tenants: {
      type: 'array',
      items: { type: 'string' },
      required: true,
      description: 'Those that are counted; all others are `other`',
    },
    mask: { type: 'string', minLength: 1, description: 'What no body may tell, either way' },
  };

  sharing = 'per-process'; // one instance, so that the numbers are those of all workers

  constructor({ header, tenants, mask }) {
    this.header = header;
    this.mask = mask;
    this.counts = new Map();
    for (const name of [...tenants, 'other']) {
      if (!/^[a-z0-9_]+$/.test(name))
        throw new SettingsError('tenants', `\`${name}\` is no name of a counter`);
      this.counts.set(name, { counter: metrics.counter(`requests_${name}`), count: 0 });
    }
  }

  onRequest() {
    const tenant = request.header(this.header);
    const name = this.counts.has(tenant) ? tenant : 'other';
    const counted = this.counts.get(name);
    counted.count += 1;
    metrics.add(counted.counter, 1n);
    changes.setRequestHeader('x-counted-as', name);
    changes.setResponseHeader('x-counted', String(counted.count));
    // Whoever does not ask for a body pays nothing for it.
    if (this.mask) bodies.wantRequestBody({ whole: 65536, beyond: 'pass' });
    return 'proceed';
  }

  onResponse() {
    if (this.mask) bodies.wantResponseBody({ whole: 65536, beyond: 'pass' }, 'decoded');
  }

  onRequestBody(call) {
    const text = call.text();
    if (text.includes(this.mask)) bodies.setBody(text.replaceAll(this.mask, '***'));
  }

  onResponseBody(call) {
    this.onRequestBody(call);
  }
}

export { ByTenant as policy, CountTenants as hook };
