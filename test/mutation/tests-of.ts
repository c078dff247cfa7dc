/** Which tests look at which file, the likeliest first. What is in no row is looked at by the last. */

const L = 'test/lib/';
const P = 'test/protocols/';
const lib = (...names: string[]): string[] => names.map((name) => `${L}${name}.test.ts`);
const protocols = (...names: string[]): string[] => names.map((name) => `${P}${name}.test.ts`);

/** Rows for the paths below lib/ and protocols/; the first that fits counts. */
const ROWS: readonly (readonly [path: RegExp, tests: readonly string[]])[] = [
  [/^lib\/(heap|time)\.ts/, lib('heaps', 'jumps', 'time', 'functions-hooks')],
  [/^lib\/(task|cooperate)\.ts/, lib('jumps', 'task', 'order', 'again', 'half-done', 'functions')],
  [/^lib\/fifo\.ts/, lib('heaps', 'locks')],
  [/^lib\/(queues|locks|waiters|filesystem-lock)\.ts/, lib('locks', 'edges', 'order', 'again')],
  [/^lib\/(lockfile)\.ts/, lib('lockfile', 'others-files', 'locks')],
  [/^lib\/(gather|give-up)\.ts/, lib('order', 'edges', 'defer', 'task', 'counts', 'scope')],
  [/^lib\/scope\.ts/, lib('scope', 'order', 'counts', 'functions')],
  [
    /^lib\/(defer|chain|coroutine|inline|maybe|awaited|promised|thenable|frames|failure|unhandled|pending|inspect)\.ts/,
    [
      ...lib('defer', 'coroutine', 'counts', 'inspect', 'async-functions', 'task'),
      'test/oracle.test.ts',
    ],
  ],
  [/^lib\/(errors)\.ts/, lib('bytes-log-errors', 'defer', 'twisted-names')],
  [
    /^lib\/(log|logging|log-.*|observed-events|printable|events|standard-error)\.ts/,
    lib('logging', 'bytes-log-errors', 'log-robust', 'log-shown', 'again'),
  ],
  [/^lib\/bytes\.ts/, [...lib('bytes', 'bytes-log-errors'), ...protocols('basic')]],
  [
    /^lib\/(connection|streams|web-streams|write-gate|line.*)\.ts/,
    lib('streams', 'lines', 'producers'),
  ],
  [/^lib\/(pcp|file-sender)\.ts/, lib('producers', 'again', 'streams')],
  [
    /^lib\/(service|reactor-services|client-service|endpoint-service|reconnecting|systemd)\.ts/,
    lib('service', 'stopping', 'again', 'order', 'defaults', 'starting'),
  ],
  [
    /^lib\/(ssl|certificate.*|private-.*|trust|verify-peer|ciphers|der.*|tls-.*|host-identity|server-names)\.ts/,
    lib('ssl', 'certificates', 'tls', 'tls-peer', 'defaults'),
  ],
  [/^lib\/(resolver|hostname-endpoint)\.ts/, lib('resolver', 'defaults', 'order', 'late')],
  [/^lib\/endpoint.*\.ts/, lib('endpoint-strings', 'service', 'ports', 'ssl', 'reactor')],
  [/^lib\/threads/, lib('threads', 'threads-hostile', 'again', 'kept')],
  [/^lib\/process.*\.ts/, lib('process', 'late')],
  [/^lib\/(stdio)\.ts/, lib('stdio', 'again')],
  [/^lib\/(datagram)\.ts/, lib('udp')],
  [/^lib\/signals\.ts/, lib('signals', 'reactor')],
  [
    /^lib\/(reactor.*|run|shutdown|triggers|slow-callbacks|hooks|which|wrapping)\.ts/,
    lib('reactor', 'stopping', 'starting', 'signals', 'functions', 'wrapping'),
  ],
  [/^lib\/(io|transport)\/.*(datagram|udp|multicast)/, lib('udp')],
  [/^lib\/(io|transport)\/.*process/, lib('process')],
  [/^lib\/(io|transport)\/.*stdio/, lib('stdio')],
  [/^lib\/(io|transport)\/.*tls/, lib('tls', 'tls-peer', 'ssl')],
  [
    /^lib\/(io|transport|protocol|interfaces|address|client-creator)/,
    [
      ...lib('reactor', 'ports', 'closing', 'producers', 'late', 'gone', 'again'),
      'test/contract.test.ts',
    ],
  ],
  [
    /^lib\/testing\/sim/,
    [`${L}testing/sim.test.ts`, `${L}testing/sim-circles.test.ts`, ...lib('heaps')],
  ],
  [
    /^lib\/testing\//,
    [
      `${L}testing/doubles.test.ts`,
      `${L}testing/advance-async.test.ts`,
      `${L}testing/framing.test.ts`,
      `${L}testing/results.test.ts`,
      ...lib('late', 'jumps', 'again'),
    ],
  ],
  [/^protocols\/clamd/, [...protocols('clamd', 'clamd-source'), ...lib('defaults')]],
  [/^protocols\/http/, [...protocols('http', 'http-grammar', 'http-redirect'), ...lib('defaults')]],
  [/^protocols\/policies/, [...protocols('policies'), ...lib('late', 'clocks')]],
  [/^protocols\/basic/, [...protocols('basic'), ...lib('lines')]],
  [/^protocols\/echo/, protocols('echo')],
];

/** The tests of a file. */
export function testsOf(path: string): readonly string[] {
  return ROWS.find(([row]) => row.test(path))?.[1] ?? lib('twisted-names', 'defer', 'reactor');
}

/** All tests that stand in the table. */
export function testsInTable(): string[] {
  return [...new Set(ROWS.flatMap(([, tests]) => tests))];
}
