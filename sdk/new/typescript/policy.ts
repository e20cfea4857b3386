// A policy: one server for each tenant, by a hash of the header that names it; the least busy one
// for everybody else.

import { exchange, fleet, request } from 'waypost';
import type { Grant, Pick, Policy, Schema } from 'waypost';

/** What the plugin asks of the host: the same words as in `waypost.toml`. */
export const grants: Grant[] = ['request', 'exchange'];

interface Settings {
  header: string;
}

export class policy implements Policy {
  static about = 'One server for each tenant, else the least busy one';
  static settings: Schema = {
    header: {
      type: 'string',
      default: 'x-tenant',
      description: 'The header that names the tenant',
    },
  };

  header: string;

  constructor({ header }: Settings) {
    this.header = header;
  }

  pick({ candidates }: Pick): number {
    const tenant = request.header(this.header);
    if (tenant) {
      exchange.note(`tenant ${tenant}`);
      const hash = request.hash({ header: this.header });
      return candidates[Number(hash % BigInt(candidates.length))];
    }
    exchange.note('no tenant');
    const loads = fleet.allInFlight();
    return candidates.reduce((best, index) => (loads[index] < loads[best] ? index : best));
  }
}
