/** The faults that are planted: where, what is changed into what, and the scenario that should notice. */

/** A planted fault. */
export interface Mutant {
  readonly name: string;
  readonly file: string;
  readonly scenario: string;
  /** Snippets that are there exactly once, and what takes their place. */
  readonly changes: readonly (readonly [snippet: string, replacement: string])[];
}

const STREAM = 'lib/transport/stream.ts';
const FEED = 'lib/transport/feed.ts';
const REASONS = 'lib/transport/reasons.ts';
const CONNECT = 'lib/transport/connect.ts';
const LISTEN = 'lib/transport/listen.ts';
const HOSTNAME = 'lib/hostname-endpoint.ts';

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'a lost byte at the end of some chunks',
    file: STREAM,
    scenario: 'echo',
    changes: [
      [
        'if (this.#lowestTLS === undefined) this.#deliver(data);',
        'if (this.#lowestTLS === undefined) this.#deliver(data.length % 64 === 63 ? data.subarray(1) : data);',
      ],
    ],
  },
  {
    name: 'a delimiter that is cut in two is lost',
    file: 'lib/bytes.ts',
    scenario: 'lines',
    changes: [
      [
        'this.#searched = Math.max(0, this.length - delimiter.length + 1);',
        'this.#searched = this.length;',
      ],
    ],
  },
  {
    name: 'a byte is skipped between two chunks of an upload',
    file: 'protocols/clamd/upload.ts',
    scenario: 'clamd',
    changes: [
      [
        'this.#sent += chunk.length;',
        'this.#sent += chunk.length + (chunk.length !== 512 && this.#sent + chunk.length < this.#length ? 1 : 0);',
      ],
    ],
  },
  {
    name: 'connectionLost twice',
    file: STREAM,
    scenario: 'echo',
    changes: [
      [
        "this.#guarded('connectionLost', () => protocol.connectionLost(reason));",
        "for (const _ of [1, 2]) this.#guarded('connectionLost', () => protocol.connectionLost(reason));",
      ],
    ],
  },
  {
    name: 'connectionLost never, after abortConnection',
    file: STREAM,
    scenario: 'echo',
    changes: [
      [
        "if (protocol !== undefined)\n      this.#guarded('connectionLost'",
        "if (protocol !== undefined && !this.#aborting)\n      this.#guarded('connectionLost'",
      ],
    ],
  },
  {
    name: 'bytes are delivered after loseConnection',
    file: STREAM,
    scenario: 'lines',
    changes: [
      ['    this.#wire.discard();\n', ''],
      [
        'if (this.#disconnecting || this.#protocol === undefined) return;\n    if (this.#handover',
        'if (this.#protocol === undefined) return;\n    if (this.#handover',
      ],
    ],
  },
  {
    name: 'what is written after loseConnection is dropped',
    file: STREAM,
    scenario: 'lines',
    changes: [
      [
        "if (!this.#connected || this.#aborting || this.#writing === 'ended'",
        "if (!this.#connected || this.#disconnecting || this.#writing === 'ended'",
      ],
    ],
  },
  {
    name: 'a producer is not resumed when it was paused for long',
    file: FEED,
    scenario: 'echo',
    changes: [
      [
        'if (!this.#streaming || this.#paused) this.#prodSoon();',
        'if (!this.#streaming) this.#prodSoon();',
      ],
    ],
  },
  {
    name: 'a push producer is never paused',
    file: FEED,
    scenario: 'echo',
    changes: [
      [
        'if (this.#fed.bufferedBytes <= HIGH_WATER_MARK) return;',
        'if (HIGH_WATER_MARK > 0) return;',
      ],
    ],
  },
  {
    name: 'half-close is ignored',
    file: STREAM,
    scenario: 'echo',
    changes: [
      [
        'if (!isHalfCloseableProtocol(protocol)) {\n      this.#lose',
        'if (!isHalfCloseableProtocol(protocol) || this.#noDelay) {\n      this.#lose',
      ],
    ],
  },
  {
    name: 'an error is swallowed: a reset is told as an orderly end',
    file: REASONS,
    scenario: 'echo',
    changes: [
      ['if (error === undefined) return', "if (error === undefined || 'code' in error) return"],
    ],
  },
  {
    name: "the wrong class: a system's error as it is",
    file: REASONS,
    scenario: 'echo',
    changes: [['return new ConnectionLost(message, { cause: error });', 'return error;']],
  },
  {
    name: 'a timer is not cancelled when a connection is made',
    file: CONNECT,
    scenario: 'echo',
    changes: [['if (this.#timer?.active() === true) this.#timer.cancel();\n', '']],
  },
  {
    name: 'the deadline of an attempt is ignored',
    file: CONNECT,
    scenario: 'echo',
    changes: [
      [
        'if (this.#timeout !== null)\n      this.#timer',
        'if (this.#timeout !== null && this.#timeout > 60)\n      this.#timer',
      ],
    ],
  },
  {
    name: 'an attempt that was given up goes on',
    file: CONNECT,
    scenario: 'hostname',
    changes: [['    this.#attempt?.cancel();\n', '']],
  },
  {
    name: 'a connection that is refused stays open',
    file: LISTEN,
    scenario: 'policies',
    changes: [['      wire.close();\n      return;', '      return;']],
  },
  {
    name: 'a port forgets no connection, and never has drained',
    file: LISTEN,
    scenario: 'services',
    changes: [['    this.#streams.delete(stream);\n', '']],
  },
  {
    name: 'the timer of addTimeout is not cancelled',
    file: 'lib/give-up.ts',
    scenario: 'echo',
    changes: [['if (call.active()) call.cancel();', '']],
  },
  {
    name: 'a line has no limit',
    file: 'protocols/basic.ts',
    scenario: 'lines',
    changes: [
      [
        'waiting.takeUntil(protocol.delimiter, protocol.maxLength)',
        'waiting.takeUntil(protocol.delimiter, Infinity)',
      ],
    ],
  },
  {
    name: 'lines are delivered to one that has paused',
    file: 'protocols/basic.ts',
    scenario: 'lines',
    changes: [['while (!this.#paused && this.#waiting', 'while (this.#waiting']],
  },
  {
    name: 'lines are delivered after loseConnection',
    file: 'protocols/basic.ts',
    scenario: 'lines',
    changes: [
      [
        'while (!this.#paused && this.#waiting.length > 0 && !isOver(this.transport)) {',
        'while (!this.#paused && this.#waiting.length > 0) {',
      ],
    ],
  },
  {
    name: 'a reply is matched to the wrong request: two conversations share a reader',
    file: 'protocols/clamd/conversation.ts',
    scenario: 'clamd',
    changes: [
      ['readonly #reader = new ReplyReader();', 'readonly #reader = SHARED;'],
      [
        '/** Sends a command and waits for the reply. */',
        'const SHARED = new ReplyReader();\n/** Sends a command and waits for the reply. */',
      ],
    ],
  },
  {
    name: 'a callback twice: a lost connection fails what has its reply',
    file: 'protocols/clamd/conversation.ts',
    scenario: 'clamd',
    changes: [
      ['    if (this.#over) return;\n    const rest', '    const rest'],
      ['    if (this.#over) return;\n    this.#over = true;', '    this.#over = true;'],
    ],
  },
  {
    name: 'the timer of a connection outlives it',
    file: 'protocols/clamd/server.ts',
    scenario: 'clamd',
    changes: [
      [
        'connectionLost(reason: Failure): void {\n    this.#stopTimer();',
        'connectionLost(reason: Failure): void {',
      ],
    ],
  },
  {
    name: 'a body has no limit',
    file: 'protocols/http/exchange.ts',
    scenario: 'http',
    changes: [['if (length > this.#limit) throw', 'if (length > 1e9) throw']],
  },
  {
    name: 'a body that was cut short is taken for a whole one',
    file: 'protocols/http/exchange.ts',
    scenario: 'http',
    changes: [
      ['if (reason.check(ConnectionDone) === undefined) {', 'if (reason.value.message === "") {'],
    ],
  },
  {
    name: 'a response is matched to the wrong request: two exchanges share a buffer',
    file: 'protocols/http/exchange.ts',
    scenario: 'http',
    changes: [
      ['    this.#body = new BodyBuffer(', '    this.#body = shared ??= new BodyBuffer('],
      [
        '/** Blocks for small pieces',
        'let shared: BodyBuffer | undefined;\n/** Blocks for small pieces',
      ],
    ],
  },
  {
    name: 'a connection is not closed after an error',
    file: 'protocols/http/exchange.ts',
    scenario: 'http',
    changes: [["    if (this.phase !== 'connecting') this.transport.abortConnection();\n", '']],
  },
  {
    name: 'the deadline of a request is ignored',
    file: 'protocols/http/client.ts',
    scenario: 'http',
    changes: [
      [
        'if (timeout !== null) response.addTimeout(timeout, reactor, timedOut);',
        'if (timeout !== null) response.addTimeout(timeout * 2, reactor, timedOut);',
      ],
    ],
  },
  {
    name: 'a timeout is not reset',
    file: 'protocols/policies/timeout.ts',
    scenario: 'policies',
    changes: [['if (!this.disconnecting) this.resetTimeout();', '']],
  },
  {
    name: 'who was throttled is never resumed',
    file: 'protocols/policies/throttling.ts',
    scenario: 'policies',
    changes: [
      [
        'if (throttled) super.pauseProducing();\n    else super.resumeProducing();',
        'if (throttled) super.pauseProducing();',
      ],
    ],
  },
  {
    name: 'what is read is not counted',
    file: 'protocols/policies/throttling.ts',
    scenario: 'policies',
    changes: [['this.#owner.registerRead(data.length);', '']],
  },
  {
    name: 'a lost connection goes on to count',
    file: 'protocols/policies/limits.ts',
    scenario: 'policies',
    changes: [['if (this.protocols.has(wrapper)) this.#count(wrapper, -1);', '']],
  },
  {
    name: 'one connection more than is allowed',
    file: 'protocols/policies/limits.ts',
    scenario: 'policies',
    changes: [['if (count < this.#limit)', 'if (count <= this.#limit)']],
  },
  {
    name: 'it retries after stopTrying',
    file: 'lib/reconnecting.ts',
    scenario: 'services',
    changes: [
      [
        "this.#forget(connector);\n      if (connector.state === 'connecting')",
        "if (connector.state === 'connecting')",
      ],
    ],
  },
  {
    name: 'a stopped service keeps its timer',
    file: 'lib/client-service.ts',
    scenario: 'services',
    changes: [["stop: ['stopped', 'stopWaiting', 'finish']", "stop: ['stopped', 'finish']"]],
  },
  {
    name: 'who waits for a connection is told of each one',
    file: 'lib/client-service.ts',
    scenario: 'services',
    changes: [
      [
        'fireEach(this.#takeWaiters(), protocol);',
        'for (const { deferred } of this.#waiters) deferred.callback(protocol);',
      ],
    ],
  },
  {
    name: 'attempts that have lost the race go on',
    file: HOSTNAME,
    scenario: 'hostname',
    changes: [
      [
        'if (attempt !== this.#winner && attempt.protocol !== undefined)\n        Deferred.cancelGuarded(attempt.protocol);',
        '',
      ],
    ],
  },
  {
    name: 'an attempt that does not answer holds up the rest',
    file: HOSTNAME,
    scenario: 'hostname',
    changes: [
      [
        'this.#reactor.callLater(attemptDelay, () => this.#go())',
        'this.#reactor.callLater(attemptDelay, () => {})',
      ],
    ],
  },
  {
    name: 'a port for datagrams stops twice',
    file: 'lib/transport/udp.ts',
    scenario: 'udp',
    changes: [
      [
        '() => this.#protocol.doStop(),',
        '() => ((this.#protocol as { stopProtocol?(): void }).stopProtocol?.(), this.#protocol.doStop()),',
      ],
    ],
  },
  {
    name: 'an attempt outlives the reactor that stops',
    file: CONNECT,
    scenario: 'shutdown',
    changes: [['    this.#giveUp(reason.value);\n', '']],
  },
  {
    name: 'connections outlive the reactor that stops',
    file: 'lib/reactor-base.ts',
    scenario: 'shutdown',
    changes: [
      [
        'for (const thing of [...this.#open]) thing.connectionLost(reason);',
        'for (const thing of [...this.#open].slice(1)) thing.connectionLost(reason);',
      ],
    ],
  },
  {
    name: 'the connection of a command that was cancelled stays open',
    file: 'protocols/clamd/conversation.ts',
    scenario: 'clamd',
    changes: [
      [
        '      this.#fail(new ClamdCancelled(phase, this.#details));',
        '      this.#over = true;\n      this.reply.errback(new ClamdCancelled(phase, this.#details));',
      ],
    ],
  },
];
