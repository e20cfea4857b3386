// A scorer: the fewer requests a server has in progress, the better; one with `most` of them or
// more is as bad as any.

import { fleet } from 'waypost';
import type { Grant, Schema, Scorer } from 'waypost';

/** What the plugin asks of the host: the same words as in `waypost.toml`. */
export const grants: Grant[] = [];

const BEST = 65535;

interface Settings {
  most: number;
}

export class scorer implements Scorer {
  static about = 'The servers with the fewest requests in progress';
  static settings: Schema = {
    most: {
      type: 'integer',
      minimum: 1,
      maximum: 1000,
      default: 10,
      description: 'Requests from which on a server has no points',
    },
  };

  most: number;

  constructor({ most }: Settings) {
    this.most = most;
  }

  score(): number[] {
    const score = (load: number) => Math.floor((BEST * Math.max(0, this.most - load)) / this.most);
    return Array.from(fleet.allInFlight(), score);
  }
}
