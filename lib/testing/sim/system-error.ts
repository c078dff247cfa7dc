/** Errors as Node makes them of what the operating system says, for simulated systems. */

/** What is known of an error besides its code. */
export interface SystemErrorDetails {
  readonly address?: string;
  readonly port?: number;
}

/** An error with Node's `code`, `syscall`, `address` and `port`. */
export function systemError(
  code: string,
  syscall: string,
  details: SystemErrorDetails = {},
): NodeJS.ErrnoException {
  const { address, port } = details;
  const where = address === undefined ? '' : ` ${address}${port === undefined ? '' : `:${port}`}`;
  return Object.assign(new Error(`${syscall} ${code}${where}`), { code, syscall, ...details });
}
