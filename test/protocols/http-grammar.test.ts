import { randomInt } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { LimitExceeded } from 'plait';
import {
  bodyFraming,
  DataLoss,
  Headers,
  makeRequest,
  ParseError,
  RESPONSE_LIMITS,
  type ResponseLimits,
  ResponseReader,
  writeRequestHead,
} from 'plait/protocols/http';
import { chunkings } from 'plait/testing';
import t from '../fixture.ts';
import { growsLinearly } from '../growth.ts';

// ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────

interface Reading {
  readonly method?: string;
  readonly limits?: ResponseLimits;
  /** The server closes after the last byte. */
  readonly closes?: boolean;
  readonly onError?: (error: unknown) => void;
}

/** What is read from the pieces, as text: `100 | 200 OK length 2 | "hi" | end`. */
function read(
  pieces: readonly Buffer[],
  { method = 'GET', limits, closes, onError }: Reading = {},
): string {
  const reader = new ResponseReader(method, limits);
  const seen: string[] = [];
  let body = '';
  const flush = () => {
    if (body !== '') seen.push(JSON.stringify(body));
    body = '';
  };
  const drain = () => {
    for (let event; (event = reader.next()) !== undefined;) {
      if (event.type === 'data') body += event.data.toString('latin1');
      if (event.type === 'interim') seen.push(String(event.head.code));
      if (event.type === 'head') {
        const { head, framing } = event;
        const size = framing.kind === 'length' ? ` ${framing.length}` : '';
        seen.push(`${head.version} ${head.code} ${head.phrase} ${framing.kind}${size}`);
        for (const [name, value] of head.headers) seen.push(`${name}=${value}`);
      }
      if (event.type === 'end') {
        flush();
        for (const [name, value] of event.trailers) seen.push(`trailer ${name}=${value}`);
        seen.push(event.potentialDataLoss ? 'end, perhaps' : 'end');
      }
    }
  };
  try {
    for (const piece of pieces) {
      // A copy, since pieces of one buffer lie side by side by chance.
      reader.feed(Buffer.from(piece));
      drain();
    }
    if (closes === true) reader.feedEnd();
    drain();
  } catch (error) {
    flush();
    seen.push(`${(error as Error).name}: ${(error as Error).message}`);
    onError?.(error);
    if (again(reader) !== error) seen.push('and then something else');
  }
  flush();
  return seen.join(' | ');
}

function again(reader: ResponseReader): unknown {
  try {
    return reader.next();
  } catch (error) {
    return error;
  }
}

/** Every cut must come to the same, which is `expected`. */
function reads(
  test: Pick<typeof t, 'match' | 'equal'>,
  wire: string | Buffer,
  expected: string | RegExp,
  options: Reading = {},
): void {
  const bytes = typeof wire === 'string' ? Buffer.from(wire, 'latin1') : wire;
  const whole = read([bytes], options);
  test.match(whole, expected, JSON.stringify(bytes.toString('latin1').slice(0, 80)));
  let differing: string | undefined;
  for (const pieces of chunkings(bytes, { cuts: 1 })) {
    const got = read(pieces, options);
    if (got !== whole) differing ??= `${JSON.stringify(pieces.map(String))}: ${got}`;
  }
  test.equal(differing, undefined, 'the same for every cut');
}

const exactly = (text: string) => new RegExp(`^${text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`);

t.test('a body is as long as Content-Length says', async (t) => {
  reads(
    t,
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Two: a \t b\r\n\r\nhello',
    exactly('1.1 200 OK length 5 | Content-Length=5 | X-Two=a \t b | "hello" | end'),
  );
  reads(
    t,
    'HTTP/1.0 404 Not Found\r\ncontent-length:0\r\n\r\n',
    /^1\.0 404 Not Found length 0 .* end$/,
  );
  reads(t, 'HTTP/1.1 200 OK\r\nContent-Length:\t 0003 \t\r\n\r\nabc', /length 3 .*"abc" \| end$/);
});

t.test(
  'a chunked body ends with its last chunk; trailers stay apart from the headers',
  async (t) => {
    const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n';
    reads(t, `${head}0\r\n\r\n`, /chunked \| .* \| end$/);
    reads(t, `${head}5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n`, /"hello world" \| end$/);
    reads(
      t,
      `${head}0A;name=value ; q = "a\\"; b"\r\n0123456789\r\n000;x\r\n\r\n`,
      /"0123456789" \| end$/,
    );
    reads(t, `${head}1 \t;bad-white-space\r\na\r\n0\r\n\r\n`, /"a" \| end$/);
    reads(
      t,
      `${head}1\r\na\r\n0\r\nContent-Length: 7\r\nHost: evil\r\n\r\n`,
      exactly(
        '1.1 200 OK chunked | Transfer-Encoding=Chunked | "a" | trailer Content-Length=7 | trailer Host=evil | end',
      ),
    );
  },
);

t.test(
  'a body without framing ends when the server closes, and is marked as doubtful',
  async (t) => {
    reads(t, 'HTTP/1.1 200 OK\r\n\r\nhello', exactly('1.1 200 OK close | "hello" | end, perhaps'), {
      closes: true,
    });
    reads(t, 'HTTP/1.0 200 OK\r\n\r\n', exactly('1.0 200 OK close | end, perhaps'), {
      closes: true,
    });
    reads(t, 'HTTP/1.0 200 OK\r\n\r\nhel', exactly('1.0 200 OK close | "hel"'));
  },
);

t.test('responses to HEAD, 204 and 304 have no body', async (t) => {
  const none = /none .*\| end$/;
  reads(t, 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', none, { method: 'HEAD' });
  reads(t, 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', none, { method: 'HEAD' });
  reads(t, 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n', none);
  reads(t, 'HTTP/1.1 204 No Content\r\nX: y\r\n\r\n', none);
  reads(t, 'HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n', none);
});

t.test('HTC-28: bytes behind a response are dropped, behind a HEAD response too', async (t) => {
  reads(t, 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', /none .*\| end$/, {
    method: 'HEAD',
  });
  reads(t, 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 500 No\r\n\r\n', /"hi" \| end$/);
  reads(t, 'HTTP/1.1 304 Fine\r\n\r\nbytes', /none \| end$/, { closes: true });
});

t.test('interim responses come before the real one', async (t) => {
  reads(
    t,
    'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
    /^100 \| 103 \| 1\.1 200 OK length 0 .* end$/,
  );
});

t.test('HTC-14: more than 32 interim responses are refused', async (t) => {
  const interim = 'HTTP/1.1 100 Continue\r\n\r\n';
  t.match(
    read([Buffer.from(interim.repeat(32) + 'HTTP/1.1 204 No\r\n\r\n')]),
    /204 No none \| end$/,
  );
  t.match(
    read([Buffer.from(interim.repeat(100_000))]),
    /^(100 \| ){32}LimitExceeded: the run of interim responses is longer than the limit of 32 responses$/,
  );
  reads(t, interim.repeat(3), /^100 \| LimitExceeded: .* 1 responses$/, {
    limits: { maxInterim: 1 },
  });
});

t.test('a switch of protocols that nobody asked for is refused', async (t) => {
  reads(
    t,
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n',
    /^ParseError: .*101.* without being asked/,
  );
});

t.test('HTC-25: status lines that are none are refused', async (t) => {
  for (const line of [
    'HTTP/1.1 2000 OK',
    'HTTP/1.1 20 OK',
    'HTTP/1.1 020 OK',
    'HTTP/1.1 000 OK',
    'HTTP/1.1 +20 OK',
    'HTTP/1.1 2e2 OK',
    'HTTP/1.1 200OK',
    'HTTP/1.1  200',
    'HTTP/1.1  200 OK',
    'HTTP/1.1\t200 OK',
    'HTTP/1.1',
    'HTTP/1.1 ',
    'HTTP/9.9 200 OK',
    'HTTP/2.0 200 OK',
    'HTTP/01.1 200 OK',
    'HTTP/1.10 200 OK',
    'HTTP/1.1 200 O\0K',
    'HTTP/1.1 200 O\rK',
    'HTTP/1.1 200 \x1b[2J',
    'HTTP/1.1 200 \x7f',
    'HTTP/1.1 200\u00a0OK',
    'HTTP/1.1 ２００ OK',
  ]) {
    reads(t, Buffer.from(`${line}\r\n\r\n`), /^ParseError: bad status line: "HTTP\//);
  }
  for (const line of [
    'ICY 200 OK',
    'http/1.1 200 OK',
    ' HTTP/1.1 200 OK',
    '\r\nHTTP/1.1 200',
    '<html><body>',
  ]) {
    reads(t, `${line}\r\n\r\n`, /^ParseError: this is no HTTP: it begins with "/);
  }
});

t.test(
  'HTC-25: what is no HTTP is refused from its first bytes, with no line end in sight',
  async (t) => {
    reads(t, 'SSH-2', exactly('ParseError: this is no HTTP: it begins with "S"'));
    reads(t, 'HTTX', exactly('ParseError: this is no HTTP: it begins with "HTTX"'));
    reads(
      t,
      '\x15\x03\x01\x00\x02',
      exactly('ParseError: this is no HTTP: it begins with "\\x15"'),
    );
  },
);

t.test('a phrase may be empty, missing with its space, or in any letters', async (t) => {
  reads(t, 'HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n', /^1\.1 200 {2}length 0/);
  reads(t, 'HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n', /^1\.1 200 {2}length 0/);
  reads(
    t,
    'HTTP/1.1 200 \xfcber\tall\r\nContent-Length: 0\r\n\r\n',
    /^1\.1 200 \xfcber\tall length 0/,
  );
  reads(t, 'HTTP/1.1 999 Go away\r\nContent-Length: 0\r\n\r\n', /^1\.1 999 Go away length 0/);
});

t.test('a bare LF is refused as soon as it arrives, wherever it stands', async (t) => {
  const alone = /ParseError: .* ends with LF alone/;
  reads(t, 'HTTP/1.1 200 OK\n', alone);
  reads(t, 'HTTP/1.1 200 OK\r\nX: y\n', alone);
  reads(t, 'HTTP/1.1 200 OK\r\nX: y\r\n\n', alone);
  reads(t, 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\n', alone);
  reads(t, 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\n', alone);
});

t.test('header lines that two parsers could read differently are refused', async (t) => {
  for (const [line, problem] of [
    ['X: a\r\n b\0c', 'control character in header X: "b\\x00"'],
    ['nocolon', 'header line without a colon: "nocolon"'],
    ['no colon', 'bad header name: "no "'],
    [': no name', 'bad header name: ""'],
    ['X Y: z', 'bad header name: "X "'],
    ['Content-Length : 5', 'bad header name: "Content-Length "'],
    ['Transfer-Encoding\t: chunked', 'bad header name'],
    ['\xefoo: x', 'bad header name: "\xef"'],
    ['X\0: y', 'bad header name: "X\\x00"'],
    ['X(y): z', 'bad header name'],
    ['X: a\0b', 'control character in header X: "a\\x00"'],
    ['X: a\rb', 'control character in header X: "a\\x0db"'],
    ['X: a\x0bb', 'control character in header X'],
    ['X: a\x7f', 'control character in header X: "a\\x7f"'],
    ['X: \x0c5', 'control character in header X'],
  ] as const) {
    reads(t, `HTTP/1.1 200 OK\r\nA: b\r\n${line}\r\n\r\n`, `ParseError: ${problem}`);
  }
  reads(t, 'HTTP/1.1 200 OK\r\nX: \x80\xff\r\nY:\r\nZ::a\r\n\r\n', /X=\x80\xff \| Y= \| Z=:a/);
});

t.test('HTC-12: there is one way to say how long a body is', async (t) => {
  const bad = (
    headers: string,
    problem: RegExp,
    start = 'HTTP/1.1 200 OK',
    options: Reading = {},
  ) => reads(t, `${start}\r\n${headers}\r\n\r\nhello`, problem, options);
  for (const value of [
    '-5',
    '+5',
    '5, 5',
    '5,5',
    '5 5',
    '0x5',
    '',
    '5a',
    '1e3',
    '5.0',
    '1_0',
    '\xa05',
    '9007199254740993',
    '9'.repeat(23),
    `${'0'.repeat(17)}a`,
    '٥',
  ]) {
    bad(`Content-Length: ${value}`, /^ParseError: bad Content-Length: "/);
  }
  bad('Content-Length: 5\r\nContent-Length: 0', exactly('ParseError: 2 Content-Lengths: "5, 0"'));
  bad('Content-Length: 5\r\nX: y\r\ncontent-length: 5', /^ParseError: 2 Content-Lengths: "5, 5"$/);
  bad(
    'Content-Length: 5\r\nTransfer-Encoding: chunked',
    /^ParseError: both Transfer-Encoding and Content-Length/,
  );
  bad(
    'Transfer-Encoding: chunked\r\nContent-Length: 5',
    /^ParseError: both Transfer-Encoding and Content-Length/,
  );
  for (const coding of [
    'identity',
    'gzip, chunked',
    'chunked, gzip',
    'chunked, chunked',
    'chunked;q=1',
    'xchunked',
    'chunkedx',
    'gzip',
    '',
    '"chunked"',
    'chun ked',
    ',',
  ]) {
    bad(`Transfer-Encoding: ${coding}`, /^ParseError: bad Transfer-Encoding: "/);
  }
  bad(
    'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked',
    /^ParseError: bad Transfer-Encoding/,
  );
  bad(
    'Transfer-Encoding: chunked',
    /^ParseError: Transfer-Encoding in HTTP\/1\.0: "chunked"/,
    'HTTP/1.0 200 OK',
  );
  t.equal(bodyFraming('GET', head('Content-Length: 9007199254740991')).kind, 'length');
});

function head(...lines: string[]) {
  const reader = new ResponseReader('GET');
  reader.feed(Buffer.from(`HTTP/1.1 200 OK\r\n${lines.join('\r\n')}\r\n\r\n`, 'latin1'));
  const event = reader.next();
  if (event?.type !== 'head') throw new Error('no head');
  return event.head;
}

t.test('chunks that are none are refused', async (t) => {
  const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
  for (const size of [
    '0x1',
    '+1',
    '-1',
    ' 1',
    '1 ',
    '1_0',
    '',
    'g',
    '1g',
    '1\t',
    '1 2',
    '1,2',
    '1;a\0',
    '1;a\rb',
    '1\u00a0',
    '20000000000000',
    'ffffffffffffffff',
  ]) {
    reads(t, `${chunked}${size}\r\nA\r\n0\r\n\r\n`, /ParseError: bad chunk size: "/);
  }
  reads(
    t,
    `${chunked}1\r\nZXX0\r\n\r\n`,
    /"Z" \| ParseError: a chunk of 1 bytes is not followed by CR LF but by "X"$/,
  );
  reads(t, `${chunked}5\r\nAAAAAAAAAA`, /"AAAAA" \| ParseError: a chunk of 5 bytes/);
  reads(t, `${chunked}1\r\nA\n\r0\r\n\r\n`, /"A" \| ParseError: .* by "\\x0a"$/);
  reads(t, `${chunked}0\r\nX : y\r\n\r\n`, /ParseError: bad trailer name: "X "$/);
  reads(t, `${chunked}0\r\n folded\r\n\r\n`, /ParseError: the first trailer line is folded/);
});

t.test('chunks of any size, however they are cut, make up the body', async (t) => {
  const seed = randomInt(2 ** 31);
  t.comment(`seed ${seed}`);
  const sizes = fc.array(
    fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constantFrom(255, 256, 300)),
    {
      maxLength: 40,
    },
  );
  fc.assert(
    fc.property(sizes, fc.nat(60), fc.boolean(), (sizes, cut, zeros) => {
      let body = '';
      let wire = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
      for (const size of sizes) {
        const data = Array.from({ length: size }, (_, i) => 'ab\r\n01'[(body.length + i) % 6]).join(
          '',
        );
        body += data;
        wire += `${zeros ? '0' : ''}${size.toString(16).toUpperCase()}\r\n${data}\r\n`;
      }
      const bytes = Buffer.from(`${wire}0\r\n\r\n`);
      const pieces: Buffer[] = [];
      for (let at = 0; at < bytes.length; at += cut + 1)
        pieces.push(bytes.subarray(at, at + cut + 1));
      const expected = body === '' ? '' : `${JSON.stringify(body)} | `;
      for (const wires of [[bytes], pieces]) {
        if (!read(wires).endsWith(`Transfer-Encoding=chunked | ${expected}end`)) return false;
      }
      return true;
    }),
    { seed },
  );
});

t.test('HTC-17: a response that is cut short is told from one that is whole', async (t) => {
  const closes = { closes: true };
  const DataLossOf = (rest: string) => new RegExp(`DataLoss: the connection was closed ${rest}$`);
  reads(
    t,
    'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello',
    DataLossOf('when 5 of 10 bytes of the body had arrived'),
    closes,
  );
  reads(
    t,
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n',
    DataLossOf('when 5 bytes of the body, and not its last chunk, had arrived'),
    closes,
  );
  const chunked =
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n';
  const start = chunked.indexOf('\r\n\r\n') + 4;
  for (let end = start; end < chunked.length; end++) {
    t.match(read([Buffer.from(chunked.slice(0, end))], closes), /DataLoss: /, `${end} bytes`);
  }
  reads(t, 'HTTP/1.1 200 OK\r\nX: y\r\n', DataLossOf('within the headers of the response'), closes);
  reads(t, 'H', DataLossOf('within the headers of the response'), closes);
  t.match(read([], closes), DataLossOf('before a byte of the response had arrived'));
  reads(
    t,
    'HTTP/1.1 100 Continue\r\n\r\n',
    DataLossOf('within the headers of the response'),
    closes,
  );
});

t.test('HTC-13: lines, headers and trailers have limits', async (t) => {
  const { maxHeaderLine, maxHeaderSize, maxHeaderCount, maxTrailerSize } = RESPONSE_LIMITS;
  t.same(
    [maxHeaderLine, maxHeaderSize, maxHeaderCount, maxTrailerSize],
    [16_384, 65_536, 500, 65_536],
  );
  const ok = 'HTTP/1.1 200 OK\r\n';
  const line = (size: number) => `X: ${'y'.repeat(size - 3)}`;
  const once = (wire: string, limits?: ResponseLimits) =>
    read([Buffer.from(wire)], { limits: limits ?? {} });

  t.match(once(`${ok}${line(16_384)}\r\nContent-Length: 0\r\n\r\n`), /end$/);
  t.match(
    once(`${ok}${line(16_385)}\r\n\r\n`),
    /^LimitExceeded: a header line is longer than the limit of 16384 bytes/,
  );
  t.match(
    once(`${ok}${'X'.repeat(16_386)}`),
    /^LimitExceeded: a header line/,
    'no need to wait for its end',
  );
  t.match(once(`HTTP/1.1 200 ${'O'.repeat(16_384 - 13)}\r\nContent-Length: 0\r\n\r\n`), /end$/);
  t.match(once(`HTTP/1.1 200 ${'O'.repeat(16_385 - 13)}\r\n`), /^LimitExceeded: the status line/);

  const section = `${line(16_382)}\r\n`.repeat(4);
  t.match(once(`${ok}${section}\r\n`), /1\.1 200 OK close/, '65,536 bytes');
  t.match(once(`${ok}X${section}\r\n`), /^LimitExceeded: the header section .* 65536 bytes$/);
  t.match(once(`${ok}${'X: y\r\n'.repeat(500)}\r\n`), /1\.1 200 OK close/);
  t.match(
    once(`${ok}${'X: y\r\n'.repeat(20_000)}`),
    /^LimitExceeded: the header section .* 500 lines$/,
  );

  const chunked = `${ok}Transfer-Encoding: chunked\r\n\r\n`;
  t.match(once(`${chunked}0\r\n${section}\r\n`), /end$/);
  t.match(
    once(`${chunked}0\r\n${section}X:\r\n\r\n`),
    /LimitExceeded: the trailer section .* 65536 bytes$/,
  );
  t.match(
    once(`${chunked}0\r\n${'X: y\r\n'.repeat(501)}`),
    /LimitExceeded: the trailer section .* 500 lines$/,
  );

  for (const [name, limit, wire] of [
    ['maxHeaderLine', 15, `${ok}X: 67890123456789\r\n\r\n`],
    ['maxHeaderSize', 10, `${ok}X: y\r\nX: y\r\n\r\n`],
    ['maxHeaderCount', 10, `${ok}${'X: y\r\n'.repeat(11)}\r\n`],
    ['maxChunkLine', 10, `${chunked}00000000001\r\n`],
    ['maxChunkExtensions', 10, `${chunked}1;456789012;\r\na\r\n`],
    ['maxTrailerSize', 10, `${chunked}0\r\nX: y\r\nX: y\r\n\r\n`],
  ] as const) {
    reads(t, wire, new RegExp(`LimitExceeded: .* ${limit} (bytes|lines)$`), {
      limits: { [name]: limit },
    });
  }
  for (const value of [-1, 1.5, NaN, '5' as unknown as number]) {
    t.throws(
      () => new ResponseReader('GET', { maxHeaderSize: value }),
      typeof value === 'number' ? RangeError : TypeError,
    );
  }
  t.doesNotThrow(() => new ResponseReader('GET', { maxHeaderSize: Infinity, maxInterim: 0 }));
});

t.test('chunk extensions are tolerated, but not without end', async (t) => {
  const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
  const extended = (size: number) => `1;${'x'.repeat(size - 2)}\r\na\r\n`;
  t.match(read([Buffer.from(`${chunked}${extended(1_024)}0\r\n\r\n`)]), /"a" \| end$/);
  t.match(
    read([Buffer.from(`${chunked}${extended(1_025)}`)]),
    /LimitExceeded: the size line of a chunk is longer than the limit of 1024 bytes$/,
  );
  t.match(
    read([Buffer.from(`${chunked}1;${'x'.repeat(1_048_576)}`)]),
    /LimitExceeded: the size line of a chunk is longer than the limit of 1024 bytes$/,
  );
  t.match(
    read([Buffer.from(chunked + extended(900).repeat(1_000))]),
    /"a{18}" \| LimitExceeded: the sum of the chunk extensions is longer than the limit of 16384 bytes$/,
  );
});

t.test('large pieces of the body are parts of what was fed, not copies', async (t) => {
  const wire = Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n${'a'.repeat(70_000)}`);
  const reader = new ResponseReader('GET');
  const pieces: Buffer[] = [];
  const chunks: unknown[] = [];
  for (let at = 0; at < wire.length; at += 16_384) {
    const chunk = Buffer.allocUnsafeSlow(Math.min(16_384, wire.length - at));
    wire.copy(chunk, 0, at);
    chunks.push(chunk.buffer);
    reader.feed(chunk);
    for (let event; (event = reader.next()) !== undefined;)
      if (event.type === 'data') pieces.push(event.data);
  }
  t.equal(pieces.length, 5);
  t.same(
    pieces.map((piece, index) => piece.buffer === chunks[index]),
    [true, true, true, true, true],
  );
});

t.test('small chunks that arrive together are delivered as one piece', async (t) => {
  const reader = new ResponseReader('GET');
  reader.feed(Buffer.from('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'));
  t.equal(reader.next()?.type, 'head');
  reader.feed(Buffer.from('1\r\na\r\n'.repeat(10_000)));
  t.match(reader.next(), { type: 'data', data: Buffer.alloc(10_000, 'a') });
  t.equal(reader.next(), undefined);
});

t.test('a response that drips byte by byte costs linear time', async (t) => {
  const drip = (lines: number) => {
    const wire = Buffer.from(
      `HTTP/1.1 200 OK\r\n${`X: ${'y'.repeat(1_000)}\r\n`.repeat(lines)}\r\n`,
    );
    const reader = new ResponseReader('GET', { maxHeaderSize: Infinity, maxHeaderCount: Infinity });
    for (let at = 0; at < wire.length; at++) {
      reader.feed(wire.subarray(at, at + 1));
      reader.next();
    }
  };
  t.ok(growsLinearly(drip, 15));
});

t.test(
  'whatever the bytes and their cut, the outcome is the same, and a typed error if it is one',
  async (t) => {
    const seed = randomInt(2 ** 31);
    t.comment(`seed ${seed}`);
    const words = fc.constantFrom(
      'HTTP/1.1 200 OK\r\n',
      'HTTP/1.0 404 No\r\n',
      'HTTP/1.1 100 C\r\n\r\n',
      'Content-Length: 5\r\n',
      'Content-Length: 3\r\n',
      'Transfer-Encoding: chunked\r\n',
      'X: y\r\n',
      '\r\n',
      '\n',
      '5\r\nhello\r\n',
      '0\r\n',
      'hello',
      ' ',
      '\0',
      ':',
    );
    const wires = fc
      .array(fc.oneof({ weight: 9, arbitrary: words }, fc.string({ maxLength: 4 })), {
        maxLength: 12,
      })
      .map((parts) => Buffer.from(`HTTP/1.1 200 OK\r\n${parts.join('')}`, 'latin1'));
    const errors = new Set<unknown>();
    const onError = (error: unknown) => errors.add((error as Error).constructor);
    let ended = 0;
    fc.assert(
      fc.property(
        wires,
        fc.boolean(),
        fc.array(fc.nat(200), { maxLength: 20 }),
        (wire, closes, places) => {
          const whole = read([wire], { closes, onError });
          if (whole.endsWith('| end')) ended++;
          const ends = [
            ...new Set([0, wire.length, ...places.map((at) => at % (wire.length + 1))]),
          ];
          ends.sort((a, b) => a - b);
          const pieces = ends.slice(1).map((end, i) => wire.subarray(ends[i], end));
          return read(pieces, { closes }) === whole;
        },
      ),
      { numRuns: 3_000, seed },
    );
    t.ok(ended > 0, `${ended} responses were whole`);
    t.ok(errors.has(ParseError) && errors.has(DataLoss), 'both kinds of failure were seen');
    for (const type of [ParseError, DataLoss, LimitExceeded]) errors.delete(type);
    t.equal(errors.size, 0, 'and no others');
  },
);

// ── Headers ──────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('headers are found in any case, and keep their order and spelling', async (t) => {
  const headers = new Headers([
    ['Set-Cookie', 'a=1'],
    ['X-Y', 'z'],
    ['set-cookie', 'b=2'],
  ]);
  t.same([...headers.getRawHeaders('SET-COOKIE')], ['a=1', 'b=2']);
  t.equal(headers.get('set-cookie'), 'a=1, b=2');
  t.equal(headers.size, 3);
  t.same(
    [...headers],
    [
      ['Set-Cookie', 'a=1'],
      ['X-Y', 'z'],
      ['set-cookie', 'b=2'],
    ],
  );
  t.same(
    [...headers.getAllRawHeaders()],
    [
      ['Set-Cookie', ['a=1', 'b=2']],
      ['X-Y', ['z']],
    ],
  );
  const other = headers.copy();
  other.setRawHeaders('x-y', ['1', '2']);
  other.removeHeader('Set-Cookie');
  other.removeHeader('absent');
  t.same(
    [...other],
    [
      ['x-y', '1'],
      ['x-y', '2'],
    ],
  );
  t.equal(headers.get('x-y'), 'z');
  t.same(
    [...new Headers({ a: '1', b: ['2', '3'] })],
    [
      ['a', '1'],
      ['b', '2'],
      ['b', '3'],
    ],
  );
  t.throws(
    () => new Headers({ a: 1 as unknown as string }),
    /the value of header "a" must be a string, not number/,
  );
  t.throws(() => new Headers([[1 as unknown as string, 'a']]), /a header name must be a string/);
});

t.test('HTS-46: a header may have the name of a property of all objects', async (t) => {
  const { headers } = head('__proto__: a', 'constructor: b', 'toString: c', 'hasOwnProperty: d');
  t.same(
    ['__proto__', 'constructor', 'tostring', 'hasownproperty'].map((name) => headers.get(name)),
    ['a', 'b', 'c', 'd'],
  );
  for (const name of ['__proto__', 'constructor', 'toString', 'valueOf']) {
    t.equal(new Headers().get(name), undefined);
    t.equal(new Headers().hasHeader(name), false);
    t.same(new Headers().getRawHeaders(name), []);
  }
});

// ── Writing ──────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('a request is written with its headers in order, and nothing of the body', async (t) => {
  const request = makeRequest('http://Example.com:8080/a%20b?c=d#e', {
    method: 'post',
    headers: { 'X-First': '1', accept: 'text/html', 'x-umlaut': '\xfc' },
    body: 'h\xe9',
  });
  t.equal(
    writeRequestHead(request).toString('latin1'),
    'POST /a%20b?c=d HTTP/1.1\r\n' +
      'Host: example.com:8080\r\n' +
      'User-Agent: plait\r\n' +
      'X-First: 1\r\n' +
      'accept: text/html\r\n' +
      'x-umlaut: \xfc\r\n' +
      'Content-Length: 3\r\n' +
      'Connection: close\r\n' +
      '\r\n',
  );
});

t.test(
  'HTC-01: nothing in a request can become another line, whoever has put it together',
  async (t) => {
    const request = makeRequest('http://example.com/');
    const refuses = (changes: Partial<typeof request>, message: RegExp) =>
      t.throws(() => writeRequestHead({ ...request, ...changes }), { name: 'TypeError', message });
    for (const bad of ['\r', '\n', '\r\nX: y', '\0', ' ', '\u010d\u010a', '\u2028']) {
      refuses({ method: `GET${bad}` }, /the method ".*" cannot be sent/);
      const url = urlWith(`/a${bad}`);
      refuses({ url }, /the path ".*" cannot be sent/);
      refuses(
        { headers: new Headers({ host: 'a', [`X${bad}`]: 'y' }) },
        /the header name ".*" cannot be sent/,
      );
      if (bad === ' ') continue;
      const headers = new Headers({ host: 'a', 'X-Secret': `geheim${bad}` });
      refuses(
        { headers },
        /^the value of header X-Secret cannot be sent: it has a control or a non-Latin-1 character$/,
      );
    }
    refuses({ method: '' }, /the method "" cannot be sent/);
    refuses({ headers: new Headers() }, /no Host/);
    refuses({ url: urlWith('*') }, /the path "\*" cannot be sent/);
  },
);

/** A URL whose parts nobody has escaped. */
function urlWith(pathname: string): URL {
  return Object.create(URL.prototype, {
    pathname: { value: pathname },
    search: { value: '' },
  }) as URL;
}

t.test('HTC-27: lengths that contradict, and headers given twice, are refused', async (t) => {
  const { url } = makeRequest('http://example.com/');
  const write = (headers: [string, string][], body?: Uint8Array) =>
    writeRequestHead({
      method: 'PUT',
      url,
      headers: new Headers([['Host', 'a'], ...headers]),
      body,
    });
  const body = Buffer.from('hello');
  t.match(write([['Content-Length', '5']], body).toString(), /Content-Length: 5\r\n/);
  t.throws(
    () => write([['Content-Length', '4']], body),
    /Content-Length "4" is not the length of the body, 5/,
  );
  t.throws(() => write([['Content-Length', '05']], body), /Content-Length "05" is not/);
  t.throws(
    () => write([['Content-Length', '5']]),
    /Content-Length "5" is not the length of the body, 0/,
  );
  t.throws(() => write([], body), /Content-Length "0" is not the length of the body, 5/);
  t.throws(
    () =>
      write(
        [
          ['Content-Length', '5'],
          ['content-length', '5'],
        ],
        body,
      ),
    /header content-length is given twice, as Content-Length too/,
  );
  t.throws(
    () =>
      write([
        ['X-Y', '5'],
        ['x-y', '6'],
      ]),
    /header x-y is given twice, as X-Y too/,
  );
  t.throws(() => write([['Host', 'b']]), /header Host is given twice$/);
  t.throws(() => write([['Transfer-Encoding', 'chunked']]), /Transfer-Encoding cannot be given/);
  t.match(
    write([
      ['Cookie', 'a'],
      ['Cookie', 'b'],
    ]).toString(),
    /Cookie: a\r\nCookie: b\r\n/,
  );
});

// ── What an RFC says how it must be read ─────────────────────────────────────────────────────────────────────────────

t.test('FND-50: a response that has no body has none, whatever its headers say', async (t) => {
  for (const lines of [
    'Content-Length: 2',
    'Content-Length: none',
    'Content-Length: 2\r\nContent-Length: 3',
    'Transfer-Encoding: chunked',
    'Transfer-Encoding: chunked\r\nContent-Length: 2',
    'Transfer-Encoding: gzip',
  ]) {
    const head = `\r\n${lines}\r\n\r\n`;
    reads(t, `HTTP/1.1 204 No Content${head}`, /^1\.1 204 No Content none \|.* \| end$/);
    reads(t, `HTTP/1.1 304 Not Modified${head}`, /^1\.1 304 Not Modified none \|.* \| end$/);
    reads(t, `HTTP/1.1 200 OK${head}`, /^1\.1 200 OK none \|.* \| end$/, { method: 'HEAD' });
    reads(
      t,
      `HTTP/1.1 103 Hints${head}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi`,
      /^103 \| 1\.1 200 OK length.* \| "hi" \| end$/,
    );
  }
  const chunks = '\r\n\r\n2\r\nhi\r\n0\r\n\r\n';
  for (const coding of [', chunked', 'Chunked,', 'CHUNKED , ,'])
    reads(t, `HTTP/1.1 200 OK\r\nTransfer-Encoding: ${coding}${chunks}`, /"hi" \| end$/);
});

t.test('FND-51: a folded line is read with a space for the fold, in trailers too', async (t) => {
  const ok = 'HTTP/1.1 200 OK\r\n';
  reads(t, `${ok}X: a\r\n b\r\nY: c\r\n\r\n`, /X=a b \| Y=c$/);
  reads(t, `${ok}X: a \r\n\t  b\r\n \r\n  c: d \r\n\r\n`, /X=a b  c: d$/);
  reads(t, `${ok}X:\r\n \r\n\r\n`, /X=$/);
  reads(t, `${ok}Content-Length:\r\n 2\r\n\r\nhi`, /"hi" \| end$/);
  const chunked = `${ok}Transfer-Encoding:\r\n\tchunked\r\n\r\n`;
  reads(t, `${chunked}2\r\nhi\r\n0\r\nX: a\r\n b\r\n\r\n`, /"hi" \| trailer X=a b \| end$/);
  reads(t, `${ok} X: a\r\n\r\n`, /^ParseError: the first header line is folded: " X: a"$/);
  reads(t, `${chunked}0\r\n\tX: a\r\n\r\n`, /ParseError: the first trailer line is folded/);
  reads(t, `${ok}X: a\r\n b\r\n c\r\n\r\n`, /^LimitExceeded/, { limits: { maxHeaderCount: 2 } });
  reads(t, `${ok}X: a\r\n b\r\n c\r\n\r\n`, /^LimitExceeded/, { limits: { maxHeaderSize: 9 } });
});

t.test('FND-52: a later minor version is read as 1.1, a later major one is refused', async (t) => {
  for (const version of ['1.2', '1.9'])
    reads(t, `HTTP/${version} 200 OK\r\nContent-Length: 0\r\n\r\n`, /^1\.1 200 OK/);
  for (const version of ['2.0', '0.9', '3', '1.x', '1.11', '11.1'])
    reads(t, `HTTP/${version} 200 OK\r\n\r\n`, /^ParseError: bad status line: /);
});

t.test('FND-53: chunk extensions are names, with tokens or quoted strings as values', async (t) => {
  const body = (size: string) =>
    `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${size}\r\nx\r\n0\r\n\r\n`;
  for (const size of [
    '1;a',
    '1;a=b',
    '1;a="b"',
    '1;a=""',
    '1 ; a = b\t;c',
    '1;a="\\""',
    '1;a="b;c=d, \xe9"',
    `${'0'.repeat(17)}1`,
    `${'0'.repeat(1000)}1;a`,
  ])
    reads(t, body(size), /"x" \| end$/);
  for (const size of [
    '1;',
    '1;=b',
    '1;a=',
    '1;a="b',
    '1;a=b"',
    '1;a="b"c',
    '1;a b',
    '1;a;;b',
    '1;"a"',
    '1;a="\\"',
    '1;a=b,c',
    '1 ',
    '1 a',
    '1;a="b" "c"',
    `1;a=${'"\\'.repeat(300)}`,
    '1'.repeat(17),
  ])
    reads(t, body(size), /ParseError: bad chunk size: "/);
});

t.test(
  'FND-56: what cannot become a status line is an error with its first wrong byte',
  async (t) => {
    for (const start of [
      'x',
      '\0',
      ' ',
      '\r',
      'h',
      'HX',
      'HTTP 1',
      'HTTP/2',
      'HTTP/1,',
      'HTTP/1.a',
      'HTTP/1.1\t',
      'HTTP/1.1  ',
      'HTTP/1.1 0',
      'HTTP/1.1 2x',
      'HTTP/1.1 2000',
      'HTTP/1.1 200-',
      'HTTP/1.1 200 O\0',
      'HTTP/1.1 200 O\x1b',
      'HTTP/1.1 200 O\rK',
      'HTTP/1.1 200\rK',
    ]) {
      reads(t, start, /^ParseError: (?:this is no HTTP|bad status line)/);
      reads(t, `HTTP/1.1 100 Continue\r\n\r\n${start}`, /^100 \| ParseError: /);
    }
    reads(t, `HTTP/1.1 200 ${'x'.repeat(88)}`, /^LimitExceeded: the status line/, {
      limits: { maxHeaderLine: 100 },
    });
    reads(t, 'HTTP/1.1 200 O\n', /^ParseError: the status line ends with LF alone: /);
  },
);

t.test('FND-56: garbage after the status line is an error with its first wrong byte', async (t) => {
  const head = 'HTTP/1.1 200 OK\r\n';
  const chunked = `${head}Transfer-Encoding: chunked\r\n\r\n`;
  for (const [wire, problem] of [
    [`${head}\0`, 'bad header name: "\\x00"'],
    [`${head}<`, 'bad header name: "<"'],
    [`${head}:`, 'bad header name: ""'],
    [`${head}X Y`, 'bad header name: "X "'],
    [`${head}X\r`, 'header line without a colon: "X"'],
    [`${head}\rX`, 'bad header name: "\\x0dX"'],
    [`${head}X: a\x1b`, 'control character in header X: "a\\x1b"'],
    [`${head}X: a\rb`, 'control character in header X: "a\\x0db"'],
    [`${head}X: a\r\n b\0`, 'control character in header X: "b\\x00"'],
    [`${head} \0`, 'control character in header without a name: "\\x00"'],
    [`${chunked}z`, 'bad chunk size: "z"'],
    [`${chunked} `, 'bad chunk size: " "'],
    [`${chunked}\r`, 'bad chunk size: "\\x0d"'],
    [`${chunked}1x`, 'bad chunk size: "1x"'],
    [`${chunked}1\rx`, 'bad chunk size: "1\\x0dx"'],
    [`${chunked}1;\0`, 'bad chunk size: "1;\\x00"'],
    [`${chunked}1\r\nax`, 'a chunk of 1 bytes is not followed by CR LF but by "x"'],
    [`${chunked}1\r\na\rx`, 'a chunk of 1 bytes is not followed by CR LF but by "\\x0dx"'],
    [`${chunked}0\r\n(`, 'bad trailer name: "("'],
    [`${chunked}0\r\nX: \0`, 'control character in trailer X: "\\x00"'],
  ] as const) {
    const shown = problem.replaceAll(/[\\"()]/g, '\\$&');
    reads(t, wire, new RegExp(`ParseError: ${shown}$`));
  }
});

t.test('FND-53: any number of zeros may stand before a Content-Length', async (t) => {
  for (const length of ['2', '02', `${'0'.repeat(30)}2`])
    reads(t, `HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n\r\nhi`, /"hi" \| end$/);
  const none = `HTTP/1.1 200 OK\r\nContent-Length: ${'0'.repeat(30)}\r\n\r\n`;
  reads(t, none, /length.* \| end$/);
});

t.test('FND-18: a header name or value that is kept does not hold its line', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const heap = () => {
    collect();
    return process.memoryUsage().heapUsed;
  };
  const wire = (i: number) =>
    Buffer.from(
      `HTTP/1.1 200 OK\r\nX-A-Name-That-Is-Kept-${i}: ${'v'.repeat(16_000)}\r\n` +
        `Y: ${' '.repeat(16_000)}a value that is kept ${i}\r\n\r\n`,
    );
  const kept: string[] = [];
  const keep = (i: number) => {
    const reader = new ResponseReader('GET');
    reader.feed(wire(i));
    const event = reader.next();
    if (event?.type !== 'head') throw new Error('there is no head');
    const [[name], [, value]] = [...event.head.headers] as [[string, string], [string, string]];
    kept.push(name, value);
  };
  for (let i = 0; i < 10; i++) keep(i);
  const before = heap();
  for (let i = 0; i < 500; i++) keep(i);
  const each = (heap() - before) / 1_000;
  t.ok(each < 1_000, `${each} bytes each`);
});
