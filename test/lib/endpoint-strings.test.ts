/** Endpoints from their descriptions (lib/endpoint-strings.ts and what it stands on), and those that are registered. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ClientEndpointReactor,
  clientFromString,
  connectProtocol,
  Deferred,
  type EndpointArguments,
  EndpointPrefixTaken,
  EndpointSyntaxError,
  Factory,
  type Failure,
  IPv4Address,
  type IListeningPort,
  type IStreamClientEndpoint,
  type IStreamServerEndpoint,
  Protocol,
  quoteStringArgument,
  Reactor,
  registerClientEndpointParser,
  registerServerEndpointParser,
  type ServerEndpointReactor,
  serverFromString,
} from 'plait';
import fc from 'fast-check';
import { Clock, failureResultOf } from 'plait/testing';
import { withoutSecrets } from '../../lib/endpoint-description.ts';
import { ListenFDs } from '../../lib/systemd.ts';
import t, { type Test } from '../fixture.ts';
import { growsLinearly } from '../growth.ts';

const LOOPBACK = '127.0.0.1';
const tooMany = () => new RangeError('7 is too many');

/** Fires when the connection is lost. */
class Talk extends Protocol {
  readonly lost = new Deferred<void>();
  override connectionLost(): void {
    this.lost.callback();
  }
}

/** Builds Talks, and keeps them. */
class TalkFactory extends Factory<Talk> {
  override noisy = false;
  readonly built: Talk[] = [];
  override buildProtocol(): Talk {
    const talk = new Talk();
    this.built.push(talk);
    return talk;
  }
}

/** An error at a position of a description. */
const at = (position: number) => ({ name: 'EndpointSyntaxError', position });

/** The number of a port that is bound. */
const numberOf = (port: IListeningPort) => (port.getHost() as { port?: number }).port ?? 0;

t.test('descriptions of endpoints', async (t) => {
  /** What a description makes a reactor do. */
  const asked = (act: (reactor: ClientEndpointReactor) => Deferred<unknown>) => {
    let call: unknown[] = [];
    const note =
      (name: string) =>
      (...args: unknown[]): never => {
        call = [name, ...args];
        throw tooMany();
      };
    const reactor = Object.assign(new Clock(), {
      listenTCP: note('listenTCP'),
      listenUNIX: note('listenUNIX'),
      connectTCP: note('connectTCP'),
      connectUNIX: note('connectUNIX'),
      nameResolver: { resolveHostName: note('resolveHostName') },
    });
    failureResultOf(act(reactor));
    return call.filter(
      (arg) =>
        !(
          arg instanceof Factory ||
          (typeof arg === 'object' && arg !== null && 'doStart' in arg)
        ) && !(typeof arg === 'object' && 'resolutionBegan' in (arg as object)),
    );
  };
  const server = (description: string) =>
    asked((reactor) => serverFromString(reactor, description).listen(new TalkFactory()));
  const client = (description: string) =>
    asked((reactor) => clientFromString(reactor, description).connect(new TalkFactory()));

  t.test('stand for places to listen at', async (t) => {
    t.same(server('tcp:8000'), ['listenTCP', 8000, {}]);
    t.same(server('TCP:port=0'), ['listenTCP', 0, {}]);
    t.same(server('tcp:8000:interface=127.0.0.1:backlog=5'), [
      'listenTCP',
      8000,
      { interface: LOOPBACK, backlog: 5 },
    ]);
    t.same(server('tcp:8000:interface=\\:\\:1'), ['listenTCP', 8000, { interface: '::1' }]);
    t.same(server('unix:/run/tea'), ['listenUNIX', '/run/tea', { wantPID: true }]);
    t.same(server('unix:address=/run/tea:mode=660:backlog=9:lockfile=0'), [
      'listenUNIX',
      '/run/tea',
      { mode: 0o660, backlog: 9, wantPID: false },
    ]);
    t.same(server('tcp6:8000'), ['listenTCP', 8000, { interface: '::' }]);
    t.same(server('tcp6:8000:interface=\\:\\:1:backlog=5'), [
      'listenTCP',
      8000,
      { interface: '::1', backlog: 5 },
    ]);
  });

  t.test('stand for places to connect to', async (t) => {
    t.same(client('tcp:tea.test:80'), ['resolveHostName', 'tea.test', 80, [IPv4Address]]);
    t.same(client('tcp:192.0.2.7:80'), ['connectTCP', '192.0.2.7', 80, { timeout: null }]);
    t.same(client('tcp:port=80:host=\\:\\:1:timeout=0.5:bindAddress=\\:\\:2'), [
      'connectTCP',
      '::1',
      80,
      { timeout: null, bindAddress: { host: '::2' } },
    ]);
    t.same(client('tcp:80:host=192.0.2.7'), ['connectTCP', '192.0.2.7', 80, { timeout: null }]);
    t.same(client('unix:/run/tea:timeout=30'), ['connectUNIX', '/run/tea', { timeout: 30 }]);
    t.same(client('unix:path=/run/tea'), ['connectUNIX', '/run/tea', {}]);
    t.same(client('unix:/run/tea:lockfile=yes'), ['connectUNIX', '/run/tea', { checkPID: true }]);
  });

  t.test(
    'take a character behind a backslash for itself, and an equals sign in a value',
    async (t) => {
      t.same(client('unix:/run/a\\:b\\=c\\\\d'), ['connectUNIX', '/run/a:b=c\\d', {}]);
      t.same(client('unix:path=/run/a=b'), ['connectUNIX', '/run/a=b', {}]);
      const odd = 'a:b=c\\d::';
      t.equal(quoteStringArgument(odd), 'a\\:b\\=c\\\\d\\:\\:');
      t.same(client(`unix:${quoteStringArgument(odd)}`), ['connectUNIX', odd, {}]);
    },
  );

  t.test('connect, for real', async (t) => {
    const reactor = new Reactor();
    const factory = new TalkFactory();
    const port = await serverFromString(reactor, 'tcp:0:interface=127.0.0.1').listen(factory);
    const number = numberOf(port);
    const endpoint = clientFromString(reactor, `tcp:127.0.0.1:${number}:timeout=5`);
    const talk = await connectProtocol(endpoint, new Talk());
    talk.transport.loseConnection();
    await talk.lost;
    await factory.built[0]?.lost;
    await port.stopListening();
  });

  t.test('REA-33: that cannot be understood are refused, and it is said where', async (t) => {
    const reactor = new Reactor();
    const refused = (description: string, what: string, make: typeof clientFromString) => {
      const error = {
        name: 'EndpointSyntaxError',
        message: `cannot use the endpoint description ${JSON.stringify(description)}: ${what}`,
      };
      t.throws(() => make(reactor, description), error);
    };
    const servers: [description: string, what: string][] = [
      ['tcp', 'at position 3, there is no port'],
      ['tcp:', 'at position 4, port is no whole number: ""'],
      ['tcp:80:80', 'at position 7, there is one argument too many: "80"'],
      ['tcp:port=80:80', 'at position 12, there is one argument too many: "80"'],
      ['tcp:80:backlog=5:backlog=6', 'at position 17, "backlog" is given twice'],
      ['tcp:80:__proto__=x', 'at position 7, there is no argument of this name: "__proto__"'],
      ['tcp:80:constructor=x', 'at position 7, there is no argument of this name: "constructor"'],
      ['tcp:80:timeout=5', 'at position 7, there is no argument of this name: "timeout"'],
      ['tcp:80\\', 'at position 6, a backslash ends it'],
      ['unix', 'at position 4, there is no address'],
      ['unix:/run/tea:mode=888', 'at position 14, mode is no whole number: "888"'],
      [
        'unix:/run/tea:lockfile=perhaps',
        'at position 14, lockfile is neither true nor false: "perhaps"',
      ],
      ['unix:/run/tea:mode=0o660', 'at position 14, mode is no whole number: "0o660"'],
    ];
    for (const number of [
      '-1',
      '+1',
      '0x50',
      '1e3',
      ' 80',
      '80 ',
      '5abc',
      '٥',
      '1_0',
      '1234567890',
    ])
      servers.push([
        `tcp:${number}`,
        `at position 4, port is no whole number: ${JSON.stringify(number)}`,
      ]);
    for (const [description, what] of servers)
      refused(description, what, serverFromString as never);
    const clients: [description: string, what: string][] = [
      ['tcp:tea.test', 'at position 12, there is no port'],
      ['unix', 'at position 4, there is no path'],
    ];
    for (const seconds of ['-1', '', '1e3', '.5', '5.', 'Infinity', 'NaN', '0x1'])
      clients.push([
        `tcp:tea.test:80:timeout=${seconds}`,
        `at position 16, timeout is no number of seconds: ${JSON.stringify(seconds)}`,
      ]);
    for (const [description, what] of clients) refused(description, what, clientFromString);
    t.throws(() => clientFromString(reactor, 7 as never), {
      name: 'TypeError',
      message: /^description must be a string that describes an endpoint, not /,
    });
    t.equal(Object.getPrototypeOf({}), Object.prototype);
    t.notOk('x' in {});
  });

  t.test('REA-33: name a kind that there is', async (t) => {
    const reactor = new Reactor();
    for (const [description, kind] of [
      ['', ''],
      ['tea:80', 'tea'],
      ['__proto__:80', '__proto__'],
      ['a=b', ''],
    ])
      t.throws(() => serverFromString(reactor, description as string), {
        name: 'EndpointSyntaxError',
        message: `cannot listen at ${JSON.stringify(description)}: there is no kind ${JSON.stringify(kind)} at position 0, only tcp, tcp6, unix, ssl, systemd, stdio`,
      });
    t.throws(() => clientFromString(reactor, 'tea'), { message: /^cannot connect to "tea": / });
  });

  t.test('REA-33: that are too long are refused at once, with a short message', async (t) => {
    const reactor = new Reactor();
    for (const long of ['x', '\\', ':', 'a=', '=']) {
      t.throws(() => serverFromString(reactor, `tcp:80:${long.repeat(100 * 1024)}`), {
        name: 'EndpointSyntaxError',
        message: /^.{200,900}at position 16384, it goes on: 16384 characters are the most$/,
      });
      t.throws(() => serverFromString(reactor, `tcp:80:${long.repeat(8 * 1024)}`), {
        name: 'EndpointSyntaxError',
        message: /^.{200,1500}$/,
      });
    }
  });
});

t.test('REA-33: a description is read in linear time', async (t) => {
  const reactor = new Reactor();
  for (const piece of ['x', '\\:', ':', '=', 'a=']) {
    const read = (size: number) => {
      for (let i = 0; i < 20; i++) {
        try {
          clientFromString(reactor, `unix:${piece.repeat(size / piece.length)}`);
        } catch (error) {
          if (!(error instanceof EndpointSyntaxError)) throw error;
        }
      }
    };
    t.ok(growsLinearly(read, 2000), JSON.stringify(piece));
  }
});

t.test('REA-33: an error knows the position', async (t) => {
  const reactor = new Reactor();
  for (const [description, position] of [
    ['tcp:80:__proto__=x', 7],
    ['tcp:80:backlog=5:backlog=6', 17],
    ['tcp:80\\', 6],
    ['tea:80', 0],
    ['tcp', 3],
  ] as const) {
    let thrown: unknown;
    try {
      serverFromString(reactor, description);
    } catch (error) {
      thrown = error;
    }
    t.ok(thrown instanceof SyntaxError);
    t.equal((thrown as EndpointSyntaxError).position, position);
  }
});

t.test('standard input and output are a place to listen at', async (t) => {
  const reactor = new Reactor();
  for (const description of ['stdio', 'stdio:', 'STDIO:'])
    t.equal(typeof serverFromString(reactor, description).listen, 'function');
  t.throws(() => serverFromString(reactor, 'stdio:1'), at(6));
  t.throws(() => serverFromString(reactor, 'stdio::'), at(6));
  const poor = { listenTCP() {}, connectTCP() {}, listenUNIX() {}, connectUNIX() {} };
  t.throws(() => serverFromString(poor as never, 'stdio:'), {
    name: 'TypeError',
    message: 'the reactor has no standardIO, which stdio: needs',
  });
});

t.test('other kinds can be registered', async (t) => {
  const server: IStreamServerEndpoint = { listen: () => new Deferred() };
  const client = { connect: () => new Deferred() } as IStreamClientEndpoint;
  const read: unknown[] = [];
  const parse = (args: EndpointArguments): void => {
    const leaves = args.neededInteger('leaves');
    if (leaves > 9) throw args.bad('leaves', 'too many leaves', String(leaves));
    read.push(args.needed('pot'), leaves, args.text('milk'), args.flag('hot'));
  };
  const serving = {
    prefix: 'tea',
    parseStreamServer: (_reactor: ServerEndpointReactor, args: EndpointArguments) => {
      parse(args);
      return server;
    },
  };
  const drinking = {
    prefix: 'tea',
    parseStreamClient: (_reactor: ClientEndpointReactor, args: EndpointArguments) => {
      parse(args);
      return client;
    },
  };
  const reactor = new Reactor();

  t.test('until they are taken back', async (t) => {
    const unregister = [
      registerServerEndpointParser(serving),
      registerClientEndpointParser(drinking),
    ];
    t.equal(serverFromString(reactor, 'tea:7:blue\\:one:milk=oat:hot=no'), server);
    t.same(read.splice(0), ['blue:one', 7, 'oat', false]);
    t.equal(clientFromString(reactor, 'Tea:pot=blue:leaves=7'), client);
    t.same(read.splice(0), ['blue', 7, undefined, undefined]);
    for (const undo of unregister) undo();
    for (const undo of unregister) undo();
    t.throws(() => serverFromString(reactor, 'tea:7:blue'), /there is no kind "tea"/);
    t.throws(() => clientFromString(reactor, 'tea:7:blue'), /there is no kind "tea"/);
  });

  t.test(
    'what is wrong with an argument that was not asked for is told at the beginning',
    async (t) => {
      const parseStreamServer = (_reactor: ServerEndpointReactor, args: EndpointArguments) => {
        throw args.bad('pot', 'there is no pot', 'blue');
      };
      t.teardown(registerServerEndpointParser({ prefix: 'tea', parseStreamServer }));
      t.throws(() => serverFromString(reactor, 'tea:7:blue'), {
        name: 'EndpointSyntaxError',
        position: 0,
        message: /there is no pot: "blue"/,
      });
    },
  );

  t.test('one for each prefix', async (t) => {
    t.teardown(registerServerEndpointParser(serving));
    const own = { ...serving, prefix: 'unix' };
    for (const parser of [serving, own]) {
      t.throws(() => registerServerEndpointParser(parser), {
        name: 'EndpointPrefixTaken',
        message: `cannot register "${parser.prefix}": descriptions of this kind have a parser`,
      });
    }
    t.throws(
      () => registerClientEndpointParser({ ...drinking, prefix: 'tcp' }),
      EndpointPrefixTaken,
    );
    t.equal(serverFromString(reactor, 'tea:7:blue'), server);
  });

  t.test('what they do not take is refused, and what they refuse has its place', async (t) => {
    t.teardown(registerServerEndpointParser(serving));
    t.throws(() => serverFromString(reactor, 'tea:7:blue:green'), at(11));
    t.throws(() => serverFromString(reactor, 'tea:7:blue:__proto__=x'), at(11));
    t.throws(() => serverFromString(reactor, 'tea:pot=blue:leaves=10'), {
      message: /: at position 13, too many leaves: "10"$/,
      position: 13,
    });
    t.throws(() => serverFromString(reactor, 'tea:7'), /there is no pot/);
  });

  t.test('by a word in lower case', async (t) => {
    for (const prefix of ['', 'Tea', 'tea:', '7up', 'a b', '__proto__', undefined, 'x'.repeat(65)])
      t.throws(
        () => registerServerEndpointParser({ ...serving, prefix: prefix as string }),
        prefix === undefined ? TypeError : RangeError,
      );
    registerServerEndpointParser({ ...serving, prefix: 'h2+unix.x-1' })();
  });
});

t.test('the sockets that a supervisor has handed over', async (t) => {
  const handed = (environment: Record<string, string>) =>
    ListenFDs.fromEnvironment({ LISTEN_PID: '7', ...environment }, 7);
  const two = handed({ LISTEN_FDS: '2', LISTEN_FDNAMES: 'tea:tea:pot' });
  t.same(two.inheritedDescriptors(), [3, 4]);
  t.same([...two.inheritedNamedDescriptors()], [['tea', 3]]);
  t.equal(two.descriptor(1), 4);
  t.equal(two.descriptor('tea'), 3);
  for (const which of [2, -1, NaN, 'pot', '__proto__'])
    t.throws(() => two.descriptor(which), {
      name: 'InvalidAddressError',
      message: /: there are 2$/,
    });
  t.same(handed({ LISTEN_FDS: '1' }).inheritedNamedDescriptors().size, 0);
  for (const LISTEN_FDS of ['', '0', '-1', '1e3', '99999', '9999', ' 1'])
    t.same(handed({ LISTEN_FDS }).inheritedDescriptors(), []);
  t.same(ListenFDs.fromEnvironment({ LISTEN_FDS: '1' }, 7).inheritedDescriptors(), []);
  t.same(handed({ LISTEN_FDS: '1', LISTEN_PID: '8' }).inheritedDescriptors(), []);
  t.same(ListenFDs.fromEnvironment().inheritedDescriptors(), []);
});

// ── TLS ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('descriptions with TLS', async (t) => {
  const folder = join(import.meta.dirname, '../fixtures/tls');
  const file = (name: string) => quoteStringArgument(join(folder, name));
  const ca = file('ca.pem');
  const reactor = new Reactor();

  /** Says a word when it is connected; a server says it back. */
  class Word extends Protocol {
    readonly heard = new Deferred<string>();
    readonly lost = new Deferred<Error>();
    override dataReceived(data: Buffer): void {
      this.heard.callback(data.toString());
      this.transport.loseConnection();
    }
    override connectionLost({ value }: Failure): void {
      this.lost.callback(value);
      if (!this.heard.called) this.heard.errback(value);
    }
  }
  class Asking extends Word {
    override connectionMade(): void {
      this.transport.write('tea');
    }
  }
  /** Serves at what the description says, and calls what another says; `PORT` stands for where it listens. */
  const talk = async (t: Test, server: string, client: string) => {
    const factory = new Factory<Protocol>();
    factory.noisy = false;
    factory.protocol = class extends Protocol {
      override dataReceived(data: Buffer): void {
        this.transport.write(data);
      }
    };
    const port = await serverFromString(reactor, server).listen(factory);
    t.teardown(() => port.stopListening().asPromise());
    const endpoint = clientFromString(reactor, client.replaceAll('PORT', String(numberOf(port))));
    const word = await connectProtocol(endpoint, new Asking());
    const heard = await word.heard.addErrback(({ value }) => value);
    await word.lost;
    return heard;
  };
  const SERVER = `ssl:0:privateKey=${file('server.key')}:certKey=${file('server.pem')}:interface=127.0.0.1`;

  t.test('make connections that are verified', async (t) => {
    for (const client of [
      `tls:localhost:PORT:trustRoots=${ca}:timeout=5`,
      `tls:host=localhost:port=PORT:trustRoots=${ca}:bindAddress=127.0.0.1`,
      `tls:localhost:PORT:trustRoots=${ca}:endpoint=tcp\\:127.0.0.1\\:PORT`,
      `ssl:127.0.0.1:PORT:caCertsDir=${ca}:hostname=localhost`,
      `ssl:localhost:PORT:caCertsDir=${ca}:certKey=${file('client.pem')}:privateKey=${file('client.key')}`,
      `tls:localhost:PORT:trustRoots=${ca}:certificate=${file('client-full.pem')}`,
    ])
      t.equal(await talk(t, SERVER, client), 'tea', client);
    const chained = `ssl:0:privateKey=${file('chained.key')}:certKey=${file('chained.pem')}:extraCertChain=${file('intermediate.pem')}:dhParameters=${file('dh-2048.pem')}:sslmethod=TLS_METHOD:interface=127.0.0.1`;
    t.equal(await talk(t, chained, `tls:localhost:PORT:trustRoots=${ca}`), 'tea');
  });

  t.test('refuse who cannot be verified', async (t) => {
    for (const client of [
      `tls:localhost:PORT:trustRoots=${file('other-ca.pem')}`,
      `tls:tea.test:PORT:trustRoots=${ca}:endpoint=tcp\\:127.0.0.1\\:PORT`,
      'tls:localhost:PORT',
      `ssl:localhost:PORT:caCertsDir=${ca}:hostname=tea.test`,
    ])
      t.ok((await talk(t, SERVER, client)) instanceof Error, client);
  });

  t.test('trust the authorities of a folder', async (t) => {
    const own = mkdtempSync(join(tmpdir(), 'plait-'));
    t.teardown(() => rmSync(own, { recursive: true, force: true }));
    const trust = quoteStringArgument(own);
    const description = `tls:localhost:PORT:trustRoots=${trust}`;
    t.throws(() => clientFromString(reactor, description.replace('PORT', '1')), {
      name: 'CertificateError',
      message: `cannot use the trustRoots ${JSON.stringify(own)}: there is no .pem in it`,
    });
    copyFileSync(join(folder, 'other-ca.pem'), join(own, 'a.pem'));
    copyFileSync(join(folder, 'ca.pem'), join(own, 'b.PEM'));
    copyFileSync(join(folder, 'ca.key'), join(own, 'ca.key'));
    t.equal(await talk(t, SERVER, description), 'tea');
  });

  t.test('FND-64: say which argument and which file is at fault, and show no key', async (t) => {
    const own = mkdtempSync(join(tmpdir(), 'plait-'));
    t.teardown(() => rmSync(own, { recursive: true, force: true }));
    const made = (name: string, text: string | Buffer) => {
      writeFileSync(join(own, name), text);
      return quoteStringArgument(join(own, name));
    };
    const empty = made('empty.pem', '');
    const key = readFileSync(join(folder, 'server.key'), 'latin1');
    const damaged = made('damaged.pem', key.replace(/[A-Za-z0-9+/]{20}/, '!'.repeat(20)));
    const secret = key.split('\n')[3] as string;
    const odd = made('odd.pem', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
    const both = made('both.pem', key + readFileSync(join(folder, 'client.pem'), 'latin1'));
    const [serverKey, serverPem] = [file('server.key'), file('server.pem')];
    const server = (rest: string) => `ssl:0:privateKey=${rest}`;
    const client = (rest: string) => `tls:a:1:trustRoots=${ca}:${rest}`;
    const cases: [string, string, string, RegExp][] = [
      [server(empty), 'privateKey', 'empty', /there is no private key in the PEM$/],
      [server(`${damaged}:certKey=${serverPem}`), 'privateKey', 'damaged', /cannot be read/],
      [server(serverKey), 'privateKey (there is no certKey)', 'server.key', /there is no cert/],
      [server(`${serverKey}:certKey=${empty}`), 'certKey', 'empty', /no certificate in the PEM$/],
      [server(`${serverKey}:certKey=${odd}`), 'certKey', 'odd', /a certificate cannot be read/],
      [server(both), 'privateKey', 'both', /does not belong to the certificate/],
      [server(`${file('wrong.key')}:certKey=${serverPem}`), 'certKey', 'server.pem', /not belong/],
      [
        server(`${serverKey}:certKey=${serverPem}:extraCertChain=${empty}`),
        'extraCertChain',
        'empty',
        /no certificate in the PEM$/,
      ],
      [
        server(`${serverKey}:certKey=${serverPem}:dhParameters=${empty}`),
        'dhParameters',
        'empty',
        /there are no Diffie-Hellman parameters$/,
      ],
      [
        server(`${file('small-rsa.key')}:certKey=${file('small-rsa.pem')}`),
        'privateKey',
        'small-rsa.key',
        /has 1024 bits, and needs 2048 or more$/,
      ],
      [`tls:a:1:trustRoots=${empty}`, 'trustRoots', 'empty', /no certificate in the PEM$/],
      [`tls:a:1:trustRoots=${odd}`, 'trustRoots', 'odd', /a certificate cannot be read/],
      [`ssl:a:1:caCertsDir=${quoteStringArgument(own)}`, 'caCertsDir', 'damaged', /no certificate/],
      [client(`certificate=${empty}`), 'certificate', 'empty', /no certificate in the PEM$/],
      [
        client(`certificate=${file('client.pem')}`),
        'certificate (there is no privateKey)',
        'client.pem',
        /there is no private key in the PEM$/,
      ],
      [
        client(`certificate=${file('client.pem')}:privateKey=${damaged}`),
        'privateKey',
        'damaged',
        /the private key cannot be read/,
      ],
      [
        `ssl:a:1:caCertsDir=${ca}:certKey=${file('client.pem')}:privateKey=${serverKey}`,
        'certKey',
        'client.pem',
        /with the privateKey ".*server\.key": the private key does not belong/,
      ],
    ];
    for (const [description, argument, path, message] of cases) {
      try {
        if (description.startsWith('ssl:0')) serverFromString(reactor, description);
        else clientFromString(reactor, description);
        t.fail(description);
      } catch (error) {
        const { name, message: said } = error as Error;
        t.equal(name, 'CertificateError', description);
        t.match(said, message, description);
        t.ok(said.includes(`the ${argument} "`) && said.includes(path), said);
        t.notOk(said.includes(secret) || said.includes('!!!!'), 'no secret');
      }
    }
    const fitting = made('fitting.pem', key + readFileSync(join(folder, 'server.pem'), 'latin1'));
    t.throws(() => clientFromString(reactor, client(`certificate=${fitting}`).replace('a', '/')), {
      name: 'RangeError',
    });
  });

  t.test('say which file is at fault, before anything is opened', async (t) => {
    const refused = (make: typeof clientFromString, description: string, message: RegExp) =>
      t.throws(() => make(reactor, description), { name: 'CertificateError', message });
    const server = serverFromString as never;
    refused(
      server,
      'ssl:0:privateKey=/nowhere/a',
      /^cannot read the privateKey "\/nowhere\/a": no such/,
    );
    refused(
      server,
      `ssl:0:privateKey=${file('server.key')}:certKey=a\0b`,
      /^cannot read the certKey "a\\u0000b"/,
    );
    refused(
      server,
      `ssl:0:privateKey=${file('wrong.key')}:certKey=${file('server.pem')}`,
      /does not belong/,
    );
    refused(server, `${SERVER}:extraCertChain=/nowhere/a`, /extraCertChain/);
    refused(server, `${SERVER}:dhParameters=${file('dh-1024.pem')}`, /dh-1024/);
    refused(
      clientFromString,
      'tls:tea.test:1:trustRoots=/nowhere/a',
      /^cannot read the trustRoots/,
    );
    refused(clientFromString, `ssl:tea.test:1:caCertsDir=${file('make.sh')}`, /certificate/);
    t.throws(() => serverFromString(reactor, 'ssl:0:sslmethod=SSLv3_METHOD'), {
      name: 'EndpointSyntaxError',
      message: /: at position 6, sslmethod can be TLS_METHOD, .*: "SSLv3_METHOD"$/,
    });
    t.throws(() => clientFromString(reactor, `tls:tea.test:1:privateKey=${file('client.key')}`), {
      name: 'EndpointSyntaxError',
      message: /privateKey needs a certificate/,
    });
    t.throws(() => clientFromString(reactor, `tls:a:1:trustRoots=${ca}:endpoint=tcp\\:a\\:b`), {
      message: /"tcp:a:b": at position 6, port is no whole number/,
    });
    t.throws(
      () => clientFromString(reactor, `tls:a:1:trustRoots=${ca}:timeout=5:endpoint=tcp\\:a\\:1`),
      { message: /there is no argument of this name: "timeout"$/ },
    );
    t.throws(() => clientFromString(reactor, 'tls:a\0b:1'), RangeError);
  });
});

t.test('a socket that a supervisor has handed over is a place to listen at', async (t) => {
  const before = { ...process.env };
  t.teardown(() => {
    for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) {
      if (before[name] === undefined) Reflect.deleteProperty(process.env, name);
      else process.env[name] = before[name];
    }
  });
  const adopted: unknown[] = [];
  const reactor = Object.assign(new Reactor(), {
    adoptStreamPort(...args: unknown[]): never {
      adopted.push(args.slice(0, 2));
      throw tooMany();
    },
  });
  t.throws(() => serverFromString(reactor, 'systemd:INET:0'), { name: 'InvalidAddressError' });
  Object.assign(process.env, {
    LISTEN_PID: String(process.pid),
    LISTEN_FDS: '2',
    LISTEN_FDNAMES: 'tea:pot',
  });
  for (const description of [
    'systemd:INET:0',
    'systemd:domain=INET6:index=1',
    'systemd:UNIX:name=pot',
  ])
    failureResultOf(serverFromString(reactor, description).listen(new TalkFactory()), RangeError);
  t.same(adopted, [
    [3, 'AF_INET'],
    [4, 'AF_INET6'],
    [4, 'AF_UNIX'],
  ]);
  t.throws(() => serverFromString(reactor, 'systemd:INET'), /there is no index/);
  t.throws(() => serverFromString(reactor, 'systemd:INET:index=0:name=tea'), at(13));
  t.throws(() => serverFromString(reactor, 'systemd:inet:0'), {
    message: /: at position 8, domain is one of INET, INET6 and UNIX: "inet"$/,
  });
  t.throws(() => serverFromString(reactor, 'systemd:INET:2'), { name: 'InvalidAddressError' });
});

t.test('REA-33: what is secret is left out of a message in time linear in the description', (t) => {
  // As plain expressions, which take the square of the length.
  const secret = /((?:pass|pwd|secret|token|credential|auth|api_?key)[^:=\\]*=)(?:\\.|[^:\\])+/gis;
  const beforeAt = /(?<=:)(?![/@])(?:\\.|[^:\\@])+@/gs;
  const part = fc.constantFrom('\\', ':', '=', '@', '/', 'a', 'pass', 'API_key', '\n', '\\:', ':u');
  fc.assert(
    fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
      const text = parts.join('');
      return withoutSecrets(text) === text.replace(secret, '$1***').replace(beforeAt, '***@');
    }),
    { numRuns: 5000 },
  );
  for (const repeated of ['\\:', 'pass', ':/', 'token=', ':a', 'a\\:/']) {
    t.ok(withoutSecrets(`:${repeated.repeat(200_000)}`).length > 1, repeated);
    t.throws(() => clientFromString(new Reactor(), `tea:${repeated.repeat(200_000)}`), {
      name: 'EndpointSyntaxError',
    });
  }
  t.end();
});
