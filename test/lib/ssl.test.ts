/** What a program says about TLS: identities, trust and strength, and who is refused for them. */
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import fc from 'fast-check';
import {
  AcceptableCiphers,
  Certificate,
  CertificateError,
  CertificateOptions,
  type CertificateOptionsInit,
  ClientFactory,
  ConnectionDone,
  Deferred,
  DiffieHellmanParameters,
  DistinguishedName,
  DN,
  Factory,
  type Failure,
  type ITLSTransport,
  KeyPair,
  optionsForClientTLS,
  platformTrust,
  PrivateCertificate,
  Protocol,
  Reactor,
  ServerNames,
  SSLError,
  TLSVersion,
  TrustRoot,
  trustRootFromCertificates,
  VerificationError,
} from 'plait';
import { certificateNames, isFor } from '../../lib/certificate-names.ts';
import { certificateParts, readDER } from '../../lib/der.ts';
import { checkHost } from '../../lib/address.ts';
import { hostIdentity } from '../../lib/host-identity.ts';
import type { ITLSContextFactory, TLSContextOptions, TLSPeer } from '../../lib/tls-settings.ts';
import t from '../fixture.ts';

const folder = join(import.meta.dirname, '../fixtures/tls');
const pem = (name: string): string => readFileSync(join(folder, name), 'latin1');
const certificate = (name: string): Certificate => Certificate.loadPEM(pem(`${name}.pem`));
const identity = (name: string): CertificateOptionsInit => ({
  certificate: pem(`${name}.pem`),
  privateKey: pem(`${name}.key`),
});
const root = trustRootFromCertificates(pem('ca.pem'));

// ── Names ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** What a small, slow reading of RFC 9525 says, label by label; `names` as text, with `IP:` before addresses. */
function oracle(host: string, names: readonly string[]): boolean {
  if (/^[\d.]+$|:/.test(host)) return names.includes(`IP:${host}`);
  const wanted = host.toLowerCase().split('.');
  if (wanted[wanted.length - 1] === '') wanted.pop();
  return names.some((name) => {
    const labels = name.toLowerCase().split('.');
    if (labels.length !== wanted.length) return false;
    return labels.every((label, i) => {
      if (i === 0 && label === '*') return labels.length >= 3;
      for (const c of label)
        if (!'abcdefghijklmnopqrstuvwxyz0123456789-_'.includes(c)) return false;
      return label !== '' && label.length <= 63 && label === wanted[i];
    });
  });
}

/** DER of one value. */
function der(tag: number, ...parts: Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  if (body.length < 0x80) return Buffer.concat([Buffer.of(tag, body.length), body]);
  const size = Buffer.alloc(4);
  size.writeUInt32BE(body.length);
  return Buffer.concat([Buffer.of(tag, 0x84), size, body]);
}

/** What stands around extensions in a certificate, and is not looked at. */
function certificateWith(...extensions: Buffer[]): Buffer {
  const nothing = der(0x30);
  const fields = [der(0xa0, der(2, Buffer.of(2))), der(2, Buffer.of(7)), nothing, nothing, nothing];
  const list = der(0xa3, der(0x30, ...extensions));
  return der(0x30, der(0x30, ...fields, nothing, nothing, list), nothing, der(3, Buffer.of(0)));
}

const SAN = Buffer.from('0603551d11', 'hex');
const extension = (value: Buffer): Buffer => der(0x30, SAN, der(4, value));

/** A certificate with these alternative names, of which those with `IP:` are addresses. */
function named(names: readonly string[]): Buffer {
  const list = names.map((name) => {
    if (!name.startsWith('IP:')) return der(0x82, Buffer.from(name, 'latin1'));
    const address = hostIdentity(name.slice(3));
    return der(0x87, address.kind === 'address' ? address.bytes : Buffer.of());
  });
  return certificateWith(extension(der(0x30, ...list)));
}

const HOSTS = `
  a.com x.a.com x.y.a.com A.com X.A.COM a.com. x.a.com. com. b.com xa.com fx.a.com f.a.com foo.a.com localhost
  LocalHost. local.host evil.example localhost.evil.example a.co.uk x.a.co.uk xn--bcher-kva.example
  XN--BCHER-KVA.example x.xn--bcher-kva.example under_score.example -a.com 1.a.com 127.0.0.1 127.0.0.2 192.0.2.1
  10.0.0.1 255.255.255.255 ::1 2001:db8::1 fe80::1 1.2.3.4.example a-b.com a--b.com com x`
  .trim()
  .split(/\s+/);
const NAMES = `
  a.com x.a.com x.y.a.com A.COM *.a.com *.A.com *.com *. * *.*.com *.*.a.com x.*.com x.*.a.com f*.a.com *f.a.com **.a.com
  *a.com f*o.a.com *.y.a.com *.localhost localhost localhost. a.com. .a.com x..a.com a.com.. *.co.uk *.a.co.uk
  xn--bcher-kva.example *.xn--bcher-kva.example XN--BCHER-KVA.EXAMPLE xn--*.example under_score.example *.example
  IP:127.0.0.1 IP:192.0.2.1 IP:::1 IP:2001:db8::1 127.0.0.1 192.0.2.1 ::1 *.0.0.1 *.2.3.4.example
  a.com\0 a.com\0.evil.example localhost\0.evil.example \0 a.com\n a.com,b.com a.com,DNS:b.com DNS:b.com b\u00fccher.example
  ${'a'.repeat(63)}.com ${'a'.repeat(64)}.com *.-a.com com -a.com`
  .trim()
  .split(/ +|\n {2,}/)
  .filter((name) => name !== '');

t.test('TLS-01: a certificate is for the hosts that RFC 9525 says, and no others', async (t) => {
  let pairs = 0;
  let matches = 0;
  const compare = (host: string, names: readonly string[]): void => {
    const found = isFor(hostIdentity(host), certificateNames(named(names)));
    pairs += 1;
    if (found) matches += 1;
    const wanted = oracle(host.replace(/\.$/, ''), names);
    if (found !== wanted) t.fail(`${host} and ${JSON.stringify(names)}: ${found}`);
  };
  const several = [
    [],
    ...NAMES.map((name) => [name]),
    NAMES.slice(0, 5),
    NAMES.slice(10, 30),
    NAMES,
  ];
  for (const host of HOSTS) for (const names of several) compare(host, names);
  t.ok(pairs > 2000, `${pairs} pairs`);
  t.ok(matches > 60, `${matches} matches`);

  const label = fc.constantFrom(
    'a',
    'b',
    'A',
    '*',
    'a*',
    '',
    'x-y',
    'xn--a',
    '1',
    'com',
    '\0',
    'a,b',
  );
  const plain = fc.constantFrom('a', 'b', 'A', 'x-y', 'c1', 'com');
  const seed = Date.now();
  const property = fc.property(
    fc.array(plain, { minLength: 1, maxLength: 4 }),
    fc.array(fc.array(label, { minLength: 1, maxLength: 4 }), { maxLength: 3 }),
    (host, names) => {
      compare(
        host.join('.'),
        names.map((labels) => labels.join('.')),
      );
    },
  );
  fc.assert(property, { seed, numRuns: 2000 });
  t.pass(`seed ${seed}`);
});

t.test('TLS-01: the names of real certificates', async (t) => {
  const is = (host: string, name: string) =>
    isFor(hostIdentity(host), certificate(name).getNames());
  const cases: [name: string, yes: string, no: string][] = [
    [
      'server',
      'localhost LOCALHOST localhost. 127.0.0.1 ::1 0:0:0:0:0:0:0:1',
      'local.host 127.0.0.2 ::2',
    ],
    ['wildcard', 'x.a.com X.A.Com. xn--bcher-kva.a.com', 'a.com x.y.a.com xa.com b.com'],
    ['wildcard-top', '', 'a.com com x.a.com'],
    ['wildcard-partial', '', 'f.a.com fo.a.com foo.a.com a.com'],
    ['cn-only', '', 'localhost'],
    ['empty-san', '', 'localhost example.com'],
    ['nul-san', '', 'localhost localhost.evil.example evil.example'],
    ['comma', '', 'a.example b.example'],
    [
      'names',
      'upper.example bücher.example BÜCHER.example x.wild.example under_score.example 192.0.2.1 2001:DB8::1 2001:db8:0::1',
      'wild.example dot.example dot.example. 127.0.0.2 ::ffff:192.0.2.1 uri.example nobody@example.com'
        .split(' ')
        .filter((host) => !host.includes('@'))
        .join(' '),
    ],
  ];
  for (const [name, yes, no] of cases) {
    for (const host of yes.split(' ').filter(Boolean)) t.ok(is(host, name), `${host} in ${name}`);
    for (const host of no.split(' ')) t.notOk(is(host, name), `${host} not in ${name}`);
  }
  t.same(certificate('nul-san').getNames().names, ['localhost\0.evil.example']);
  t.same(certificate('comma').getNames().names, ['a.example, DNS:b.example']);
  t.match(new X509Certificate(pem('names.pem')).subjectAltName, 'DNS:127.0.0.2');
});

t.test('a refusal says which names there are, and no control characters', async (t) => {
  const refusal = (name: string, host: string): string => {
    const settings = optionsForClientTLS(host, { trustRoot: root }).tlsSettings('client');
    const error = settings.checkPeer?.(peer(name));
    t.ok(error instanceof VerificationError, name);
    return String(error?.message);
  };
  t.equal(
    refusal('nul-san', 'localhost'),
    'the certificate is not for localhost: it is for "localhost\\u0000.evil.example"',
  );
  t.equal(
    refusal('cn-only', 'localhost'),
    'the certificate is not for localhost: it has no alternative names (the common name does not count)',
  );
  t.equal(
    refusal('server', '::2'),
    'the certificate is not for ::2: it is for "localhost", 127.0.0.1, 0000:0000:0000:0000:0000:0000:0000:0001',
  );
  const many = certificateNames(named([...Array(30).keys()].map((i) => `${i}${'x'.repeat(200)}`)));
  const { checkIdentity } = await import('../../lib/certificate-names.ts');
  t.match(
    checkIdentity(hostIdentity('a.b'), many)?.message,
    /^.{1000,1400}… and 20 more$|and 20 more$/,
  );
  const odd = { names: ['\x9b'], addresses: [Buffer.of(1, 2)] };
  t.match(checkIdentity(hostIdentity('a.b'), odd)?.message, 'it is for "\\x9b", 0x0102');
});

t.test(
  'TLS-03: hosts that could be read in two ways are refused before anything happens',
  async (t) => {
    const refused = [
      'localhost\0.evil.example',
      'localhost\0',
      '\0',
      '',
      '.',
      '..',
      'a..b',
      '.a',
      'a.b..',
      'a b',
      'a\n',
      'a/b',
      'a@b',
      'a:80',
      '[a]',
      '[127.0.0.1]',
      '::1]',
      '*.a.com',
      'a,b',
      'a%00b',
      '127.1',
      '127.0.1',
      '1',
      '2130706433',
      '0x7f.1',
      '0x7f000001',
      '0X7F.0.0.1',
      '0x',
      'a.0x',
      'a.1',
      '0177.0.0.1',
      '127.0.0.01',
      '127.0.0.1.',
      '256.0.0.1',
      '1.2.3.4.5',
      '1.2.3',
      '１２７.0.0.1',
      '１２７．０．０．１',
      '١٢٧.٠.٠.١',
      'a.١',
      'xn--a.example',
      'xn--zz.example',
      'xn--a-.example',
      `${'a'.repeat(64)}.example`,
      `${'a.'.repeat(127)}ab`,
      'a'.repeat(300),
    ];
    for (const host of refused) {
      t.throws(
        () => optionsForClientTLS(host, { trustRoot: root }),
        RangeError,
        JSON.stringify(host),
      );
    }
    t.throws(() => optionsForClientTLS(7 as never), TypeError);
    const name = (host: string) =>
      optionsForClientTLS(host, { trustRoot: root }).tlsSettings('client').serverName;
    t.equal(name('Example.COM.'), 'example.com');
    t.equal(name('bücher.example'), 'xn--bcher-kva.example');
    t.equal(name('BÜCHER.example'), 'xn--bcher-kva.example');
    t.equal(name('XN--BCHER-KVA.example'), 'xn--bcher-kva.example');
    t.equal(name('1a.0xg.example'), '1a.0xg.example');
    t.equal(hostIdentity('[::1]').text, '::1');
    for (const address of ['127.0.0.1', '::1', 'fe80::1%eth0', '::FFFF:1.2.3.4']) {
      t.equal(name(address), undefined, `no SNI for ${address}`);
    }
    const bytes = (host: string) => {
      const found = hostIdentity(host);
      return found.kind === 'address' ? found.bytes.toString('hex') : undefined;
    };
    t.equal(bytes('::'), '0'.repeat(32));
    t.equal(bytes('fe80::1%eth0'), `fe80${'0'.repeat(27)}1`);
    t.equal(bytes('::FFFF:1.2.3.4'), `${'0'.repeat(20)}ffff01020304`);
    t.equal(bytes('1:2:3:4:5:6:7:8'), '00010002000300040005000600070008');
    t.equal(bytes('1::'), `0001${'0'.repeat(28)}`);
  },
);

t.test('FND-1C: there is one way from a name to its ASCII form, that of URLs', (t) => {
  const spellings = [
    'bücher.example', 'BÜCHER.example', 'bu\u0308cher.example', 'ＢÜＣＨＥＲ.example', 'bücher。example',
    'bücher．example', 'bücher｡example', 'bücher.example.', 'a.example', 'A.EXAMPLE', 'ａ.example', 'a。example',
    'a．example', 'a｡example.', '\u212a.example', 'ﬁ.example', 'a\u00ad.example', 'a\u200b.example', '☃.example',
    'straße.example', 'XN--BCHER-KVA.example', '[::1]', '::1', '127.0.0.1', '[fe80::1]',
  ]; // prettier-ignore
  for (const host of spellings) {
    const { hostname } = new URL(
      `http://${host.includes(':') ? `[${host.replace(/[[\]]/g, '')}]` : host}/`,
    );
    const expected = hostname.replace(/[[\]]|\.$/g, '');
    t.equal(hostIdentity(host).text, expected, host);
    t.equal(checkHost(host).toLowerCase().replace(/\.$/, ''), expected, 'it is what is looked up');
  }
  t.end();
});

t.test('FND-14: A-labels that stand for no name are refused by every version of Node', (t) => {
  const refused = [
    'xn--a', 'xn--a-', 'xn--', 'xn---', 'xn--0', 'xn--zz', 'xn--abc', 'xn--a-ecp', 'xn--1ug', 'xn--u-ccb', 'xn--a-yoc',
    'xn--ab-m1t', 'xn--xn--a', 'xn---99qo', 'xn--99999999', 'xn--a_b', 'xn--bücher', 'xn--0mt-uxe5c', 'xn--ab-j1t',
    'xn--a-0hc', 'xn--bcher-kva0', 'xn--a-zzzzzzzzzzzz',
  ]; // prettier-ignore
  for (const label of refused)
    for (const host of [`${label}.example`, `a.${label}`, `${label.toUpperCase()}.example`])
      t.throws(() => hostIdentity(host), RangeError, host);
  const accepted = [
    'xn--bcher-kva', 'xn--fa-hia', 'xn--zca', 'xn--3xa', 'xn--n3h', 'xn--ls8h', 'xn--mgbh0fb', 'xn--80ak6aa92e',
    'xn--99zt52a', 'xn--mgba3gch31f060k', 'xn--ab-0ea', 'xn--s-odi', 'xn--11b4c3d', 'xn--p1ai',
  ]; // prettier-ignore
  for (const label of accepted) t.equal(hostIdentity(`${label}.Example`).text, `${label}.example`);
  t.end();
});

// ── DER ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('certificates that are broken, or say a thing twice, have no names at all', async (t) => {
  const names = der(0x30, der(0x82, Buffer.from('a.com')));
  t.same(certificateNames(certificateWith(extension(names))).names, ['a.com']);
  t.same(certificateNames(certificateWith()), { names: [], addresses: [] });
  const critical = der(0x30, SAN, der(1, Buffer.of(0xff)), der(4, names));
  t.same(certificateNames(certificateWith(critical)).names, ['a.com']);
  const bare = der(0x30, der(2, Buffer.of(7)), der(0x30), der(0x30), der(0x30), der(0x30));
  t.same(certificateNames(der(0x30, bare)), { names: [], addresses: [] }, 'of version 1');
  const bad: [string, Buffer][] = [
    ['nothing', Buffer.of()],
    ['no sequence', Buffer.of(4, 0)],
    ['cut short', certificateWith(extension(names)).subarray(0, 40)],
    ['twice', certificateWith(extension(names), extension(names))],
    ['something behind the list', certificateWith(extension(Buffer.concat([names, names])))],
    ['no list', certificateWith(extension(Buffer.of()))],
    [
      'a name longer than the list',
      certificateWith(extension(Buffer.of(0x30, 4, 0x82, 5, 97, 98))),
    ],
    ['indefinite length', certificateWith(extension(Buffer.of(0x30, 0x80, 0x82, 1, 97, 0, 0)))],
    ['a length of 5 bytes', certificateWith(extension(Buffer.of(0x30, 0x85, 0, 0, 0, 0, 1, 0)))],
    ['a length that is not there', certificateWith(extension(Buffer.of(0x30, 0x82, 1)))],
    ['a length of 4 GiB', certificateWith(extension(Buffer.of(0x30, 0x84, 255, 255, 255, 255)))],
    ['a tag of several bytes', certificateWith(extension(Buffer.of(0x30, 3, 0x9f, 1, 0)))],
    ['a tag alone', certificateWith(extension(Buffer.of(0x30)))],
  ];
  for (const [what, bytes] of bad) t.throws(() => certificateNames(bytes), CertificateError, what);
  const seed = Date.now();
  const real = certificate('names').dump();
  const changed = fc.property(fc.nat(real.length - 1), fc.nat(255), (at, byte) => {
    const bytes = Buffer.from(real);
    bytes[at] = byte;
    try {
      certificateNames(bytes);
      readDER(bytes);
    } catch (error) {
      if (!(error instanceof CertificateError)) throw error;
    }
  });
  fc.assert(changed, { seed, numRuns: 1000 });
  t.pass(`seed ${seed}`);
  t.equal(certificateParts(real).serial.length > 0, true);
});

// ── Certificates and keys ────────────────────────────────────────────────────────────────────────────────────────────

t.test('a certificate is read', async (t) => {
  const server = certificate('server');
  t.equal(server.getSubject().toString(), 'CN=localhost');
  t.equal(server.getIssuer().commonName, 'plait test root');
  t.match(server.digest(), /^([0-9A-F]{2}:){31}[0-9A-F]{2}$/);
  t.equal(server.digest(), server.original.fingerprint256);
  t.equal(server.digest('sha1'), server.original.fingerprint);
  t.ok(server.serialNumber() > 0n);
  t.ok(server.validFrom < server.validTo);
  t.match(
    server.inspect(),
    /^Certificate for CN=localhost\nfrom CN=plait test root\nserial number \d+, valid from 20/,
  );
  t.ok(Certificate.load(server.dump()).equals(server));
  t.ok(Certificate.loadPEM(server.dumpPEM()).equals(server));
  t.notOk(server.equals(certificate('ca')));
  t.equal(Certificate.loadAllPEM(pem('chained-full.pem')).length, 2);
  t.equal(
    Certificate.loadPEM(Buffer.from(pem('chained-full.pem')))
      .getIssuer()
      .get('CN'),
    'plait test intermediate',
  );
  t.ok(Certificate.peerFromTransport({ getPeerCertificate: () => server.original }).equals(server));
  for (const none of [
    {},
    { getPeerCertificate: () => undefined },
    { getPeerCertificate: () => null },
  ]) {
    t.throws(() => Certificate.peerFromTransport(none), CertificateError);
  }
});

t.test('a distinguished name is read, and written without what would break a line', async (t) => {
  const name = certificate('subject').getSubject();
  t.equal(DN, DistinguishedName);
  t.same(name.attributes, [
    ['countryName', 'AT'],
    ['stateOrProvinceName', 'Wien'],
    ['localityName', 'Wien'],
    ['organizationName', 'Müller, Söhne + Töchter'],
    ['organizationalUnitName', 'Zertifikate'],
    ['commonName', 'subject.example'],
    ['emailAddress', 'nobody@example.com'],
  ]);
  t.equal(name.get('O'), name.get('organizationName'));
  t.equal(name.get('L'), 'Wien');
  t.equal(name.get('title'), undefined);
  t.match(name.toString(), 'O=Müller\\, Söhne \\+ Töchter, OU=');
  t.match(name.inspect(), '\ncommonName: subject.example\n');
  t.ok(name.equals(certificate('subject').getIssuer()));
  t.notOk(name.equals(new DN([['CN', 'subject.example']])));
  t.equal(new DN([['CN', 'a\nb']]).toString(), 'CN=a\\\\u000ab');
  t.equal(new DN([['0604', 'x']]).toString(), '0604=x');
  const oid = Buffer.from('0603550403', 'hex');
  const of = (...value: Buffer[]) => DistinguishedName.fromDER(der(0x31, der(0x30, oid, ...value)));
  t.equal(of(der(0x1e, Buffer.from('00410161', 'hex'))).commonName, 'Aš');
  t.equal(of(der(0x13, Buffer.from([0x41, 0xe4]))).commonName, 'Aä');
  t.equal(of().commonName, '');
});

/** Fails unless it throws a CertificateError that shows nothing of a key; returns its message. */
function refusalOf(t: { fail(message: string): unknown }, make: () => unknown): string {
  try {
    make();
  } catch (error) {
    if (!(error instanceof CertificateError)) throw error;
    const all = inspect(error, { depth: 9, showHidden: true });
    for (const name of ['server.key', 'server-encrypted.key', 'wrong.key', 'legacy.key']) {
      for (const line of pem(name).split('\n').slice(1, -2)) {
        if (line.length > 20 && all.includes(line)) t.fail(`the error shows ${name}`);
      }
    }
    return error.message;
  }
  t.fail('it was accepted');
  return '';
}

t.test('a private key is read, and shows itself to nobody', async (t) => {
  const key = KeyPair.loadPEM(pem('server.key'));
  t.ok(key.matches(certificate('server')));
  t.notOk(key.matches(certificate('client')));
  t.match(key.inspect(), /^key pair ec prime256v1, hash [0-9a-f]{64}$/);
  t.match(KeyPair.loadPEM(pem('server-rsa.key')).inspect(), /^key pair rsa 2048 bits, hash /);
  t.notMatch(inspect(key, { depth: 9, showHidden: true }), /PRIVATE|BEGIN/);
  const { privateKey } = generateKeyPairSync('ed25519');
  t.match(new KeyPair(privateKey).inspect(), /^key pair ed25519, hash /);
  const again = KeyPair.loadPEM(key.dumpPEM());
  t.equal(again.keyHash(), key.keyHash());
  t.equal(KeyPair.loadPEM(pem('server-encrypted.key'), 'secret').keyHash(), key.keyHash());
  t.equal(KeyPair.loadPEM(Buffer.from(pem('server.key')), 'not needed').keyHash(), key.keyHash());
  t.match(KeyPair.loadPEM(pem('legacy.key'), 'secret').inspect(), /rsa 2048/);
  const pkcs8 = Buffer.from(key.dumpPEM().split('\n').slice(1, -2).join(''), 'base64');
  t.equal(KeyPair.load(pkcs8).keyHash(), key.keyHash());
  t.match(
    refusalOf(t, () => KeyPair.load(pkcs8.subarray(1))),
    /^the private key cannot be read: /,
  );
  t.match(
    refusalOf(t, () => new KeyPair(key.getPublicKey())),
    'a private key is needed, not a public one',
  );
  t.throws(() => KeyPair.load('x' as never), TypeError);
  t.throws(() => KeyPair.loadPEM(5 as never), TypeError);
  t.throws(() => KeyPair.loadPEM(pem('server.key'), 5 as never), TypeError);
  t.throws(() => Certificate.load('x' as never), TypeError);
});

t.test(
  'TLS-19: what is wrong with keys and certificates is said at once, without the key',
  async (t) => {
    const server = { certificate: pem('server.pem'), privateKey: pem('server.key') };
    const make = (options: CertificateOptionsInit) =>
      refusalOf(t, () => new CertificateOptions({ ...server, ...options }));
    t.equal(make({ privateKey: 'nonsense' }), 'there is no private key in the PEM');
    t.equal(make({ certificate: pem('server.key') }), 'there is no certificate in the PEM');
    t.match(
      make({ certificate: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' }),
      /^a certificate cannot be read: /,
    );
    t.match(
      make({ privateKey: pem('server.key').replace(/\n.{20}/, '\nAAAAAAAAAAAAAAAAAAAA') }),
      /^the private key cannot be read: it is damaged, or of no known kind/,
    );
    t.equal(
      make({ privateKey: pem('wrong.key') }),
      'the private key does not belong to the certificate of CN=localhost',
    );
    const encrypted = { privateKey: pem('server-encrypted.key') };
    t.equal(make(encrypted), 'the private key is encrypted, and there is no passphrase');
    t.equal(
      make({ privateKey: pem('legacy.key') }),
      'the private key is encrypted, and there is no passphrase',
    );
    t.match(
      make({ ...encrypted, passphrase: 'wrong' }),
      /^the private key cannot be read: the passphrase may be wrong/,
    );
    t.match(make({ extraCertChain: ['x'] }), 'there is no certificate in the PEM');
    t.match(make({ trustRoot: [] }), 'a trust root of no certificates would trust nobody');
    t.match(make({ trustRoot: 'x' }), 'there is no certificate in the PEM');
    t.match(
      refusalOf(t, () => new CertificateOptions({ certificate: pem('server.pem') })),
      'there is a certificate, but no privateKey',
    );
    t.match(
      refusalOf(t, () => new CertificateOptions({ privateKey: pem('server.key') })),
      'there is a privateKey or an extraCertChain, but no certificate',
    );
    t.match(
      refusalOf(t, () => new CertificateOptions(identity('small-rsa'))),
      'the key of CN=localhost has 1024 bits, and needs 2048 or more',
    );
    t.match(
      refusalOf(t, () => PrivateCertificate.loadPEM(pem('server.pem'))),
      'there is no private key in the PEM',
    );
    t.match(make({ trustRoot: root, crl: 'x' }), 'there is no list of revoked certificates');
    t.match(make({ trustRoot: root, crl: [] }), 'there is no list of revoked certificates');

    t.ok(new CertificateOptions({ ...server, ...encrypted, passphrase: 'secret' }));
    const whole = PrivateCertificate.loadPEM(pem('client-full.pem'));
    t.equal(whole.getSubject().get('CN'), 'a client');
    const pair = PrivateCertificate.fromCertificateAndKeyPair(
      certificate('server'),
      KeyPair.loadPEM(pem('server.key')),
    );
    t.equal(pair.options().tlsSettings('server').requestCertificate, false);
    t.equal(pair.options(certificate('ca')).tlsSettings('server').requestCertificate, true);
    const both = new CertificateOptions({ certificate: pair, privateKey: pair.privateKey });
    t.same(both.context.cert, pair.dumpPEM());
    const chain = PrivateCertificate.loadPEM(pem('chained-full.pem') + pem('chained.key'));
    t.equal(chain.chain.length, 1);
    const sent = Certificate.loadAllPEM(
      new CertificateOptions({ certificate: chain, extraCertChain: certificate('ca') }).context
        .cert!,
    );
    t.same(
      sent.map((one) => one.getSubject().commonName),
      ['localhost', 'plait test intermediate', 'plait test root'],
    );
  },
);

t.test('options do not show their key to logs', async (t) => {
  const options = new CertificateOptions({ ...identity('server'), trustRoot: root });
  t.equal(inspect(options, { depth: 9 }), '<CertificateOptions with a certificate, verifying>');
  for (const text of [JSON.stringify(options), inspect(options.context)]) {
    t.notMatch(text, /PRIVATE/);
    t.match(text, '(not shown)');
    t.match(text, '1 certificates');
  }
  t.match(options.context.key, /PRIVATE KEY/);
  t.match(inspect(new CertificateOptions()), 'without a certificate');
  t.match(inspect(new CertificateOptions().context), /key: undefined/);
});

// ── Options ──────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('TLS-08: at least TLS 1.2, and less only under the name that says what it is', async (t) => {
  const versions = (options: CertificateOptionsInit) => {
    const { minVersion, maxVersion } = new CertificateOptions(options).context;
    return `${minVersion}-${maxVersion}`;
  };
  t.equal(versions({}), 'TLSv1.2-TLSv1.3');
  t.equal(versions({ raiseMinimumTo: TLSVersion.TLSv1_3 }), 'TLSv1.3-TLSv1.3');
  t.equal(versions({ lowerMaximumSecurityTo: TLSVersion.TLSv1_2 }), 'TLSv1.2-TLSv1.2');
  t.equal(versions({ insecurelyLowerMinimumTo: TLSVersion.TLSv1_0 }), 'TLSv1-TLSv1.3');
  t.equal(
    versions({ insecurelyLowerMinimumTo: 'TLSv1.1', lowerMaximumSecurityTo: 'TLSv1.1' }),
    'TLSv1.1-TLSv1.1',
  );
  t.throws(() => versions({ raiseMinimumTo: 'TLSv1.1' }), /cannot lower the minimum/);
  t.throws(() => versions({ raiseMinimumTo: 'SSLv3' as never }), RangeError);
  t.throws(
    () => versions({ lowerMaximumSecurityTo: 'TLSv1.1' }),
    /is TLSv1.1, but the minimum is TLSv1.2/,
  );
  t.throws(
    () => versions({ raiseMinimumTo: 'TLSv1.3', insecurelyLowerMinimumTo: 'TLSv1' }),
    TypeError,
  );
});

t.test(
  'TLS-08: ciphers without encryption, authentication or strength are never among them',
  async (t) => {
    const ciphers = (options: CertificateOptionsInit) =>
      new CertificateOptions(options).context.ciphers ?? '';
    for (const given of [{}, { acceptableCiphers: 'NULL:EXPORT:ALL:COMPLEMENTOFALL' }]) {
      const list = ciphers(given).split(':');
      for (const never of [
        '!aNULL',
        '!eNULL',
        '!EXPORT',
        '!RC4',
        '!MD5',
        '@SECLEVEL=2',
        'TLS_AES_128_GCM_SHA256',
      ]) {
        t.ok(list.includes(never), never);
      }
    }
    t.match(ciphers({ insecurelyLowerMinimumTo: 'TLSv1.1' }), /:@SECLEVEL=0$/);
    t.equal(
      AcceptableCiphers.fromOpenSSLCipherString('TLS_AES_128_GCM_SHA256, ECDHE+AESGCM').list,
      'TLS_AES_128_GCM_SHA256:ECDHE+AESGCM',
    );
    t.match(
      AcceptableCiphers.fromOpenSSLCipherString('HIGH:-DHE:!kRSA:@STRENGTH').list,
      /:HIGH:-DHE:!kRSA:@STRENGTH$/,
    );
    for (const bad of ['', ':', 'HIGH:@SECLEVEL=0', 'a\0b', 'ä', 'HIGH;LOW']) {
      t.throws(() => AcceptableCiphers.fromOpenSSLCipherString(bad), RangeError, bad);
    }
    t.throws(() => AcceptableCiphers.fromOpenSSLCipherString(5 as never), TypeError);
  },
);

t.test('parameters for Diffie-Hellman have 2048 bits or more', async (t) => {
  const parameters = DiffieHellmanParameters.fromFile(join(folder, 'dh-2048.pem'));
  t.match(
    String(new CertificateOptions({ dhParameters: parameters }).context.dhparam),
    /BEGIN DH PARAMETERS/,
  );
  t.equal(new CertificateOptions().context.dhparam, 'auto');
  t.match(
    refusalOf(t, () => DiffieHellmanParameters.fromFile(join(folder, 'dh-1024.pem'))),
    /dh-1024.pem: the prime has 1024 bits, not 2048 or more$/,
  );
  t.match(
    refusalOf(t, () => DiffieHellmanParameters.fromFile(join(folder, 'ca.pem'))),
    'there are no Diffie-Hellman',
  );
  t.match(
    refusalOf(t, () => DiffieHellmanParameters.fromFile('/nonexistent')),
    'ENOENT',
  );
  const text = '-----BEGIN DH PARAMETERS-----\nMAA=\n-----END DH PARAMETERS-----';
  t.match(
    refusalOf(t, () => DiffieHellmanParameters.fromPEM(text)),
    'malformed',
  );
  t.throws(() => new CertificateOptions({ dhParameters: 'auto' as never }), TypeError);
});

t.test('options that make no sense are refused', async (t) => {
  const bad = (options: object, Class: new () => Error) =>
    t.throws(
      () => new CertificateOptions({ trustRoot: root, ...options }),
      Class,
      JSON.stringify(options),
    );
  bad({ verifyDepth: -1 }, RangeError);
  bad({ verifyDepth: 1.5 }, RangeError);
  bad({ verifyPeer: true }, TypeError);
  bad({ verify: true, trustRoot: undefined }, TypeError);
  bad({ verify: false, crl: pem('crl.pem') }, TypeError);
  bad({ verifyPeer: () => true, trustRoot: undefined }, TypeError);
  bad({ acceptableProtocols: [''] }, RangeError);
  bad({ acceptableProtocols: ['x'.repeat(256)] }, RangeError);
  bad({ acceptableProtocols: [5] }, RangeError);
  bad({ acceptableProtocols: Array.from({ length: 300 }, () => 'x'.repeat(255)) }, RangeError);
  const protocols = ['h2', 'x'.repeat(255)];
  t.same(new CertificateOptions({ acceptableProtocols: protocols }).acceptableProtocols, protocols);
  t.equal(new CertificateOptions({ acceptableProtocols: [] }).acceptableProtocols, undefined);
  for (const name of ['verify', 'trustRoot', 'privateKey', 'acceptableProtocols']) {
    const extra = { [name]: undefined };
    t.throws(
      () => optionsForClientTLS('a.example', { trustRoot: root, extraCertificateOptions: extra }),
      TypeError,
    );
  }
});

t.test('options of a server are none of a client, and the other way round', async (t) => {
  const client = optionsForClientTLS('localhost', { trustRoot: root });
  t.throws(() => client.tlsSettings('server'), CertificateError);
  t.throws(
    () => new CertificateOptions().tlsSettings('server'),
    /needs a privateKey and a certificate/,
  );
  t.throws(
    () => new CertificateOptions().tlsSettings('client'),
    /must say whom it trusts: use optionsForClientTLS/,
  );
  const careless = new CertificateOptions({ verify: false }).tlsSettings('client');
  t.equal(careless.checkPeer, undefined);
  t.equal(careless.sessionKey, undefined);
  const own = new CertificateOptions({ trustRoot: root, acceptableProtocols: ['x'] }).tlsSettings(
    'client',
  );
  t.equal(own.checkPeer?.(peer('many-names')), undefined, 'anybody who is vouched for');
  t.match(own.checkPeer?.(peer(undefined)), { message: 'the server has shown no certificate' });
  t.same(own.protocols, ['x']);
  t.equal(own.sessionKey, undefined);
  const open = new CertificateOptions(identity('server')).tlsSettings('server');
  t.equal(open.requestCertificate, false);
  t.equal(open.checkPeer, undefined);
});

// ── Sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test(
  'TLS-07: a session is another one for another host, port, trust, client or protocol',
  async (t) => {
    type Options = NonNullable<Parameters<typeof optionsForClientTLS>[1]>;
    const key = (host: string, options: Options = {}) =>
      optionsForClientTLS(host, { trustRoot: root, ...options }).tlsSettings('client').sessionKey;
    const accept = () => true;
    const keys = [
      key('a.example'),
      key('b.example'),
      key('127.0.0.1'),
      key('a.example', { port: 443 }),
      key('a.example', { port: 444 }),
      key('a.example', { trustRoot: pem('other-ca.pem') }),
      key('a.example', { trustRoot: [pem('ca.pem'), pem('other-ca.pem')] }),
      key('a.example', { clientCertificate: PrivateCertificate.loadPEM(pem('client-full.pem')) }),
      key('a.example', { acceptableProtocols: ['h2'] }),
      key('a.example', { acceptableProtocols: ['h2', 'http/1.1'] }),
      key('a.example', { extraCertificateOptions: { raiseMinimumTo: 'TLSv1.3' } }),
      key('a.example', { extraCertificateOptions: { lowerMaximumSecurityTo: 'TLSv1.2' } }),
      key('a.example', { extraCertificateOptions: { acceptableCiphers: 'HIGH' } }),
      key('a.example', { extraCertificateOptions: { crl: Buffer.from(pem('crl.pem')) } }),
      key('a.example', { extraCertificateOptions: { verifyDepth: 3 } }),
      key('a.example', { extraCertificateOptions: { verifyPeer: accept } }),
      key('a.example', { extraCertificateOptions: { verifyPeer: () => true } }),
    ];
    t.equal(new Set(keys).size, keys.length);
    t.equal(key('a.example'), key('A.example.', { trustRoot: certificate('ca') }));
    const pinned = { extraCertificateOptions: { verifyPeer: accept } };
    t.equal(key('a.example', pinned), keys[15]);
    const context = (host: string) =>
      optionsForClientTLS(host, { trustRoot: root }).tlsSettings('client').context;
    t.equal(context('a.example'), context('b.example'), 'what the engine compiles is shared');
  },
);

// ── Whom to trust ────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('the trust of the platform, and how it is set by variables', async (t) => {
  const place = mkdtempSync(join(tmpdir(), 'plait-trust-'));
  t.teardown(() => rmSync(place, { recursive: true }));
  writeFileSync(join(place, 'a.pem'), pem('ca.pem'));
  writeFileSync(join(place, '0123abcd.0'), `${pem('other-ca.pem')}\n${pem('ca.pem')}`);
  writeFileSync(join(place, 'README'), 'none');
  const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
  writeFileSync(join(place, 'odd.pem'), broken + pem('ca.pem'));
  writeFileSync(join(place, 'broken.pem'), broken);
  const subjects = (trust: TrustRoot) =>
    trust.pems
      ?.filter((one) => one !== broken)
      .map((one) => Certificate.loadPEM(one).getSubject().commonName);
  const named = { SSL_CERT_FILE: join(place, 'a.pem') };
  t.same(subjects(platformTrust(named)), ['plait test root']);
  t.equal(platformTrust(named), platformTrust({ ...named }), 'it is read once');
  t.same(
    new Set(subjects(platformTrust({ SSL_CERT_DIR: place }))),
    new Set(['plait other root', 'plait test root']),
  );
  t.same(subjects(platformTrust({ SSL_CERT_FILE: join(place, 'odd.pem') })), ['plait test root']);
  const extra = { ...named, NODE_EXTRA_CA_CERTS: join(place, '0123abcd.0') };
  t.same(subjects(platformTrust(extra)), ['plait test root', 'plait other root']);
  const bad: [NodeJS.ProcessEnv, RegExp][] = [
    [{ SSL_CERT_FILE: join(place, 'none') }, /^SSL_CERT_FILE: no certificates in .*none: ENOENT/],
    [{ SSL_CERT_FILE: join(place, 'README') }, /README: there are none that can be read/],
    [{ SSL_CERT_FILE: join(place, 'broken.pem') }, /there are none that can be read/],
    [{ SSL_CERT_DIR: `${place}:/nonexistent` }, /^SSL_CERT_DIR: no certificates in .*: ENOENT/],
    [{ SSL_CERT_DIR: import.meta.dirname }, /^SSL_CERT_DIR: .*there are none/],
    [{ ...named, NODE_EXTRA_CA_CERTS: '/nonexistent' }, /^NODE_EXTRA_CA_CERTS: /],
  ];
  for (const [variables, message] of bad) {
    t.throws(() => platformTrust(variables), message);
    t.throws(() => platformTrust(variables), CertificateError, 'and again');
  }
  const own = platformTrust({ SSL_CERT_FILE: '', SSL_CERT_DIR: '' });
  t.ok(own.pems === undefined || own.pems.length > 50);
  t.equal(own, platformTrust({ SSL_CERT_FILE: '', SSL_CERT_DIR: '' }));
  t.equal(new TrustRoot(undefined).digest, 'node');
  t.ok(optionsForClientTLS('a.example').tlsSettings('client').context);
});

// ── The decision ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** What the engine would say of a peer with this certificate. */
function peer(name: string | undefined, code?: string): TLSPeer {
  const problem = code === undefined ? undefined : Object.assign(new Error(code), { code });
  const original = name === undefined ? undefined : certificate(name).original;
  return { certificate: original, problem, protocol: undefined };
}

const refusal = (factory: ITLSContextFactory, who: TLSPeer, side: 'client' | 'server' = 'client') =>
  factory.tlsSettings(side).checkPeer?.(who);

t.test('TLS-06: what the engine and our own checks say of a certificate', async (t) => {
  const client = optionsForClientTLS('localhost', { trustRoot: root });
  t.equal(refusal(client, peer('server')), undefined);
  const cases: [string, string | undefined, RegExp][] = [
    [
      'server',
      'CERT_REVOKED',
      /^the certificate of the server was refused: it has been revoked \(CERT_REVOKED\)$/,
    ],
    ['server', 'UNSPECIFIED', /refused: UNSPECIFIED$/],
    ['expired', undefined, /it has expired, on Jan {2}1 .*2002 GMT \(CERT_HAS_EXPIRED\)$/],
    [
      'not-yet-valid',
      undefined,
      /it is not valid before Jan {2}1 .*2190 GMT \(CERT_NOT_YET_VALID\)$/,
    ],
    ['wrong-usage', undefined, /it is not for a server to use \(INVALID_PURPOSE\)$/],
    ['small-rsa', 'UNSPECIFIED', /its key has 1024 bits, and needs 2048 or more/],
    ['many-names', undefined, /is not for localhost: it is for "a.example", /],
  ];
  for (const [name, code, message] of cases) {
    const error = refusal(client, peer(name, code));
    t.ok(error instanceof VerificationError, name);
    t.match(error?.message, message);
    t.equal((error as { code?: string }).code, code);
  }
  const plain = { ...peer('server'), problem: new Error('nobody knows why') };
  t.match(refusal(client, plain)?.message, 'refused: nobody knows why');
  const broken = {
    raw: Buffer.of(1),
    publicKey: {},
    validFrom: '2001-01-01',
    validTo: '2901-01-01',
  };
  t.match(
    refusal(client, { ...peer('server'), certificate: broken as never })?.message,
    'the certificate is not for localhost: its names cannot be read',
  );
  const undated = { ...broken, validTo: 'whenever' };
  t.match(
    refusal(client, { ...peer('server'), certificate: undated as never })?.message,
    'expired',
  );
});

t.test('a server that trusts somebody wants a certificate of each client', async (t) => {
  const strict = new CertificateOptions({ ...identity('server'), trustRoot: root });
  t.equal(strict.tlsSettings('server').requestCertificate, true);
  t.equal(refusal(strict, peer('client'), 'server'), undefined);
  t.match(refusal(strict, peer(undefined), 'server'), {
    message: 'the client has shown no certificate',
  });
  t.match(
    refusal(strict, peer('wrong-usage-client'), 'server')?.message,
    'it is not for a client to use',
  );
  t.match(
    refusal(strict, peer('other-client', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'), 'server')?.message,
    'whoever has signed it is not trusted',
  );
  const lax = new CertificateOptions({
    ...identity('server'),
    trustRoot: root,
    requireCertificate: false,
  });
  t.equal(refusal(lax, peer(undefined, 'UNABLE_TO_GET_ISSUER_CERT'), 'server'), undefined);
  t.ok(refusal(lax, peer('other-client', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'), 'server'));
});

t.test(
  'TLS-20: a check of the program that throws, or returns anything but true, refuses',
  async (t) => {
    const asked: string[] = [];
    const refusedBy = (verifyPeer: unknown) => {
      const extraCertificateOptions = { verifyPeer: verifyPeer as () => boolean };
      return refusal(
        optionsForClientTLS('localhost', { trustRoot: root, extraCertificateOptions }),
        peer('server'),
      )?.message;
    };
    const digest = certificate('server').digest();
    t.equal(
      refusedBy((one: Certificate) => asked.push(one.digest()) === 1 && one.digest() === digest),
      undefined,
    );
    t.same(asked, [digest]);
    const start = 'the certificate of the server was refused: verifyPeer ';
    for (const answer of [false, undefined, null, 1, 'true', {}, new Error('no')]) {
      t.equal(
        refusedBy(() => answer),
        `${start}did not return true`,
      );
    }
    for (const promise of [async () => true, async () => Promise.reject(new Error('late'))]) {
      t.equal(refusedBy(promise), `${start}returned a promise, which would come too late`);
    }
    const thrower = () => {
      throw new Error('pinned');
    };
    t.equal(refusedBy(thrower), `${start}threw`);
    const pinned = optionsForClientTLS('localhost', {
      trustRoot: root,
      extraCertificateOptions: { verifyPeer: thrower },
    });
    t.match(refusal(pinned, peer('server')), { cause: { message: 'pinned' } });
    t.match(refusal(pinned, peer('expired'))?.message, 'expired', 'it is asked last');
  },
);

// ── Names of a server ────────────────────────────────────────────────────────────────────────────────────────────────

t.test(
  'TLS-10: a server with several names finds them without case, with wildcards, or takes the default',
  async (t) => {
    const options = (name: string, more: CertificateOptionsInit = {}) =>
      new CertificateOptions({ ...identity(name), ...more });
    const [a, b, wild, others] = [
      options('sni-a'),
      options('sni-b'),
      options('wildcard'),
      options('server'),
    ];
    const names = new ServerNames({ 'A.example': a, 'b.example': b, '*.b.example': wild }, others);
    const chosen = (name: string) => names.tlsSettings('server').forName?.(name)?.context;
    t.equal(chosen('a.example'), a.context);
    t.equal(chosen('A.EXAMPLE'), a.context);
    t.equal(chosen('a.example.'), a.context);
    t.equal(chosen('b.example'), b.context);
    t.equal(chosen('x.b.example'), wild.context);
    for (const name of [
      'x.y.b.example',
      'x.a.example',
      '',
      '.',
      'toString',
      '__proto__',
      '*',
      'x'.repeat(65536),
    ]) {
      t.equal(chosen(name), undefined, name.slice(0, 20));
    }
    t.equal(names.tlsSettings('server').context, others.context);
    t.equal(names.tlsSettings('server').requestCertificate, false);
    t.throws(() => names.tlsSettings('client'), CertificateError);
    const strict = options('sni-a', { trustRoot: root });
    const some = new ServerNames(new Map([['a.example', strict]]), others).tlsSettings('server');
    t.equal(some.requestCertificate, true, 'all are asked, since one of them wants it');
    t.equal(some.checkPeer, undefined);
    t.ok(some.forName?.('a.example')?.checkPeer);
    t.throws(() => new ServerNames({ 'a.example': a, 'A.EXAMPLE.': b }, others), /is there twice/);
    t.throws(() => new ServerNames({ '127.0.0.1': a }, others), RangeError);
    const wide = new ServerNames({ 'ＢÜcher。example': a }, others);
    t.ok(wide.settingsFor('xn--bcher-kva.example'), 'FND-1C');
    t.throws(() => new ServerNames({ 'a b': a }, others), RangeError);
    t.throws(
      () =>
        new ServerNames(
          { 'a.example': optionsForClientTLS('a.example', { trustRoot: root }) },
          others,
        ),
      CertificateError,
    );
    const h2 = options('sni-a', { acceptableProtocols: ['h2'] });
    t.throws(() => new ServerNames({ 'a.example': h2 }, others), TypeError);
    t.ok(new ServerNames({ 'a.example': h2 }, options('server', { acceptableProtocols: ['x'] })));
  },
);

// ── Over real connections ────────────────────────────────────────────────────────────────────────────────────────────

/** Records what happens to one end of a connection. */
class End extends Protocol {
  readonly greeting: string;
  received = '';
  protocol: string | undefined;
  readonly lost = new Deferred<Error>();

  constructor(greeting: string) {
    super();
    this.greeting = greeting;
  }

  override connectionMade() {
    this.transport.write(this.greeting);
  }

  override dataReceived(data: Buffer) {
    this.received += data.toString();
    this.protocol ??= (this.transport as ITLSTransport).negotiatedProtocol ?? undefined;
    if (this.received.length >= 5) this.transport.loseConnection();
  }

  override connectionLost(reason: Failure) {
    this.lost.callback(reason.value);
  }
}

/** A server and a client say hello to each other, if they can. */
async function meet(
  server: ITLSContextFactory,
  client: ITLSContextFactory,
): Promise<{ client: End; server: End; clientReason: Error; serverReason: Error }> {
  const reactor = new Reactor();
  const [theirs, ours] = [new End('HELLO'), new End('hello')];
  const port = reactor.listenSSL(
    0,
    { buildProtocol: () => theirs, doStart() {}, doStop() {} },
    server,
    {
      interface: '127.0.0.1',
    },
  );
  await port.ready;
  const factory = new ClientFactory();
  factory.buildProtocol = () => ours;
  reactor.connectSSL('127.0.0.1', (port.getHost() as { port: number }).port, factory, client);
  const [clientReason, serverReason] = [await ours.lost, await theirs.lost];
  await port.stopListening();
  return { client: ours, server: theirs, clientReason, serverReason };
}

const serving = (name: string, more: CertificateOptionsInit = {}) =>
  new CertificateOptions({ ...identity(name), ...more });

t.test('a client and a server that have every reason to trust each other', async (t) => {
  const chained = { certificate: pem('chained-full.pem'), privateKey: pem('chained.key') };
  for (const server of [
    serving('server', { acceptableProtocols: ['b', 'a'] }),
    serving('server-rsa', { acceptableProtocols: ['b', 'a'], lowerMaximumSecurityTo: 'TLSv1.2' }),
    new CertificateOptions({ ...chained, acceptableProtocols: ['b'] }),
    serving('server', {
      acceptableProtocols: ['b'],
      acceptableCiphers: 'DHE+AESGCM:ECDHE+AESGCM',
      dhParameters: DiffieHellmanParameters.fromFile(join(folder, 'dh-2048.pem')),
    }),
  ]) {
    for (const host of ['LocalHost.', '127.0.0.1']) {
      const acceptableProtocols = ['a', 'b'];
      const met = await meet(
        server,
        optionsForClientTLS(host, { trustRoot: root, acceptableProtocols }),
      );
      t.same([met.client.received, met.server.received], ['HELLO', 'hello']);
      t.same([met.client.protocol, met.server.protocol], ['b', 'b']);
      t.ok(met.clientReason instanceof ConnectionDone, String(met.clientReason));
    }
  }
});

t.test('TLS-06: whom the client refuses, before any byte of the program has passed', async (t) => {
  const crl = { extraCertificateOptions: { crl: pem('crl.pem') } };
  type Options = NonNullable<Parameters<typeof optionsForClientTLS>[1]>;
  const cases: [name: string, message: RegExp, options?: Options, host?: string][] = [
    ['expired', /CERT_HAS_EXPIRED/],
    ['not-yet-valid', /CERT_NOT_YET_VALID/],
    ['self-signed', /DEPTH_ZERO_SELF_SIGNED_CERT/],
    ['other-ca-server', /UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT/],
    ['chained', /UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT/],
    ['wrong-usage', /INVALID_PURPOSE/],
    ['revoked', /CERT_REVOKED/, crl],
    ['server', /it is for "localhost", 127.0.0.1/, {}, 'a.example'],
    ['server', /it is for "localhost", 127.0.0.1/, {}, '127.0.0.2'],
    ['cn-only', /the common name does not count/],
    ['empty-san', /it has no alternative names/],
    ['nul-san', /is not for localhost/],
    ['comma', /is not for b.example/, {}, 'b.example'],
    ['wildcard', /is not for a.com/, {}, 'a.com'],
    ['wildcard', /is not for x.y.a.com/, {}, 'x.y.a.com'],
    ['wildcard-top', /is not for a.com/, {}, 'a.com'],
    ['wildcard-partial', /is not for foo.a.com/, {}, 'foo.a.com'],
    ['deep', /more than 1 others stand between/, { extraCertificateOptions: { verifyDepth: 1 } }],
    [
      'server',
      /verifyPeer did not return true/,
      { extraCertificateOptions: { verifyPeer: () => false } },
    ],
  ];
  for (const [name, message, options = {}, host = 'localhost'] of cases) {
    const met = await meet(
      serving(name),
      optionsForClientTLS(host, { trustRoot: root, ...options }),
    );
    t.ok(met.clientReason instanceof VerificationError, `${name}: ${met.clientReason}`);
    t.match(met.clientReason.message, message);
    t.same([met.client.received, met.server.received], ['', ''], 'nothing has passed');
    t.notOk(met.serverReason instanceof ConnectionDone, String(met.serverReason));
  }
  for (const [name, options, host = 'localhost'] of [
    ['server', crl],
    ['deep', { extraCertificateOptions: { verifyDepth: 2 } }],
    ['wildcard', {}, 'x.a.com'],
    ['self-signed', { trustRoot: pem('self-signed.pem') }],
  ] as [string, Options, string?][]) {
    const met = await meet(
      serving(name),
      optionsForClientTLS(host, { trustRoot: root, ...options }),
    );
    t.equal(met.client.received, 'HELLO', `${name}: ${met.clientReason}`);
  }
});

t.test('TLS-08: keys, hashes and versions that are too weak', async (t) => {
  const versions = {
    insecurelyLowerMinimumTo: 'TLSv1',
    lowerMaximumSecurityTo: 'TLSv1.1',
  } as const;
  const client = (options: object = {}) =>
    optionsForClientTLS('localhost', { trustRoot: root, extraCertificateOptions: options });
  const weak = {
    ...serving('server').context,
    cert: pem('small-rsa.pem'),
    key: pem('small-rsa.key'),
  };
  const small: TLSContextOptions = { ...weak, ciphers: 'DEFAULT@SECLEVEL=0' };
  const met = await meet({ tlsSettings: () => ({ context: small }) }, client());
  t.match(met.clientReason.message, /its key has 1024 bits/);
  t.equal(met.server.received, '');
  const hashed = await meet(serving('sha1'), client()).catch((error: unknown) => error as Error);
  t.match(hashed instanceof Error ? hashed : (hashed as { clientReason: Error }).clientReason, {
    message: /MD_TOO_WEAK|UNSPECIFIED|too weak|md too weak/i,
  });

  const old = await meet(serving('server', versions), client());
  t.ok(old.clientReason instanceof SSLError, String(old.clientReason));
  t.equal(old.client.received, '');
  const both = await meet(serving('server', versions), client(versions));
  t.equal(both.client.received, 'HELLO', String(both.clientReason));
  const reactor = new Reactor();
  t.throws(
    () => reactor.listenSSL(0, new Factory(), serving('server', { acceptableCiphers: 'UNKNOWN' })),
    SSLError,
  );
});

t.test('client certificates: who is let in', async (t) => {
  const client = (name?: string) =>
    optionsForClientTLS('localhost', {
      trustRoot: root,
      ...(name !== undefined && {
        clientCertificate: PrivateCertificate.loadPEM(pem(`${name}.pem`) + pem(`${name}.key`)),
      }),
    });
  const strict = serving('server', { trustRoot: root });
  const good = await meet(strict, client('client'));
  t.same([good.client.received, good.server.received], ['HELLO', 'hello']);
  for (const [name, message] of [
    [undefined, 'the client has shown no certificate'],
    ['other-client', 'whoever has signed it is not trusted'],
    ['wrong-usage-client', 'INVALID_PURPOSE'],
  ] as const) {
    const met = await meet(strict, client(name));
    t.ok(met.serverReason instanceof VerificationError, String(met.serverReason));
    t.match(met.serverReason.message, message);
    t.equal(met.server.received, '');
    t.equal(met.client.received, '');
  }
  const lax = serving('server', { trustRoot: root, requireCertificate: false });
  t.equal((await meet(lax, client())).client.received, 'HELLO');
  t.match((await meet(lax, client('other-client'))).serverReason, { message: /is not trusted/ });
  const pinned = serving('server', {
    trustRoot: root,
    verifyPeer: (one) => one.equals(certificate('client')),
  });
  t.equal((await meet(pinned, client('client'))).client.received, 'HELLO');
});

t.test('TLS-10: a server with several names, over real connections', async (t) => {
  const protocols = { acceptableProtocols: ['x'] };
  const strict = serving('sni-b', { trustRoot: root, ...protocols });
  const names = new ServerNames(
    {
      'A.example': serving('sni-a', protocols),
      'b.example': strict,
      '*.a.com': serving('wildcard', protocols),
    },
    serving('server', protocols),
  );
  const clientCertificate = PrivateCertificate.loadPEM(pem('client-full.pem'));
  const client = (host: string, more: object = {}) =>
    optionsForClientTLS(host, { trustRoot: root, acceptableProtocols: ['x'], ...more });
  for (const host of ['a.EXAMPLE', 'x.a.com', 'localhost', '127.0.0.1']) {
    const met = await meet(names, client(host));
    t.equal(met.client.received, 'HELLO', `${host}: ${met.clientReason}`);
  }
  t.match((await meet(names, client('c.example'))).clientReason, {
    message: /is not for c.example/,
  });
  t.equal((await meet(names, client('b.example', { clientCertificate }))).client.received, 'HELLO');
  t.match((await meet(names, client('b.example'))).serverReason, {
    message: /the client has shown no certificate/,
  });
  const other = PrivateCertificate.loadPEM(pem('other-client.pem') + pem('other-client.key'));
  const refused = await meet(names, client('b.example', { clientCertificate: other }));
  t.match(refused.serverReason, { message: /is not trusted/ });
  t.equal(refused.server.received, '');
});

t.test('TLS-07: what a session has been made with does not vouch for another host', async (t) => {
  const server = serving('server');
  for (const host of ['localhost', 'localhost', '127.0.0.1']) {
    const met = await meet(server, optionsForClientTLS(host, { trustRoot: root }));
    t.equal(met.client.received, 'HELLO', `${host}: ${met.clientReason} ${met.serverReason}`);
  }
  const met = await meet(server, optionsForClientTLS('a.example', { trustRoot: root }));
  t.match(met.clientReason, { message: /is not for a.example/ });
  const others = await meet(
    server,
    optionsForClientTLS('localhost', { trustRoot: pem('other-ca.pem') }),
  );
  t.match(others.clientReason, { message: /is not trusted/ });
  t.equal(others.server.received, '');
});
