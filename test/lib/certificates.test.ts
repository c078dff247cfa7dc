/** Certificates, requests and keys that plait makes: their bytes, what they say, and who is let in by them. */
import { createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { connect as connectTLS, createServer } from 'node:tls';
import { inspect } from 'node:util';
import fc from 'fast-check';
import {
  Certificate,
  CertificateError,
  CertificateRequest,
  ClientFactory,
  Deferred,
  DistinguishedName,
  Factory,
  type Failure,
  type ITLSContextFactory,
  KeyPair,
  optionsForClientTLS,
  PrivateCertificate,
  Protocol,
  Reactor,
  type SigningOptions,
  trustRootFromCertificates,
  VerificationError,
  VerifyError,
} from 'plait';
import { Echo } from 'plait/protocols/echo';
import { failureResultOf, successResultOf, testCertificates } from 'plait/testing';
import { bodyOf, certificateParts, readDER, TAG, wholeDER } from '../../lib/der.ts';
import {
  bitString,
  boolean,
  explicit,
  identifier,
  implicit,
  integer,
  namedBits,
  octetString,
  sequence,
  setOf,
  time,
  value,
} from '../../lib/der-writer.ts';
import t from '../fixture.ts';

// ── DER ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A value, and those in it: what is written, and what is to be read. */
type Tree = Buffer | readonly Tree[];

function written(tree: Tree): Buffer {
  return Buffer.isBuffer(tree) ? octetString(tree) : sequence(...tree.map(written));
}

function readTree(bytes: Buffer): Tree[] {
  return readDER(bytes).map(({ tag, body }) => (tag === TAG.sequence ? readTree(body) : body));
}

t.test('what is written as DER is read as the same, whatever its depth and length', async (t) => {
  const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 6 },
      fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
      fc.array(tie('tree'), { maxLength: 5 }),
    ),
  }));
  fc.assert(
    fc.property(fc.array(tree, { maxLength: 4 }), (trees) => {
      const bytes = Buffer.concat(trees.map(written));
      t.strictSame(readTree(bytes), trees);
      t.strictSame(wholeDER(bytes), trees.map(written));
    }),
    { numRuns: 300 },
  );
  for (const length of [0, 127, 128, 255, 256, 65_535, 65_536, 16_777_216]) {
    const bytes = octetString(Buffer.alloc(length, 7));
    t.equal(bodyOf(readDER(bytes)[0], TAG.octetString).length, length);
    // As few bytes as will do for the length (X.690 section 10.1).
    const most = length < 128 ? 1 : 1 + Math.ceil(length.toString(16).length / 2);
    t.equal(bytes.length - length, 1 + most, `${length} bytes`);
  }
});

t.test('whole numbers are written in as few bytes as will do, below zero too', async (t) => {
  const read = (bytes: Buffer): bigint => {
    const hex = bodyOf(readDER(bytes)[0], TAG.integer).toString('hex');
    return BigInt.asIntN(hex.length * 4, BigInt(`0x${hex}`));
  };
  const isShort = (body: Buffer): boolean =>
    body.length === 1 || ![0, 0x1ff].includes(body.readUInt16BE() >> 7);
  fc.assert(
    fc.property(fc.bigInt(), (number) => {
      const bytes = integer(number);
      t.equal(read(bytes), number);
      t.ok(isShort(bodyOf(readDER(bytes)[0], TAG.integer)));
    }),
    { numRuns: 300 },
  );
  const hexOf = (number: bigint) => integer(number).toString('hex');
  t.strictSame([0n, 127n, 128n, 256n, -128n, -129n].map(hexOf), [
    '020100',
    '02017f',
    '02020080',
    '02020100',
    '020180',
    '0202ff7f',
  ]);
});

t.test('identifiers, bits, sets and tags are written as X.690 has them', async (t) => {
  const hex = (text: string) => identifier(text).toString('hex');
  t.equal(hex('2.5.29.17'), '0603551d11');
  t.equal(hex('1.2.840.113549.1.1.11'), '06092a864886f70d01010b');
  t.equal(hex('2.999.3'), '0603883703');
  t.equal(hex('0.39'), '060127');
  for (const wrong of ['', '1', '3.1', '1.40', '0.40.1', '1.2.', '1.02', '1.2.x', '-1.2'])
    t.throws(() => identifier(wrong), RangeError, wrong);
  fc.assert(
    fc.property(fc.array(fc.bigInt({ min: 0n, max: 1n << 70n }), { minLength: 1 }), (arcs) => {
      const body = bodyOf(readDER(identifier(`2.${arcs.join('.')}`))[0], TAG.oid);
      const read: bigint[] = [];
      let arc = 0n;
      for (const byte of body) {
        arc = (arc << 7n) | BigInt(byte & 0x7f);
        if (byte >= 0x80) continue;
        read.push(arc);
        arc = 0n;
      }
      t.strictSame([(read[0] as bigint) - 80n, ...read.slice(1)], arcs);
    }),
    { numRuns: 100 },
  );
  t.equal(namedBits(0).toString('hex'), '03020780');
  t.equal(namedBits(0, 5, 6).toString('hex'), '03020186');
  t.equal(namedBits(8).toString('hex'), '0303070080');
  t.equal(namedBits().toString('hex'), '030100');
  t.equal(bitString(Buffer.of(1, 2)).toString('hex'), '0303000102');
  t.equal(setOf(integer(2n), integer(1n)).toString('hex'), '3106020101020102');
  t.equal(boolean(true).toString('hex') + boolean(false).toString('hex'), '0101ff010100');
  t.equal(explicit(3, integer(1n)).toString('hex'), 'a303020101');
  t.equal(implicit(2, Buffer.from('a')).toString('hex'), '820161');
  t.equal(value(TAG.utf8String, Buffer.from('ü')).toString('hex'), '0c02c3bc');
});

t.test('times have two digits for the year from 1950 to 2049, and else four', async (t) => {
  const text = (iso: string) => {
    const [{ tag, body }] = readDER(time(new Date(iso))) as [{ tag: number; body: Buffer }];
    return `${tag === TAG.utcTime ? 'utc' : 'generalized'} ${body.toString()}`;
  };
  t.equal(text('1949-12-31T23:59:59Z'), 'generalized 19491231235959Z');
  t.equal(text('1950-01-01T00:00:00Z'), 'utc 500101000000Z');
  t.equal(text('2026-02-03T04:05:06.789Z'), 'utc 260203040506Z');
  t.equal(text('2049-12-31T23:59:59.999Z'), 'utc 491231235959Z');
  t.equal(text('2050-01-01T00:00:00Z'), 'generalized 20500101000000Z');
  t.equal(text('9999-12-31T23:59:59Z'), 'generalized 99991231235959Z');
  t.throws(() => time(new Date(NaN)), RangeError);
  t.throws(() => time(new Date('+010000-01-01T00:00:00Z')), RangeError);
  t.throws(() => time(new Date('-000001-01-01T00:00:00Z')), RangeError);
});

// ── Certificates ─────────────────────────────────────────────────────────────────────────────────────────────────────

const authority = KeyPair.generate().selfSignedCert(1, { O: 'Grüße & Co', CN: 'an authority' });

/** A certificate that the authority has signed for a new key. */
function sign(options: SigningOptions = {}, name: Record<string, string> = { CN: 'a.test' }) {
  const key = KeyPair.generate();
  const request = key.requestObject(new DistinguishedName(name));
  return new PrivateCertificate(authority.signRequestObject(request, 2n ** 64n, options), key);
}

t.test('a certificate says what it was told to, as Node reads it', async (t) => {
  const names = ['a.test', '*.B.test', '127.0.0.1', '2001:DB8::1', 'bücher.example'];
  const made = sign(
    { names, usages: ['server', 'client'], validFrom: new Date('2020-05-05T05:05:05.5Z') },
    { C: 'AT', O: 'x, "y"', emailAddress: 'a@b.test', CN: 'ü' },
  );
  const x509 = new X509Certificate(made.dump());
  t.equal(
    x509.subjectAltName,
    'DNS:a.test, DNS:*.b.test, IP Address:127.0.0.1, IP Address:2001:DB8:0:0:0:0:0:1, DNS:xn--bcher-kva.example',
  );
  t.same(made.getSubject().attributes, [
    ['countryName', 'AT'],
    ['organizationName', 'x, "y"'],
    ['emailAddress', 'a@b.test'],
    ['commonName', 'ü'],
  ]);
  t.ok(made.getIssuer().equals(authority.getSubject()));
  t.equal(x509.subject, 'C=AT\nO=x\\, "y"\nemailAddress=a@b.test\nCN=ü'.replace('"y"', '\\"y\\"'));
  t.equal(made.serialNumber(), 2n ** 64n);
  t.equal(made.validFrom.toISOString(), '2020-05-05T05:05:05.000Z');
  t.equal(made.validTo.toISOString(), '2021-05-05T05:05:05.000Z');
  t.same(x509.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  t.equal(x509.ca, false);
  t.equal(authority.original.ca, true);
  t.ok(x509.checkIssued(authority.original));
  t.ok(x509.verify(authority.getPublicKey().original));
  t.notOk(x509.verify(made.getPublicKey().original));
  t.ok(authority.original.checkIssued(authority.original));
  t.ok(made.getPublicKey().matches(made.privateKey));
  t.ok(made.getPublicKey().matches(made));
  t.notOk(made.getPublicKey().matches(authority.privateKey));
  t.match(made.getPublicKey().inspect(), /^public key ec prime256v1, hash [0-9a-f]{64}$/);
});

t.test('the years around 2050 are read as they were meant', async (t) => {
  const validFrom = new Date('2049-12-31T23:59:59Z');
  const made = sign({ validFrom, secondsToExpiry: 1 });
  t.equal(made.validFrom.toISOString(), '2049-12-31T23:59:59.000Z');
  t.equal(made.validTo.toISOString(), '2050-01-01T00:00:00.000Z');
  const old = sign({ validFrom: new Date('1949-12-31T23:59:59Z'), secondsToExpiry: 2 });
  t.equal(old.validFrom.getUTCFullYear(), 1949);
  t.equal(old.validTo.getUTCFullYear(), 1950);
});

t.test('a certificate names its key, and that of the authority that signed it', async (t) => {
  const idOf = (certificate: Certificate, extension: string) =>
    certificateParts(certificate.original.raw).extensions.get(extension);
  const subjectKeyId = '551d0e';
  const authorityKeyId = '551d23';
  const own = bodyOf(readDER(idOf(authority, subjectKeyId) as Buffer)[0], TAG.octetString);
  t.equal(own.length, 20);
  const named = (certificate: Certificate) =>
    readDER(bodyOf(readDER(idOf(certificate, authorityKeyId) as Buffer)[0], TAG.sequence))[0]?.body;
  t.same(named(sign()), own);
  t.same(named(authority), own);
  // A key alone does not know what its certificate calls it.
  const request = KeyPair.generate().requestObject(new DistinguishedName({ CN: 'a.test' }));
  const bare = authority.privateKey.signRequestObject(authority.getSubject(), request, 3);
  // Nor does a certificate that does not name it, as one of another maker may not.
  const file = (name: string) =>
    readFileSync(new URL(`../fixtures/tls/${name}`, import.meta.url), 'latin1');
  const foreign = PrivateCertificate.loadPEM(file('server.pem') + file('server.key'));
  const theirs = bodyOf(readDER(idOf(foreign, subjectKeyId) as Buffer)[0], TAG.octetString);
  t.same(named(foreign.signRequestObject(request, 4)), theirs, 'however it has named it');
  const unnamed = PrivateCertificate.loadPEM(file('subject.pem') + file('subject.key'));
  t.equal(idOf(unnamed, subjectKeyId), undefined);
  t.equal(idOf(unnamed.signRequestObject(request, 4), authorityKeyId), undefined);
  t.equal(idOf(bare, authorityKeyId), undefined);
  t.ok(bare.original.verify(authority.getPublicKey().original));
});

t.test('without names, a certificate is for the host that is its common name', async (t) => {
  const hosts = (CN: string) => {
    const { names, addresses } = sign({}, { CN }).getNames();
    return [...names, ...addresses.map((bytes) => bytes.join('.'))];
  };
  t.same(hosts('Example.COM'), ['example.com']);
  t.same(hosts('*.example.com'), ['*.example.com']);
  t.same(hosts('192.0.2.1'), ['192.0.2.1']);
  t.same(hosts('an authority'), []);
  t.same(sign({}, { O: 'no common name' }).getNames().names, []);
  t.same(sign({ names: [] }).getNames().names, []);
  // RFC 5280 section 4.2.1.6: where the subject is empty the names are critical.
  const nameless = sign({ names: ['a.test'] }, {});
  t.match(nameless.dump().toString('hex'), /0603551d110101ff04/);
  t.notMatch(sign().dump().toString('hex'), /0603551d110101ff04/);
});

t.test('every kind of key signs, with every digest', async (t) => {
  const keys = [
    KeyPair.generate('rsa'),
    KeyPair.generate('ec', 384),
    KeyPair.generate('ec', 521),
    new KeyPair(generateKeyPairSync('ed25519').privateKey),
  ];
  for (const key of keys) {
    for (const digestAlgorithm of ['sha256', 'sha384', 'sha512'] as const) {
      const made = key.selfSignedCert(1, { CN: 'x' }, { digestAlgorithm });
      t.ok(made.original.verify(key.getPublicKey()), `${key.inspect()} ${digestAlgorithm}`);
      t.ok(key.requestObject(made.getSubject(), digestAlgorithm).getPublicKey().matches(key));
    }
  }
  t.match(keys[0]?.inspect(), /^key pair rsa 2048 bits/);
  const pss = new KeyPair(generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).privateKey);
  t.throws(() => pss.selfSignedCert(1, { CN: 'x' }), CertificateError);
  t.throws(() => pss.selfSignedCert(1, { CN: 'x' }), /kind rsa-pss/);
});

t.test('a key that is made can be written down, and read again', async (t) => {
  const key = KeyPair.generate();
  t.match(key.inspect(), /^key pair ec prime256v1/);
  t.ok(KeyPair.load(key.dump()).matches(key));
  t.ok(KeyPair.loadPEM(key.dumpPEM()).matches(key));
  t.notOk(KeyPair.generate().matches(key));
  const shown = inspect(key, { depth: 9, showHidden: true });
  t.notMatch(shown, /PRIVATE/);
  t.notOk(shown.includes(key.dumpPEM().split('\n')[1] as string));
  t.match(KeyPair.generate('rsa', 1024).inspect(), /rsa 1024 bits/);
  t.throws(() => KeyPair.generate('dsa' as never), /must be ec or rsa, not dsa/);
  t.throws(() => KeyPair.generate('ec', 255), RangeError);
  t.throws(() => KeyPair.generate('rsa', 512), RangeError);
  t.throws(() => KeyPair.generate('rsa', 1e9), RangeError);
  t.throws(() => KeyPair.generate('rsa', 2048.5), RangeError);
});

t.test('what makes no sense is refused where it is given', async (t) => {
  const refused: [SigningOptions, RegExp][] = [
    [{ names: ['a b'] }, /a b/],
    [{ names: ['*.127.0.0.1'] }, /no wildcard/],
    [{ names: [5 as never] }, /host|string/],
    [{ usages: ['server', 'email' as never] }, /not email/],
    [{ usages: ['constructor' as never] }, /not constructor/],
    [{ names: 'a.test' as never }, /names must be an array of strings, not string/],
    [{ usages: 'server' as never }, /usages must be an array/],
    [{ pathLength: 1 }, /of an authority/],
    [{ authority: true, pathLength: -1 }, /not -1/],
    [{ secondsToExpiry: -1 }, /not -1/],
    [{ secondsToExpiry: Infinity }, /not Infinity/],
    [{ secondsToExpiry: 1e15 }, /four digits/],
    [{ validFrom: new Date(NaN) }, /Invalid Date/],
    [{ validFrom: 5 as never }, /not 5/],
    [{ digestAlgorithm: 'md5' as never }, /not md5/],
  ];
  for (const [options, message] of refused)
    t.throws(() => sign(options), message, inspect(options));
  const request = KeyPair.generate().requestObject(new DistinguishedName({ CN: 'x' }));
  for (const serial of [0, -1, 1.5, NaN, 0n, 1n << 159n, '1' as never])
    t.throws(() => authority.signRequestObject(request, serial), RangeError, String(serial));
  t.equal(authority.signRequestObject(request, (1n << 159n) - 1n).dump().length > 0, true);
  t.throws(() => authority.signRequestObject({} as never, 1), TypeError);
  t.throws(() => new DistinguishedName({ CN: 5 as never }), /CN .* must be a string, not number/);
  t.throws(() => new DistinguishedName('CN=x' as never), /made of an object.*not of string/);
  t.throws(() => new DistinguishedName(null as never), TypeError);
  t.throws(() => KeyPair.generate().requestObject('x' as never), TypeError);
  t.throws(() => testCertificates({ names: 'localhost' as never }), TypeError);
  t.throws(() => new DistinguishedName({ C: 'Austria' }).dump(), /two letters/);
  t.throws(() => new DistinguishedName({ nonsense: 'x' }).dump(), /nonsense/);
  const odd = new DistinguishedName([
    ['2.5.4.5', '7'],
    ['550404', 'Maier'],
    ['emailAddress', 'ü@x'],
  ]);
  t.same(DistinguishedName.fromDER(bodyOf(readDER(odd.dump())[0], TAG.sequence)).attributes, [
    ['550405', '7'],
    ['550404', 'Maier'],
    ['emailAddress', 'ü@x'],
  ]);
});

t.test('an authority may say how many others may stand below it', async (t) => {
  const made = sign({ authority: true, pathLength: 3 });
  t.match(made.dump().toString('hex'), /0603551d130101ff040830060101ff020103/);
});

// ── Requests ─────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('a request is read again, and one that was tampered with is refused', async (t) => {
  const key = KeyPair.generate();
  const request = key.requestObject(new DistinguishedName({ O: 'Grüße', CN: 'a.test' }));
  for (const again of [
    CertificateRequest.load(request.dump()),
    CertificateRequest.loadPEM(request.dumpPEM()),
    CertificateRequest.loadPEM(Buffer.from(request.dumpPEM())),
  ]) {
    t.ok(again.getSubject().equals(request.getSubject()));
    t.ok(again.getPublicKey().matches(key));
    t.same(again.dump(), request.dump());
  }
  const der = key.certificateRequest(request.getSubject());
  t.ok(CertificateRequest.load(der).getSubject().equals(request.getSubject()));
  t.throws(() => CertificateRequest.load(Buffer.concat([der, der])), CertificateError);

  const other = request.dump();
  other.write('b.test', other.indexOf('a.test'));
  t.throws(() => CertificateRequest.load(other), /CN=b\.test is not signed by the key/);
  for (let at = 0; at < request.dump().length; at++) {
    const bytes = request.dump();
    bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
    t.throws(() => CertificateRequest.load(bytes), CertificateError, `byte ${at}`);
    t.throws(() => CertificateRequest.load(request.dump().subarray(0, at)), CertificateError);
  }
  t.throws(() => CertificateRequest.load('x' as never), TypeError);
  t.throws(() => CertificateRequest.loadPEM('x'), CertificateError);
  t.throws(() => CertificateRequest.load(authority.dump()), CertificateError);
});

t.test('a request is signed if the callback agrees to the name in it', async (t) => {
  const key = KeyPair.generate();
  const request = key.certificateRequest(new DistinguishedName({ CN: 'a.test' }));
  const seen: string[] = [];
  const agree = (name: DistinguishedName) => {
    seen.push(String(name));
    return true;
  };
  const names = { names: ['b.test'] };
  const der = successResultOf(authority.signCertificateRequest(request, agree, 5, names));
  const own = key.newCertificate(der);
  t.same(seen, ['CN=a.test']);
  t.equal(own.serialNumber(), 5n);
  t.same(own.getNames().names, ['b.test']);
  t.ok(own.original.checkIssued(authority.original));

  // With a key alone the name of the authority is given.
  const { privateKey } = authority;
  const issuer = authority.getSubject();
  const late = new Deferred<boolean>();
  const waiting = privateKey.signCertificateRequest(issuer, request, () => late, 6);
  t.notOk(waiting.called);
  late.callback(true);
  t.ok(Certificate.load(successResultOf(waiting)).original.checkIssued(authority.original));

  for (const refuse of [() => false, () => null, () => undefined, () => succeedWith(0)]) {
    const failure = failureResultOf(
      authority.signCertificateRequest(request, refuse, 7),
      VerifyError,
    );
    t.match(failure.value.message, /CN=a\.test was refused/);
  }
  const throwing = () => {
    throw new RangeError('no');
  };
  failureResultOf(authority.signCertificateRequest(request, throwing, 7), RangeError);
  failureResultOf(authority.signCertificateRequest(Buffer.of(1), agree, 7), CertificateError);
  failureResultOf(authority.signCertificateRequest(request, agree, 0), RangeError);
  // An async function is one as any other.
  await t.rejects(
    authority.signCertificateRequest(request, async () => false, 7).asPromise(),
    VerifyError,
  );

  t.throws(() => KeyPair.generate().newCertificate(der), CertificateError);
  t.ok(own.newCertificate(own.dump()).equals(own));
  t.ok(CertificateRequest.load(own.certificateRequest()).getSubject().equals(own.getSubject()));
});

function succeedWith<T>(result: T): Deferred<T> {
  const deferred = new Deferred<T>();
  deferred.callback(result);
  return deferred;
}

// ── Connections ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** Says hello, waits for the answer, and hangs up; fails with why the connection was lost if none came. */
class Greeter extends Protocol {
  readonly answer = new Deferred<string>();
  override connectionMade(): void {
    this.transport.write('hello');
  }
  override dataReceived(data: Buffer): void {
    this.transport.loseConnection();
    this.answer.callback(data.toString());
  }
  override connectionLost(reason: Failure): void {
    if (!this.answer.called) this.answer.errback(reason);
  }
}

/** What a client with these options hears from a server with those. */
async function talk(server: ITLSContextFactory, client: ITLSContextFactory): Promise<string> {
  const reactor = new Reactor();
  const port = reactor.listenSSL(0, Factory.forProtocol(Echo), server, { interface: '127.0.0.1' });
  const { port: number } = (await port.ready).getHost() as never as { port: number };
  const greeter = new Greeter();
  const factory = new ClientFactory();
  factory.buildProtocol = () => greeter;
  reactor.connectSSL('127.0.0.1', number, factory, client);
  try {
    return await greeter.answer;
  } finally {
    await port.stopListening({ connections: 'abort' });
  }
}

t.test('testCertificates: a client and a server know one another', async (t) => {
  const { authority, server, client } = testCertificates();
  t.equal(await talk(server.options, client.options), 'hello');
  t.equal(await talk(server.mutualOptions, client.options), 'hello');
  for (const host of ['127.0.0.1', '::1', 'LOCALHOST'])
    t.equal(await talk(server.options, client.optionsFor(host)), 'hello');
  const { trustRoot } = authority;
  t.equal(await talk(server.options, optionsForClientTLS('localhost', { trustRoot })), 'hello');
  await t.rejects(talk(server.mutualOptions, optionsForClientTLS('localhost', { trustRoot })));
  const wildcard = authority.server({ names: ['*.a.test'] });
  t.equal(await talk(wildcard.options, client.optionsFor('x.a.test')), 'hello');
  // What an authority below has signed is vouched for by the root.
  const below = authority.intermediate().intermediate({ commonName: 'another' });
  t.equal(below.server().certificate.chain.length, 2);
  t.equal(await talk(below.server().mutualOptions, below.client().options), 'hello');
  t.equal(await talk(below.server().options, client.options), 'hello');
});

t.test('testCertificates: whoever is not who it should be is refused', async (t) => {
  const { authority, server, client } = testCertificates({ names: ['a.test', '192.0.2.1'] });
  const stranger = testCertificates({ names: ['a.test'] });
  t.equal(await talk(server.options, client.options), 'hello', 'for the first name');
  const refused: [string, ITLSContextFactory, ITLSContextFactory, RegExp][] = [
    ['another name', server.options, client.optionsFor('b.test'), /not for b\.test.*"a\.test"/],
    ['another address', server.options, client.optionsFor('192.0.2.2'), /not for 192\.0\.2\.2/],
    ['no name', authority.server({ names: [] }).options, client.options, /no alternative names/],
    [
      'expired',
      authority.server({ expired: true }).options,
      client.optionsFor('localhost'),
      /expired/,
    ],
    [
      'not yet valid',
      authority.server({ notYetValid: true }).options,
      client.optionsFor('localhost'),
      /not valid yet/,
    ],
    [
      'of short life',
      authority.server({ validFrom: new Date('2001-01-01'), secondsToExpiry: 60 }).options,
      client.optionsFor('localhost'),
      /expired/,
    ],
    [
      'for clients only',
      authority.server({ usages: ['client'] }).options,
      client.optionsFor('localhost'),
      /not for this use/,
    ],
    ['of another authority', stranger.server.options, client.options, /not\s+trusted/],
  ];
  for (const [what, theirs, ours, message] of refused) {
    const error = await talk(theirs, ours).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    t.ok(error instanceof VerificationError, what);
    t.match((error as Error).message, message, what);
  }
  await t.rejects(
    talk(
      server.mutualOptions,
      stranger.client.optionsFor('a.test', { trustRoot: authority.trustRoot }),
    ),
  );
  await t.rejects(
    talk(server.mutualOptions, authority.client({ expired: true, hostname: 'a.test' }).options),
  );
});

t.test('testCertificates: Node takes the key and the certificate as they are', async (t) => {
  const { authority, server, client } = testCertificates();
  const program = createServer(
    {
      key: server.key,
      cert: server.cert,
      ca: authority.cert,
      requestCert: true,
      rejectUnauthorized: true,
    },
    (socket) => socket.end(String(socket.getPeerCertificate().subject.CN)),
  ).listen(0, '127.0.0.1');
  await once(program, 'listening');
  const { port } = program.address() as AddressInfo;
  const { key, cert } = client;
  const socket = connectTLS({
    port,
    host: '127.0.0.1',
    servername: 'localhost',
    ca: authority.cert,
    key,
    cert,
  });
  const [data] = (await once(socket, 'data')) as [Buffer];
  t.equal(data.toString(), 'client');
  t.equal(socket.authorized, true);
  socket.destroy();
  program.close();
  await once(program, 'close');
});

t.test(
  'a certificate that signed itself is enough for a server and those who know it',
  async (t) => {
    for (const options of [{}, { authority: false }]) {
      const own = KeyPair.generate().selfSignedCert(1, { CN: 'localhost' }, options);
      const trusting = optionsForClientTLS('localhost', {
        trustRoot: trustRootFromCertificates(own),
      });
      t.equal(await talk(own.options(), trusting), 'hello');
    }
  },
);

t.test('testCertificates: each call makes others', async (t) => {
  const one = testCertificates();
  const two = testCertificates();
  t.not(one.server.certificate.serialNumber(), two.server.certificate.serialNumber());
  t.notOk(one.authority.certificate.equals(two.authority.certificate));
  t.match(one.authority.key, /^-----BEGIN PRIVATE KEY-----/);
  t.ok(
    createPublicKey(one.authority.key).equals(one.authority.certificate.getPublicKey().original),
  );
  t.throws(() => testCertificates({ names: ['a b'] }), RangeError);
  t.equal(
    testCertificates({ names: ['*.a.test'] }).client.options.tlsSettings('client').serverName,
    'localhost',
  );
});

t.test('testCertificates: with keys of RSA too', async (t) => {
  const { server, client } = testCertificates({ keys: 'rsa' });
  t.match(client.certificate.getPublicKey().inspect(), /rsa 2048/);
  t.equal(await talk(server.mutualOptions, client.options), 'hello');
});
