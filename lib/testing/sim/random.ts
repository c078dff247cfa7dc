/**
 * Chance from a seed. Each decision of a simulation is drawn from a stream that has a name of its own, so that a draw
 * more in one place does not change what is drawn in another. Only whole-number arithmetic is used: the same seed
 * gives the same numbers on every machine.
 */
import { INSPECT, inspected, type Inspecting, told } from '../../one-line.ts';

/** A hash of `text` that spreads over 32 bits, begun from `state`. */
function hash(text: string, state: number): number {
  let h = state ^ 0x9e3779b9;
  for (let i = 0; i < text.length; i++) {
    h = Math.imul(h ^ text.charCodeAt(i), 0x85ebca6b);
    h = (h << 13) | (h >>> 19);
  }
  h = Math.imul(h ^ (h >>> 16), 0xc2b2ae35);
  return h ^ (h >>> 15);
}

/**
 * A stream of chance: the sfc32 generator.
 *
 * @example
 * const chance = new Random('42');
 * chance.int(6) + 1;                       // a die
 * chance.stream('weather').next();         // does not depend on how often the die was thrown
 */
export class Random {
  readonly #seed: string;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number | string) {
    this.#seed = String(seed);
    this.#a = hash(this.#seed, 1);
    this.#b = hash(this.#seed, 2);
    this.#c = hash(this.#seed, 3);
    for (let i = 0; i < 12; i++) this.#draw();
  }

  /** Another stream, which depends on the seed and the name alone. */
  stream(name: string): Random {
    return new Random(`${this.#seed}/${name}`);
  }

  /** 32 bits. */
  #draw(): number {
    const t = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + t) | 0;
    return t >>> 0;
  }

  /** A number from 0 up to, but not including, 1. */
  next(): number {
    return this.#draw() / 0x1_0000_0000;
  }

  /** A whole number from 0 up to, but not including, `limit`. */
  int(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  /** A number from `least` up to `most`. */
  between(least: number, most: number): number {
    return least + this.next() * (most - least);
  }

  /** True with the given probability; draws in any case. */
  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /**
   * A whole number from 1 to `most`, which has at most 30 bits. Small ones are as likely as large ones: its length in
   * bits is drawn first.
   */
  size(most: number): number {
    return 1 + this.int(Math.min(most, 1 << this.int(33 - Math.clz32(most))));
  }

  /** A number from `least` up to `least` times two to the power of `doublings`; small ones are as likely as large ones. */
  scale(least: number, doublings: number): number {
    // No logarithms or powers of fractions: these may differ from one machine to another in their last bit.
    return least * (1 << this.int(doublings)) * (1 + this.next());
  }

  toString(): string {
    return told(this, this.#seed);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}
