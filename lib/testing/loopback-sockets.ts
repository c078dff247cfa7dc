/**
 * A client and a server of the same protocol, joined by a real socket of this machine. A test that can do without one
 * uses `loopback`. Twisted: `loopbackTCP` and `loopbackUNIX` of `twisted.protocols.loopback`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Deferred } from '../defer.ts';
import { CancelledError } from '../errors.ts';
import { Failure } from '../failure.ts';
import type {
  HookResult,
  IConnector,
  IListeningPort,
  IProtocol,
  IReactorTCP,
  IReactorUNIX,
} from '../interfaces.ts';
import { ClientFactory, Factory } from '../protocol.ts';
import { reactor as theReactor } from '../reactor.ts';
import { StandIn } from '../wrapping.ts';

/** A protocol, and when its connection is lost. */
class Watched extends StandIn {
  readonly lost = new Deferred<void>();

  override connectionLost(reason: Failure): HookResult {
    try {
      return super.connectionLost(reason);
    } finally {
      if (!this.lost.called) this.lost.callback();
    }
  }
}

/** Takes one connection. */
class ServerFactory extends Factory {
  readonly #watched: Watched;
  #taken = false;

  constructor(watched: Watched) {
    super();
    this.noisy = false;
    this.#watched = watched;
  }

  /** Anyone on the machine can connect: the second one is a stranger. */
  override buildProtocol(): IProtocol | null {
    if (this.#taken) return null;
    this.#taken = true;
    return this.#watched;
  }
}

class LoopbackClientFactory extends ClientFactory {
  readonly ended = new Deferred<void>();
  readonly #client: IProtocol;

  constructor(client: IProtocol) {
    super();
    this.noisy = false;
    this.#client = client;
  }

  override buildProtocol(): IProtocol {
    return this.#client;
  }

  override clientConnectionFailed(_: IConnector, reason: Failure): void {
    if (!this.ended.called) this.ended.errback(reason);
  }

  override clientConnectionLost(): void {
    if (!this.ended.called) this.ended.callback();
  }
}

function converse(
  server: IProtocol,
  client: IProtocol,
  listen: (factory: Factory) => IListeningPort,
  connect: (port: IListeningPort, factory: ClientFactory) => IConnector,
): Deferred<void> {
  const watched = new Watched(server);
  const clientFactory = new LoopbackClientFactory(client);
  const port = listen(new ServerFactory(watched));
  let connector: IConnector | undefined;
  let isGivenUp = false;
  const done = new Deferred<void>(() => {
    isGivenUp = true;
    connector?.disconnect();
    if (!clientFactory.ended.called) clientFactory.ended.errback(new CancelledError());
  });
  port.ready
    .addCallback(() => {
      if (!isGivenUp) connector = connect(port, clientFactory);
      return clientFactory.ended;
    })
    .addCallback(() => watched.lost)
    .addBoth((outcome) => {
      const connections = outcome instanceof Failure ? 'abort' : 'keep';
      return port.stopListening({ connections }).addCallback(() => outcome);
    })
    .addBoth((outcome) => {
      if (done.called) return;
      if (outcome instanceof Failure) done.errback(outcome);
      else done.callback();
    });
  return done;
}

/** Options of {@link loopbackTCP}. */
export interface LoopbackTCPOptions {
  /** Default: any free one. */
  readonly port?: number;
  /** Default: the process's reactor. */
  readonly reactor?: IReactorTCP;
}

/**
 * Lets two protocols talk over a TCP connection of this machine until both have lost it, and then fires. Fails if there
 * is no connection. Cancelling aborts it.
 *
 * ```ts
 * await loopbackTCP(new Greeting(), new Listener());
 * ```
 */
export function loopbackTCP(
  server: IProtocol,
  client: IProtocol,
  options: LoopbackTCPOptions = {},
): Deferred<void> {
  const { port = 0, reactor = theReactor } = options;
  const here = { interface: '127.0.0.1' };
  return converse(
    server,
    client,
    (factory) => reactor.listenTCP(port, factory, here),
    (listening, factory) => {
      const { port: number } = listening.getHost() as { readonly port: number };
      return reactor.connectTCP(here.interface, number, factory);
    },
  );
}

/**
 * As {@link loopbackTCP}, over a UNIX socket in a folder of its own, which is removed.
 *
 * ```ts
 * await loopbackUNIX(new Greeting(), new Listener());
 * ```
 */
export function loopbackUNIX(
  server: IProtocol,
  client: IProtocol,
  options: { readonly reactor?: IReactorUNIX } = {},
): Deferred<void> {
  const { reactor = theReactor } = options;
  const folder = mkdtempSync(join(tmpdir(), 'plait-loopback-'));
  const path = join(folder, 'socket');
  return converse(
    server,
    client,
    (factory) => reactor.listenUNIX(path, factory),
    (_, factory) => reactor.connectUNIX(path, factory),
  ).addBoth((outcome) => {
    rmSync(folder, { recursive: true, force: true });
    return outcome;
  });
}
