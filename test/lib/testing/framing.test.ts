import { AssertionError } from 'node:assert';
import fc from 'fast-check';
import { type Failure, type ITransport, Protocol } from 'plait';
import { LineOnlyReceiver, LineReceiver } from 'plait/protocols/basic';
import { checkFraming, chunkings, eachChunking } from 'plait/testing';
import t, { type Test } from '../../fixture.ts';

// ── Chunkings ────────────────────────────────────────────────────────────────────────────────────────────────────────

const shown = (pieces: readonly Buffer[]) => pieces.map(String).join('|');

t.test(
  'short bytes are cut in all ways into one, two and three pieces, and into single bytes',
  async (t) => {
    const all = [...chunkings('abcde')].map(shown);
    t.same(all, [
      'abcde',
      'a|b|c|d|e',
      'a|bcde',
      'ab|cde',
      'abc|de',
      'abcd|e',
      'a|b|cde',
      'a|bc|de',
      'a|bcd|e',
      'ab|c|de',
      'ab|cd|e',
      'abc|d|e',
    ]);
    t.same([...chunkings('abc', { cuts: 1 })].map(shown), ['abc', 'a|b|c', 'a|bc', 'ab|c']);
    t.same([...chunkings('abc', { cuts: 0 })].map(shown), ['abc', 'a|b|c']);
    t.same([...chunkings('')], [[]]);
    t.same([...chunkings('a')].map(shown), ['a']);
    t.throws(
      () => [...chunkings('abc', { cuts: 3 as 2 })],
      new RangeError('cuts must be 0, 1 or 2, not 3'),
    );
    t.throws(() => [...chunkings(7 as never)], TypeError);
  },
);

t.test(
  'long bytes are cut in two at every place, and into many pieces, the same ones each time',
  async (t) => {
    const bytes = Buffer.from(Array.from({ length: 300 }, (_, i) => i & 255));
    const all = [...chunkings(bytes)];
    t.equal(
      all.filter((pieces) => pieces.length === 2 && pieces[0]!.length < 300).length >= 299,
      true,
    );
    t.ok(all.some((pieces) => pieces.length > 3 && pieces.length < 300));
    t.ok(
      all.every((pieces) => Buffer.concat(pieces).equals(bytes) && pieces.every((p) => p.length)),
    );
    t.same(
      [...chunkings(bytes)].map((p) => p.length),
      all.map((p) => p.length),
    );
  },
);

t.test('each piece is a buffer of its own', async (t) => {
  const bytes = Buffer.from('abc');
  for (const pieces of chunkings(bytes)) for (const piece of pieces) piece.fill(0);
  t.equal(bytes.toString(), 'abc');
});

t.test('eachChunking says which cut has failed', async (t) => {
  const fails = (when: (pieces: Buffer[]) => boolean, error: unknown) => () =>
    eachChunking('abcdefghijklmnopq', (pieces) => {
      if (when(pieces)) throw error;
    });
  const error = new Error('no good');
  t.throws(
    fails(({ length }) => length === 1, error),
    /^no good\n {2}with the bytes cut nowhere$/,
  );
  t.match(error.stack, 'with the bytes cut nowhere');
  t.throws(
    fails(({ length }) => length === 17, new Error('x')),
    /cut into single bytes/,
  );
  t.throws(
    fails(([one]) => one?.length === 3, new Error('x')),
    /cut into pieces of 3 \+ 14 bytes/,
  );
  for (const thrown of [Object.freeze(new Error('frozen')), 'a string']) {
    try {
      fails(() => true, thrown)();
    } catch (caught) {
      t.equal(caught, thrown, 'what cannot be changed is thrown as it is');
    }
  }
  let calls = 0;
  eachChunking('abc', () => calls++);
  t.equal(calls, [...chunkings('abc')].length);
  const long = Buffer.alloc(200);
  t.throws(
    () =>
      eachChunking(long, ({ length }) => {
        if (length > 12 && length < 200) throw new Error('x');
      }),
    /bytes cut into pieces of .* \+ … bytes/,
  );
});

// ── Protocols that are right ─────────────────────────────────────────────────────────────────────────────────────────

class Greeter extends LineReceiver {
  override lineReceived(line: Buffer): void {
    if (line.toString() === 'quit') this.transport.loseConnection();
    else if (line.toString() === 'abort') this.transport.abortConnection();
    else this.sendLine(`hello ${line}`);
  }
}

t.test('a protocol that is right is shown what it has made of the bytes', async (t) => {
  const { events, runs } = checkFraming(() => new Greeter(), 'Ann\r\nBob\r\nquit\r\nEve\r\n');
  t.same(events, [
    'lineReceived("Ann")',
    '= wrote "hello Ann\\r\\n"',
    'lineReceived("Bob")',
    '= wrote "hello Bob\\r\\n"',
    'lineReceived("quit")',
    '= wrote "hello Ann\\r\\nhello Bob\\r\\n" in all',
    '= closed the connection',
  ]);
  t.ok(runs > 500, `${runs} runs`);
  const aborted = checkFraming(() => new Greeter(), 'abort\r\n').events;
  t.equal(aborted.at(-1), '= aborted the connection');
});

/** Sizes, and then so many raw bytes. */
class Upload extends LineReceiver {
  missing = 0;
  override lineReceived(line: Buffer): void {
    this.missing = Number(line);
    if (this.missing > 0) this.setRawMode();
  }
  override rawDataReceived(data: Buffer): void {
    const body = data.subarray(0, this.missing);
    this.missing -= body.length;
    this.bodyReceived(body);
    if (this.missing === 0) this.setLineMode(data.subarray(body.length));
  }
  bodyReceived(part: Buffer): void {
    this.transport.write(part);
  }
}

t.test('streams are compared as a whole, and modes may change within', async (t) => {
  const wire = '3\r\na\r\n5\r\n\r\nxyz0\r\n2\r\nab';
  const { events } = checkFraming(() => new Upload(), wire, {
    watch: ['lineReceived', 'bodyReceived'],
    streams: ['bodyReceived'],
    state: ({ missing }) => missing,
  });
  t.same(
    events.filter((event) => !event.startsWith('=')),
    [
      'lineReceived("3")',
      'bodyReceived("a\\r\\n")',
      'lineReceived("5")',
      'bodyReceived("\\r\\nxyz")',
      'lineReceived("0")',
      'lineReceived("2")',
      'bodyReceived("ab")',
    ],
  );
  t.equal(events.at(-1), '= 0');
});

t.test('what a LineReceiver gives back was not raw', async (t) => {
  const { events } = checkFraming(() => new Upload(), '3\r\na\r\n2\r\nxy0\r\n', {
    watch: ['lineReceived', 'rawDataReceived'],
  });
  t.same(
    events.filter((event) => event.startsWith('raw')),
    ['rawDataReceived("a\\r\\n")', 'rawDataReceived("xy")'],
  );
});

t.test('long input is tried in fewer ways, and in little time', async (t) => {
  const wire = 'some line or other\r\n'.repeat(40);
  const { runs, events } = checkFraming(() => new Greeter(), wire);
  t.equal(events.length, 81);
  t.ok(runs < 3000, `${runs} runs`);
});

class Some extends LineReceiver {
  override lineReceived(): void {}
  override lineLengthExceeded(): void {
    this.transport.loseConnection();
    this.tooLong();
  }
  tooLong(): void {}
}

class SomeOnly extends LineOnlyReceiver {
  override lineReceived(): void {}
  override lineLengthExceeded(): void {
    this.transport.loseConnection();
    this.tooLong();
  }
  tooLong(): void {}
}

t.test('LineReceiver and LineOnlyReceiver: any bytes, any settings', async (t) => {
  const wires = fc.stringMatching(/^[ab\r\n]{1,24}$/);
  const delimiters = fc.constantFrom('\r\n', '\n', 'a', 'ab\n', '\r\r\n', 'aa');
  const property = fc.property(wires, delimiters, fc.nat(9), (wire, delimiter, maxLength) => {
    for (const make of [() => new Some(), () => new SomeOnly()]) {
      const fresh = () => Object.assign(make(), { delimiter: Buffer.from(delimiter), maxLength });
      checkFraming(fresh, wire, { watch: ['lineReceived', 'tooLong'], cuts: 1, state: () => 0 });
    }
  });
  const result = fc.check(property, { numRuns: 60 });
  t.notOk(result.failed, `seed ${result.seed}: ${String(result.errorInstance)}`);
});

// ── Protocols that are wrong ─────────────────────────────────────────────────────────────────────────────────────────

/** Cuts lines; each mutant below does it wrongly in one way. */
class Splitter extends Protocol {
  waiting = '';
  paused = false;

  override dataReceived(data: Buffer): void {
    this.waiting += data.toString('latin1');
    this.deliver();
  }

  deliver(): void {
    for (let end; !this.isOver() && (end = this.waiting.indexOf('\r\n')) >= 0;) {
      const line = this.waiting.slice(0, end);
      this.waiting = this.waiting.slice(end + 2);
      this.lineReceived(line);
    }
  }

  isOver(): boolean {
    return this.paused || this.transport.disconnecting;
  }

  lineReceived(line: string): void {
    this.transport.write(`<${line}>`);
  }

  pauseProducing(): void {
    this.paused = true;
    this.transport.pauseProducing();
  }

  resumeProducing(): void {
    this.paused = false;
    this.transport.resumeProducing();
    this.deliver();
  }
}

const WIRE = 'one\r\ntwo\r\n\r\nlast';

t.test('the one that the mutants come from is right', async (t) => {
  t.equal(checkFraming(() => new Splitter(), WIRE).events.length, 7);
});

function mutant(name: string, Class: new () => Splitter, expected: RegExp, wire = WIRE): void {
  t.test(`found: ${name}`, async (t: Test) => {
    try {
      checkFraming(() => new Class(), wire);
      t.fail('it was not found');
    } catch (error) {
      t.ok(error instanceof AssertionError);
      t.match((error as Error).message, expected);
    }
  });
}

mutant(
  'a byte is lost where a cut falls between CR and LF',
  class extends Splitter {
    override dataReceived(data: Buffer): void {
      if (this.waiting.endsWith('\r') && data[0] === 10) this.waiting = this.waiting.slice(0, -1);
      super.dataReceived(data);
    }
  },
  /mean something else when they are cut .*: event 1 is/,
);

mutant(
  'each chunk is taken for a line',
  class extends Splitter {
    override dataReceived(data: Buffer): void {
      this.waiting = '';
      super.dataReceived(data);
    }
  },
  /cut into single bytes: event 1 is/,
);

mutant(
  'what waits is given up when a chunk begins with an LF',
  class extends Splitter {
    override dataReceived(data: Buffer): void {
      super.dataReceived(data);
      if (data.length === 1 && data[0] === 10 && this.waiting === '') this.lineReceived('extra');
    }
  },
  /event 2 is .*extra|event 3 is .*extra/,
);

mutant(
  'lines are delivered after loseConnection',
  class extends Splitter {
    override isOver(): boolean {
      return this.paused;
    }
  },
  /with a close at event 1: event 3 is = wrote "<one>" in all, and was lineReceived\('two'\)/,
);

mutant(
  'lines are delivered while it is paused',
  class extends Splitter {
    override isOver(): boolean {
      return this.transport.disconnecting;
    }
  },
  /with a pause at event 1: event 3 is ! delivered while it is paused/,
);

mutant(
  'what waits is delivered twice on resume',
  class extends Splitter {
    override resumeProducing(): void {
      const { waiting } = this;
      super.resumeProducing();
      this.waiting = waiting;
      this.deliver();
    }
  },
  /with a pause at event 1/,
);

mutant(
  'what waits is forgotten on resume',
  class extends Splitter {
    override resumeProducing(): void {
      this.waiting = '';
      super.resumeProducing();
    }
  },
  /with a pause at event 1.* and was lineReceived\('two'\)/,
);

mutant(
  'what waits is not delivered on resume until more comes',
  class extends Splitter {
    override resumeProducing(): void {
      this.paused = false;
      this.transport.resumeProducing();
    }
  },
  /with a pause at event/,
);

mutant(
  'the transport is never resumed',
  class extends Splitter {
    override resumeProducing(): void {
      this.paused = false;
      this.deliver();
    }
  },
  /with a pause at event 1: .*missing|with a pause at event 1: event 3 is = wrote/,
);

mutant(
  'the transport is not told to pause, and what comes then is dropped',
  class extends Splitter {
    override pauseProducing(): void {
      this.paused = true;
    }
    override dataReceived(data: Buffer): void {
      if (!this.paused) super.dataReceived(data);
    }
  },
  /with a pause at event 1/,
);

mutant(
  'an error for one cut alone',
  class extends Splitter {
    override dataReceived(data: Buffer): void {
      if (data.length === 2) throw new RangeError('two bytes');
      super.dataReceived(data);
    }
  },
  /! threw RangeError: two bytes/,
);

mutant(
  'a half line is delivered at the end, but only if it came in one piece',
  class extends Splitter {
    #last = 0;
    override dataReceived(data: Buffer): void {
      this.#last = data.length;
      super.dataReceived(data);
    }
    override connectionLost(_reason: Failure): void {
      if (this.#last > 3 && this.waiting !== '') this.lineReceived(this.waiting);
    }
  },
  /event \d is/,
);

t.test('found: what differs can be in the state alone', async (t) => {
  class Counter extends Splitter {
    chunks = 0;
    override dataReceived(data: Buffer): void {
      this.chunks++;
      super.dataReceived(data);
    }
  }
  t.throws(
    () => checkFraming(() => new Counter(), WIRE, { state: ({ chunks }) => chunks }),
    /event 8 is = 16, and was = 1$/,
  );
  checkFraming(() => new Counter(), WIRE);
});

t.test('disturbances can be switched off', async (t) => {
  class Careless extends Splitter {
    override isOver(): boolean {
      return false;
    }
  }
  const { runs } = checkFraming(() => new Careless(), WIRE, { closes: false, pauses: false });
  t.equal(runs, 1 + [...chunkings(WIRE)].length);
});

// ── What cannot be checked ───────────────────────────────────────────────────────────────────────────────────────────

t.test('a check that looks at nothing is an error', async (t) => {
  t.throws(() => checkFraming(() => new Protocol(), 'abc'), /there is nothing to compare/);
  t.throws(
    () => checkFraming(() => new Protocol(), 'abc', { watch: ['lineReceived'] }),
    new TypeError('cannot watch lineReceived: the protocol has no such method'),
  );
  t.throws(() => checkFraming(() => new Protocol(), 7 as never), TypeError);
});

t.test('a protocol that throws in any case is not compared', async (t) => {
  class Throws extends Protocol {
    override dataReceived(): void {
      throw new RangeError('always');
    }
  }
  t.throws(() => checkFraming(() => new Throws(), 'abc'), new RangeError('always'));
  class ThrowsAtOnce extends Splitter {
    override makeConnection(transport: ITransport): void {
      super.makeConnection(transport);
      throw new RangeError('at once');
    }
  }
  t.throws(() => checkFraming(() => new ThrowsAtOnce(), 'abc'), new RangeError('at once'));
});

t.test('a protocol that pauses itself is given nothing more', async (t) => {
  class OneOnly extends Splitter {
    override lineReceived(line: string): void {
      super.lineReceived(line);
      this.pauseProducing();
    }
  }
  const { events } = checkFraming(() => new OneOnly(), WIRE, { pauses: false });
  t.equal(events.length, 3);
});

t.test('an event too few or too many at the end is told as such', async (t) => {
  /** Closes the connection if the first piece, of four bytes, is of such a length. */
  const closing = (length: number) =>
    class extends Protocol {
      #pieces = 0;
      override connectionMade() {
        this.transport.write('hello');
      }
      override dataReceived(data: Buffer) {
        if (this.#pieces++ === 0 && data.length === length) this.transport.loseConnection();
      }
    };
  t.throws(
    () => checkFraming(() => new (closing(1))(), 'abcd'),
    /: event 3 is = closed the connection, and was not there$/,
  );
  t.throws(
    () => checkFraming(() => new (closing(4))(), 'abcd'),
    /: event 3 is missing, and was = closed the connection$/,
  );
});
