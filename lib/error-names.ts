/**
 * The names of errors, in programs whose classes have been renamed by a minifier. Twisted has no counterpart.
 */

/**
 * Gives classes of errors the names under which they stand in `classes`. A minifier renames classes, and so changes what
 * logs, `Failure.check` and `error.name` call them; the keys of an object it leaves as they are. plait's own errors keep
 * their names by this, and so can those of a library of protocols. Subclasses have names of their own. What else stands
 * in `classes` is left alone, so it may be all that a module exports.
 *
 * @example
 * class Overdrawn extends PlaitError {}
 * keepErrorNames({ Overdrawn });
 * new Overdrawn('no').name; // 'Overdrawn', in a bundle too
 */
export function keepErrorNames(classes: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(classes)) {
    if (typeof value === 'function' && value.prototype instanceof Error)
      Object.defineProperty(value, 'name', { value: name, configurable: true });
  }
}
