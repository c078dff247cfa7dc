import { once } from 'node:events';
import { connect } from 'node:net';
import fc from 'fast-check';
import { ConnectionDone, Deferred, Factory, Failure, IPv4Address, Reactor } from 'plait';
import { LineOnlyReceiver, LineReceiver } from 'plait/protocols/basic';
import {
  checkFraming,
  chunkings,
  StringTransport,
  StringTransportWithDisconnection,
} from 'plait/testing';
import t, { type Test } from '../fixture.ts';
import { growsLinearly } from '../growth.ts';

// ── Receivers that write down what they get ──────────────────────────────────────────────────────────────────────────

class Lines extends LineReceiver {
  readonly got: string[] = [];
  onLine: (line: string) => void = () => {};
  onRaw: (data: Buffer) => void = () => {};

  override lineReceived(line: Buffer) {
    this.got.push(line.toString('latin1'));
    this.onLine(line.toString('latin1'));
  }

  override rawDataReceived(data: Buffer) {
    this.got.push(`raw ${data.toString('latin1')}`);
    this.onRaw(data);
  }
}

class OnlyLines extends LineOnlyReceiver {
  readonly got: string[] = [];
  onLine: (line: string) => void = () => {};

  override lineReceived(line: Buffer) {
    this.got.push(line.toString('latin1'));
    this.onLine(line.toString('latin1'));
  }
}

const KINDS = { LineReceiver: Lines, LineOnlyReceiver: OnlyLines };

/** A test of both kinds of receiver. */
function forBoth(name: string, check: (t: Test, make: () => Lines | OnlyLines) => void) {
  for (const [kind, Class] of Object.entries(KINDS)) {
    t.test(`${kind}: ${name}`, (t) => {
      check(t, () => new Class());
      t.end();
    });
  }
}

/** Gives the protocol a transport. */
function connected(protocol: Lines | OnlyLines): StringTransport {
  const transport = new StringTransport();
  protocol.makeConnection(transport);
  return transport;
}

// ── Lines ────────────────────────────────────────────────────────────────────────────────────────────────────────────

forBoth('lines arrive whole, however they were cut', (t, make) => {
  const cases: [wire: string, lines: string[], delimiter?: string][] = [
    ['one\r\ntwo\r\n\r\nfour\r\nhalf', ['one', 'two', '', 'four']],
    ['a\rb\nc\r\r\nd\n\r\n', ['a\rb\nc\r', 'd\n']],
    ['one\ntwo\r\n\n', ['one', 'two\r', ''], '\n'],
    ['aENDbENENDcEND', ['a', 'bEN', 'c'], 'END'],
    ['xaaaay', ['x', ''], 'aa'],
  ];
  for (const [wire, lines, delimiter] of cases) {
    for (const pieces of chunkings(Buffer.from(wire))) {
      const protocol = make();
      if (delimiter !== undefined) protocol.delimiter = Buffer.from(delimiter);
      connected(protocol);
      for (const piece of pieces) protocol.dataReceived(piece);
      const cut = pieces.map((piece) => piece.toString());
      if (!t.same(protocol.got, lines, JSON.stringify(cut))) return;
    }
  }
});

forBoth('any bytes, delimiter and cut: the lines are those between delimiters', (t, make) => {
  const bytes = fc.stringMatching(/^[ab\r\n]{0,60}$/);
  const delimiters = fc.constantFrom('\r\n', '\n', 'a', 'ab\n', '\r\r\n', 'aa');
  const property = fc.property(bytes, delimiters, fc.array(fc.nat(7)), (wire, delimiter, sizes) => {
    const protocol = make();
    protocol.delimiter = Buffer.from(delimiter);
    connected(protocol);
    let rest = Buffer.from(wire);
    for (const size of sizes) {
      protocol.dataReceived(rest.subarray(0, size));
      rest = rest.subarray(size);
    }
    protocol.dataReceived(rest);
    return protocol.got.join(delimiter) === wire.split(delimiter).slice(0, -1).join(delimiter);
  });
  const { failed, seed, counterexample } = fc.check(property, { numRuns: 2000 });
  t.notOk(failed, `seed ${seed}: ${JSON.stringify(counterexample)}`);
});

forBoth('a line is sent with its delimiter, as bytes or as text', (t, make) => {
  const protocol = make();
  const transport = connected(protocol);
  protocol.sendLine('grüß dich');
  protocol.sendLine(Buffer.from([0xff]));
  protocol.delimiter = Buffer.of(0);
  protocol.sendLine('');
  t.same(
    transport.value(),
    Buffer.concat([Buffer.from('grüß dich\r\n'), Buffer.of(0xff, 13, 10, 0)]),
  );
});

forBoth('delimiter and limit may change between two lines of a chunk', (t, make) => {
  const protocol = make();
  const transport = connected(protocol);
  protocol.onLine = (line) => {
    if (line === 'newlines') protocol.delimiter = Buffer.from('\n');
    if (line === 'short') protocol.maxLength = 3;
  };
  protocol.dataReceived(Buffer.from('newlines\r\na\r\nshort\nabc\nabcd\n'));
  t.same(protocol.got, ['newlines', 'a\r', 'short', 'abc']);
  t.ok(transport.disconnecting);
});

forBoth('what waits is looked at again when the delimiter changes', (t, make) => {
  const protocol = make();
  connected(protocol);
  protocol.dataReceived(Buffer.from('one\ntwo'));
  protocol.delimiter = Buffer.from('\n');
  protocol.dataReceived(Buffer.from('!\n'));
  t.same(protocol.got, ['one', 'two!']);
});

// ── Limits ───────────────────────────────────────────────────────────────────────────────────────────────────────────

forBoth('LIN-01: a line has up to 16,384 bytes, and its delimiter may come late', (t, make) => {
  const most = Buffer.alloc(16_384, 'x');
  const receive = (...pieces: (Buffer | string)[]) => {
    const protocol = make();
    const transport = connected(protocol);
    for (const piece of pieces) protocol.dataReceived(Buffer.from(piece as Buffer));
    return [protocol.got.map((line) => line.length), transport.disconnecting];
  };
  t.same(receive(most, '\r\n'), [[16_384], false]);
  t.same(receive(Buffer.concat([most, Buffer.from('\r\n')])), [[16_384], false]);
  t.same(receive(most, '\r', '\n'), [[16_384], false]);
  t.same(receive(most, '\r', 'x'), [[], true]);
  t.same(receive(most, 'x\r\n'), [[], true]);
  t.same(receive(Buffer.concat([most, Buffer.from('x\r\n')])), [[], true]);
  t.same(receive(most, 'xx'), [[], true]);
  t.same(receive('a\r\n', most, 'xx\r\n', 'b\r\n'), [[1], true]);
});

forBoth('the limit holds at the same byte for every cut', (t, make) => {
  for (const wire of ['abcd\r\nx\r\n', 'abcde\r\nx\r\n', 'ab\r\nabcdef']) {
    const outcomes = [...chunkings(Buffer.from(wire))].map((pieces) => {
      const protocol = make();
      protocol.maxLength = 4;
      const transport = connected(protocol);
      for (const piece of pieces) protocol.dataReceived(piece);
      return [protocol.got, transport.disconnecting];
    });
    t.same(outcomes, outcomes.fill(outcomes[0]!), wire);
  }
});

forBoth('a protocol may let a line that is too long pass, and go on', (t, make) => {
  const protocol = make();
  protocol.maxLength = 4;
  const dropped: string[] = [];
  protocol.lineLengthExceeded = (line) => void dropped.push(line.toString());
  const transport = connected(protocol);
  protocol.dataReceived(Buffer.from('ok\r\ntoo long\r\nlost'));
  t.same(dropped, ['too long\r\nlost'], 'it is given all that waits');
  protocol.dataReceived(Buffer.from('yes\r\n'));
  t.same(protocol.got, ['ok', 'yes']);
  t.notOk(transport.disconnecting);
});

forBoth('LIN-02: 100 MiB without a delimiter take neither memory nor time', (t, make) => {
  const chunk = Buffer.alloc(65_536, 'x');
  const polite = make();
  const transport = connected(polite);
  let fed = 0;
  while (!transport.disconnecting && fed < 100 * 2 ** 20) {
    polite.dataReceived(chunk);
    fed += chunk.length;
  }
  t.ok(fed <= 16_384 + 65_536, `closed after ${fed} bytes`);

  // Nor if the peer keeps sending to a protocol that does not close.
  const stubborn = make();
  connected(stubborn);
  let longest = 0;
  stubborn.lineLengthExceeded = (line) => (longest = Math.max(longest, line.length));
  const collect = (globalThis as { gc?: () => void }).gc!;
  collect();
  const { arrayBuffers: before } = process.memoryUsage();
  for (let sent = 0; sent < 100 * 2 ** 20; sent += 16_000) {
    stubborn.dataReceived(chunk.subarray(0, 16_000));
  }
  // How much may wait to be collected differs between versions of Node.
  collect();
  const grown = process.memoryUsage().arrayBuffers - before;
  t.ok(longest <= 16_384 + 65_536, `at most ${longest} bytes waited`);
  t.ok(grown < 16 * 2 ** 20, `${grown} bytes more in use`);
});

forBoth('LIN-03: 400,000 lines in one chunk take time in proportion', (t, make) => {
  const receive = (count: number) => {
    const protocol = make();
    let lines = 0;
    protocol.lineReceived = () => {
      lines++;
    };
    connected(protocol);
    protocol.dataReceived(Buffer.from('ab\r\n'.repeat(count)));
    if (lines !== count) throw new Error(`only ${lines} lines`);
  };
  // If each line cost a copy of the rest, eight times as many would cost 64 times as much.
  t.ok(growsLinearly(receive, 50_000));
});

forBoth('LIN-04: a line that drips in byte by byte takes time in proportion', (t, make) => {
  const drip = (count: number) => {
    const protocol = make();
    protocol.maxLength = count;
    let length = 0;
    protocol.lineReceived = (line: Buffer) => void (length = line.length);
    connected(protocol);
    const byte = Buffer.from('x');
    for (let i = 0; i < count; i++) protocol.dataReceived(byte);
    protocol.dataReceived(Buffer.from('\r\n'));
    if (length !== count) throw new Error(`${length} bytes`);
  };
  t.ok(growsLinearly(drip, 2 ** 15));
});

forBoth('LIN-08: settings that cannot be are refused when the connection is made', (t, make) => {
  const cases: [settings: object, error: RegExp][] = [
    [{ delimiter: Buffer.alloc(0) }, /^delimiter must have at least one byte$/],
    [{ delimiter: '\n' }, /^delimiter must be a Uint8Array, not string$/],
    [{ maxLength: NaN }, /^maxLength must be 0 or more bytes, not NaN$/],
    [{ maxLength: -1 }, /^maxLength must be 0 or more bytes, not -1$/],
  ];
  for (const [settings, message] of cases) {
    const protocol = Object.assign(make(), settings);
    const transport = new StringTransport();
    t.throws(() => protocol.makeConnection(transport), { message });
    t.ok(transport.aborting);
    const later = make();
    connected(later);
    Object.assign(later, settings);
    t.throws(() => later.dataReceived(Buffer.from('x')), { message });
  }
});

// ── Closing ──────────────────────────────────────────────────────────────────────────────────────────────────────────

forBoth('nothing is delivered after loseConnection, nor when the connection is gone', (t, make) => {
  for (const Transport of [StringTransport, StringTransportWithDisconnection]) {
    const protocol = make();
    const transport = new Transport();
    Object.assign(transport, { protocol });
    protocol.makeConnection(transport);
    protocol.onLine = (line) => {
      if (line === 'bye') transport.loseConnection();
    };
    protocol.dataReceived(Buffer.from('hello\r\nbye\r\nmore\r\nand mo'));
    protocol.dataReceived(Buffer.from('re\r\n'));
    t.same(protocol.got, ['hello', 'bye'], Transport.name);
  }
});

forBoth('a hook that throws leaves the receiver fit for use', (t, make) => {
  const protocol = make();
  connected(protocol);
  protocol.onLine = (line) => {
    if (line === 'bad') throw new Error('no such command');
  };
  t.throws(() => protocol.dataReceived(Buffer.from('bad\r\ngood\r\n')), {
    message: 'no such command',
  });
  protocol.dataReceived(Buffer.from('better\r\n'));
  t.same(protocol.got, ['bad', 'good', 'better']);
});

forBoth('it can be tried out without a transport', (t, make) => {
  const protocol = make();
  protocol.dataReceived(Buffer.from('hello\r\n'));
  t.same(protocol.got, ['hello']);
});

forBoth('bytes handed in from inside a hook come last', (t, make) => {
  const protocol = make();
  connected(protocol);
  protocol.onLine = (line) => {
    if (line === 'one') protocol.dataReceived(Buffer.from('three\r\n'));
  };
  protocol.dataReceived(Buffer.from('one\r\ntwo\r\n'));
  t.same(protocol.got, ['one', 'two', 'three']);
});

// ── Raw bytes ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** `PUT n` on a line, then n raw bytes, then lines again. */
class Upload extends LineReceiver {
  readonly got: string[] = [];
  #missing = 0;
  #body = '';

  override lineReceived(line: Buffer) {
    const [verb, size] = line.toString('ascii').split(' ');
    this.got.push(line.toString());
    if (verb !== 'PUT') return;
    this.#missing = Number(size);
    this.#body = '';
    this.setRawMode();
  }

  override rawDataReceived(data: Buffer) {
    const body = data.subarray(0, this.#missing);
    this.#missing -= body.length;
    this.#body += body.toString();
    if (this.#missing > 0) return;
    this.got.push(`<${this.#body}>`);
    this.setLineMode(data.subarray(body.length));
  }
}

t.test('LineReceiver: lines and raw bytes take turns, however they were cut', (t) => {
  const wire = Buffer.from('hello\r\nPUT 5\r\na\r\nb!PUT 3\r\nabc\r\nbye\r\n');
  for (const pieces of chunkings(wire)) {
    const upload = new Upload();
    upload.makeConnection(new StringTransport());
    for (const piece of pieces) upload.dataReceived(piece);
    const cut = pieces.map((piece) => piece.toString());
    const expected = ['hello', 'PUT 5', '<a\r\nb!>', 'PUT 3', '<abc>', '', 'bye'];
    if (!t.same(upload.got, expected, JSON.stringify(cut))) break;
  }
  t.end();
});

t.test('LineReceiver: LIN-04: a body that drips in byte by byte is delivered so', (t) => {
  const upload = new Lines();
  connected(upload);
  upload.setRawMode();
  for (let i = 0; i < 2 ** 16; i++) upload.dataReceived(Buffer.from('x'));
  t.equal(upload.got.length, 2 ** 16);
  t.end();
});

t.test('LineReceiver: the mode may be changed from outside', (t) => {
  const lines = new Lines();
  connected(lines);
  lines.dataReceived(Buffer.from('one\r\ntw'));
  lines.setRawMode();
  t.same(lines.got, ['one'], 'what waits is delivered with what comes next');
  lines.dataReceived(Buffer.from('o\r\n'));
  lines.setLineMode(Buffer.from('three\r\nfo'));
  lines.setLineMode();
  lines.dataReceived(Buffer.from('ur\r\n'));
  t.same(lines.got, ['one', 'raw two\r\n', 'three', 'four']);
  t.end();
});

t.test('LineReceiver: what waits can be taken away', (t) => {
  const lines = new Lines();
  connected(lines);
  let taken: Buffer | undefined;
  lines.onLine = () => (taken = lines.clearLineBuffer());
  lines.dataReceived(Buffer.from('one\r\ntwo\r\nth'));
  t.equal(taken?.toString(), 'two\r\nth');
  t.equal(lines.clearLineBuffer().length, 0);
  lines.dataReceived(Buffer.from('four\r\n'));
  t.same(lines.got, ['one', 'four']);
  t.end();
});

t.test('LineReceiver: raw mode without rawDataReceived is an error that names the class', (t) => {
  class Forgetful extends LineReceiver {
    override lineReceived() {
      this.setRawMode();
    }
  }
  const forgetful = new Forgetful();
  forgetful.makeConnection(new StringTransport());
  t.throws(() => forgetful.dataReceived(Buffer.from('\r\nabc')), {
    message: 'Forgetful has no rawDataReceived for the 3 bytes that arrived in raw mode',
  });
  t.end();
});

// ── Pausing ──────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('LIN-06: a paused receiver keeps the rest of the chunk, and delivers it once', (t) => {
  const lines = new Lines();
  const transport = connected(lines);
  lines.onLine = (line) => {
    if (line === 'stop') lines.pauseProducing();
  };
  lines.dataReceived(Buffer.from('go\r\nstop\r\ntwo\r\nstop\r\nthr'));
  t.same(lines.got, ['go', 'stop']);
  t.ok(lines.paused);
  t.equal(transport.producerState, 'paused');
  lines.dataReceived(Buffer.from('ee\r\n'));
  t.same(lines.got, ['go', 'stop'], 'nor anything that comes late');

  lines.resumeProducing();
  t.same(lines.got, ['go', 'stop', 'two', 'stop'], 'paused once more');
  lines.resumeProducing();
  t.same(lines.got, ['go', 'stop', 'two', 'stop', 'three']);
  t.notOk(lines.paused);
  t.equal(transport.producerState, 'producing');
  lines.resumeProducing();
  t.equal(lines.got.length, 5);
  t.end();
});

t.test('a receiver that pauses and resumes on each line needs no stack', (t) => {
  const lines = new Lines();
  connected(lines);
  let depth = 0;
  let deepest = 0;
  lines.onLine = () => {
    deepest = Math.max(deepest, ++depth);
    lines.pauseProducing();
    lines.resumeProducing();
    depth--;
  };
  lines.dataReceived(Buffer.from('x\r\n'.repeat(100_000)));
  t.equal(lines.got.length, 100_000);
  t.equal(deepest, 1);
  t.end();
});

t.test('raw bytes can be paused, and be lines when it resumes', (t) => {
  const lines = new Lines();
  connected(lines);
  lines.setRawMode();
  lines.onRaw = (data) => {
    lines.pauseProducing();
    lines.setLineMode(data.subarray(3));
  };
  lines.dataReceived(Buffer.from('abcone\r\n'));
  t.same(lines.got, ['raw abcone\r\n']);
  lines.resumeProducing();
  t.same(lines.got, ['raw abcone\r\n', 'one']);
  t.end();
});

t.test('LIN-06: nothing is delivered after stopProducing', (t) => {
  const lines = new Lines();
  const transport = connected(lines);
  lines.onLine = () => lines.stopProducing();
  lines.dataReceived(Buffer.from('one\r\ntwo\r\n'));
  lines.dataReceived(Buffer.from('three\r\n'));
  t.same(lines.got, ['one']);
  t.equal(transport.producerState, 'stopped');
  t.end();
});

t.test('what a paused receiver keeps is not delivered once the connection closes', (t) => {
  const lines = new Lines();
  const transport = new StringTransport({ lenient: true });
  lines.makeConnection(transport);
  lines.onLine = () => lines.pauseProducing();
  lines.dataReceived(Buffer.from('one\r\ntwo\r\n'));
  transport.loseConnection();
  lines.resumeProducing();
  lines.connectionLost(new Failure(new ConnectionDone()));
  lines.resumeProducing();
  t.same(lines.got, ['one']);
  t.end();
});

t.test('any bytes, cuts and pauses: all is delivered once, in order', (t) => {
  const wires = fc.stringMatching(/^[ab\r\n]{0,60}$/);
  const steps = fc.array(fc.record({ size: fc.nat(9), resume: fc.boolean() }));
  const property = fc.property(wires, steps, fc.nat(3), (wire, cuts, every) => {
    const lines = new Lines();
    connected(lines);
    lines.delimiter = Buffer.from('\n');
    lines.onLine = () => {
      if (every > 0 && lines.got.length % every === 0) lines.pauseProducing();
    };
    let rest = Buffer.from(wire);
    for (const { size, resume } of cuts) {
      const before = lines.got.length;
      const { paused } = lines;
      lines.dataReceived(rest.subarray(0, size));
      if (paused && lines.got.length !== before) return false;
      rest = rest.subarray(size);
      if (resume) lines.resumeProducing();
    }
    lines.dataReceived(rest);
    while (lines.paused) lines.resumeProducing();
    return lines.got.join('\n') === wire.split('\n').slice(0, -1).join('\n');
  });
  const { failed, seed, counterexample } = fc.check(property, { numRuns: 3000 });
  t.notOk(failed, `seed ${seed}: ${JSON.stringify(counterexample)}`);
  t.end();
});

forBoth('cut, paused and closed anywhere, it makes the same of its bytes', (t, make) => {
  const lineReceived = 'lineReceived';
  const wires: [wire: string, lines: number, setUp?: (protocol: Lines | OnlyLines) => void][] = [
    ['one\r\ntwo\r\n\r\nfour\r\nhalf', 4],
    ['a\rb\nc\r\r\nd\n\r\n', 2],
    ['aENDbENENDcEND', 3, (protocol) => (protocol.delimiter = Buffer.from('END'))],
    ['abcd\r\nabcde\r\nx\r\n', 1, (protocol) => (protocol.maxLength = 4)],
    ['one\r\nquit\r\nlate\r\n', 2],
  ];
  for (const [wire, lines, setUp] of wires) {
    const fresh = () => {
      const protocol = make();
      setUp?.(protocol);
      protocol.onLine = (line) => {
        if (line === 'quit') protocol.transport.loseConnection();
      };
      return protocol;
    };
    const { events } = checkFraming(fresh, wire, {
      watch: [lineReceived],
      state: ({ got }) => got,
    });
    t.equal(events.filter((event) => event.startsWith(lineReceived)).length, lines, wire);
  }
});

t.test('LineReceiver: modes may change within, wherever it is cut, paused and closed', (t) => {
  const wire = 'hello\r\nPUT 5\r\na\r\nb!PUT 3\r\nabc\r\nbye\r\n';
  const { events } = checkFraming(() => new Upload(), wire, { state: ({ got }) => got });
  t.equal(events[0], 'lineReceived("hello")');
  t.equal(events[2], 'rawDataReceived("a\\r\\nb!")');
  t.match(events.at(-1), "'<abc>'");
  t.end();
});

// ── On a real connection ─────────────────────────────────────────────────────────────────────────────────────────────

t.test('over TCP, lines that come with the end of the connection survive a pause', async (t) => {
  const reactor = new Reactor();
  const ended = new Deferred<string[]>();
  class Slow extends Lines {
    override lineReceived(line: Buffer) {
      super.lineReceived(line);
      this.pauseProducing();
      reactor.callLater(0, () => this.resumeProducing());
    }
    override connectionLost(reason: Failure) {
      ended.callback([...this.got, reason.value.name]);
    }
  }
  const port = reactor.listenTCP(0, Factory.forProtocol(Slow), { interface: '127.0.0.1' });
  await port.ready;
  const host = port.getHost();
  if (!(host instanceof IPv4Address)) throw new Error(`listens on ${host}`);
  const socket = connect(host.port, '127.0.0.1');
  socket.end('1\r\n2\r\n3\r\n4\r\n5\r\n6');
  t.same(await ended, ['1', '2', '3', '4', '5', 'ConnectionDone']);
  socket.resume();
  if (!socket.closed) await once(socket, 'close');
  await port.stopListening();
});

forBoth('TLS-16: what waits is given up to whoever asks, and never delivered', (t, make) => {
  const protocol = make();
  protocol.onLine = () => {
    t.equal(protocol.takeUnread().toString(), 'an injected line\r\nmore');
  };
  connected(protocol);
  protocol.dataReceived(Buffer.from('STARTTLS\r\nan injected line\r\nmore'));
  t.same(protocol.got, ['STARTTLS']);
  protocol.onLine = () => {};
  protocol.dataReceived(Buffer.from('after\r\n'));
  t.same(protocol.got, ['STARTTLS', 'after']);
});
