// A filter: a request that names a zone in a header goes to servers of that zone, which is a label
// of theirs. Where none of them can be asked, to any.

import { fleet, request } from 'waypost';
import type { Choice, Endpoint, Filter, Grant, Schema } from 'waypost';

/** What the plugin asks of the host: the same words as in `waypost.toml`. */
export const grants: Grant[] = ['request'];

interface Settings {
  header: string;
}

export class filter implements Filter {
  static about = 'The servers of the zone that a request names';
  static settings: Schema = {
    header: { type: 'string', default: 'x-zone', description: 'The header that names the zone' },
  };

  header: string;
  zones: (string | undefined)[] = [];

  constructor({ header }: Settings) {
    this.header = header;
  }

  update(endpoints: Endpoint[]) {
    this.zones = endpoints.map(({ index }) => fleet.label(index, 'zone'));
  }

  narrow({ word, candidates }: Choice & { word: number; candidates: bigint }): bigint {
    const zone = request.header(this.header);
    if (zone === undefined) return candidates;
    let own = 0n;
    for (let bit = 0; bit < 64; bit++) {
      if (this.zones[64 * word + bit] === zone) own |= 1n << BigInt(bit);
    }
    return candidates & own;
  }

  mayBeIgnored(): boolean {
    return true;
  }
}
