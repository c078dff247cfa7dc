/**
 * A connection of a simulated network: two wires, and what is in store for them.
 */
import { UNIXAddress, type Address } from '../../address.ts';
import type { Machine } from './machine.ts';
import type { Network } from './network.ts';
import type { Random } from './random.ts';
import { SimWire } from './wire.ts';

/** Where in a direction's bytes a fault strikes: near its beginning as often as far from it. */
const FARTHEST_FAULT = 2 ** 17;

/** The faults that strike a connection at some byte. */
const FATES = ['reset', 'truncate', 'stall', 'silence'] as const;

/** A fault that strikes one direction when so many bytes of it have been sent. */
export interface Fate {
  readonly kind: (typeof FATES)[number];
  readonly at: number;
  readonly details: Random;
}

/** A connection: what both of its ends share. */
export class Connection {
  /** As it is called in the trace and in the names of faults: `a>b#3`. */
  readonly name: string;
  readonly network: Network;
  readonly random: Random;
  readonly style: 'whole' | 'cut' | 'drip';
  /** Nothing gets through any more, in either direction, and nobody is told. */
  silent = false;
  /** Made by the client's machine, and taken by the server's. */
  readonly client: SimWire;
  readonly server: SimWire;

  constructor(
    network: Network,
    name: string,
    client: { machine: Machine; address: Address },
    server: { machine: Machine; address: Address },
  ) {
    this.network = network;
    this.name = name;
    this.random = network.kernel.random.stream(name);
    const { conditions } = network;
    const drips = this.random.chance(conditions.drips);
    const cut = this.random.chance(conditions.cuts);
    this.style = drips ? 'drip' : cut ? 'cut' : 'whole';
    this.client = new SimWire(this, client.machine, client.address, server.address);
    this.server = new SimWire(this, server.machine, server.address, client.address);
    this.client.other = this.server;
    this.server.other = this.client;
    for (const kind of FATES) {
      const details = network.faults.strike(kind, name, conditions.faults[kind]);
      if (details === undefined) continue;
      const victim = details.chance(0.5) ? this.client : this.server;
      victim.fates.push({ kind, at: details.size(FARTHEST_FAULT) - 1, details });
    }
  }

  /** True if it is of a kind that can be reset. */
  get resets(): boolean {
    return !(this.client.host instanceof UNIXAddress);
  }
}
