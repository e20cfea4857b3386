// A hook: a request has to name its tenant in a header, or is answered with a 401. The server, the
// log and other hooks learn the tenant.

import { changes, exchange, request } from 'waypost';
import type { Grant, Hook, Schema, Verdict } from 'waypost';

/** What the plugin asks of the host: the same words as in `waypost.toml`. */
export const grants: Grant[] = ['request', 'exchange', 'changes'];

interface Settings {
  header: string;
}

export class hook implements Hook {
  static about = 'Refuses requests that name no tenant';
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

  onRequest(): Verdict {
    const tenant = request.header(this.header);
    if (tenant === undefined) {
      exchange.note('no tenant');
      changes.answer(401, `say who you are: ${this.header}\n`);
      return 'answer';
    }
    exchange.note(`tenant ${tenant}`);
    changes.setRequestHeader('x-authenticated-tenant', tenant);
    changes.setAttribute('tenant', tenant);
    return 'proceed';
  }
}
