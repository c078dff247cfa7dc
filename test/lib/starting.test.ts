/**
 * What cannot be started does not go unnoticed: ports that cannot be bound.
 */
import { createServer } from 'node:net';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import {
  CannotListenError,
  Factory,
  type IStreamServerEndpoint,
  fail,
  StreamServerEndpointService,
} from 'plait';
import { flushLoggedErrors, Simulation } from 'plait/testing';
import { run } from '../child.ts';
import t from '../fixture.ts';

t.test(
  'FND-10: a port that cannot be bound, and is not asked about, ends the program',
  async (t) => {
    const tcp = createServer().listen(0, '127.0.0.1');
    await once(tcp, 'listening');
    const udp = createSocket('udp4').bind(0, '127.0.0.1');
    await once(udp, 'listening');
    t.teardown(() => {
      tcp.close();
      udp.close();
    });
    const { port } = tcp.address() as { port: number };
    const datagrams = udp.address().port;
    const on = `{ interface: '127.0.0.1' }`;
    const listen = `reactor.listenTCP(${port}, new Factory(), ${on})`;
    const programs: Readonly<Record<string, string>> = {
      'without run': `${listen}; setInterval(() => {}, 1000);`,
      'listenUNIX in run': `reactor.run(); reactor.listenUNIX('/proc/none', new Factory());`,
      'listenUDP in run': `reactor.run(); reactor.listenUDP(${datagrams}, new DatagramProtocol(), ${on});`,
      'in react': `react(() => { ${listen}; return new Deferred(); });`,
      'a service': `reactor.run(); serviceFromString(reactor, 'tcp:${port}:interface=127.0.0.1', new Factory()).startService();`,
      'a service of an endpoint': `reactor.run(); new StreamServerEndpointService(new TCP4ServerEndpoint(reactor, ${port}, ${on}), new Factory()).startService();`,
    };
    await Promise.all(
      Object.entries(programs).map(async ([name, program]) => {
        const { code, stderr } = await run(
          t,
          `
        import { Deferred, DatagramProtocol, Factory, react, reactor, serviceFromString, StreamServerEndpointService, TCP4ServerEndpoint } from 'plait';
        ${program}
        `,
        );
        t.equal(code, 1, name);
        t.match(stderr, /CannotListenError: .*(in use|EACCES|ENOENT|permission|no such)/i, name);
      }),
    );
    const taken = await run(
      t,
      `
    import { CannotListenError, Factory, reactor, serviceFromString } from 'plait';
    ${listen}.ready.addErrback((failure) => console.log(failure.trap(CannotListenError).code));
    const port = ${listen};
    const service = serviceFromString(reactor, 'tcp:${port}:interface=127.0.0.1', new Factory());
    service.whenListening().addErrback((failure) => console.log(failure.trap(CannotListenError).code));
    service.startService();
    await port.ready.asPromise().catch((error) => console.log(error.code));
    `,
    );
    t.same(taken, { code: 0, signal: null, stdout: 'EADDRINUSE\n'.repeat(3), stderr: '' });
  },
);

t.test('FND-10: in a simulation it fails the scenario', async (t) => {
  const sim = new Simulation();
  const { reactor } = sim.host('server');
  reactor.listenTCP(7, new Factory());
  const second = reactor.listenTCP(7, new Factory());
  await t.rejects(sim.settle(), CannotListenError);
  await t.rejects(second.ready.asPromise(), CannotListenError);
});

t.test('FND-10: what a service fails with may be asked for in the same turn', async (t) => {
  const error = new CannotListenError('port 7', 7, new Error('in use'));
  const endpoint: IStreamServerEndpoint = { listen: () => fail(error) };
  const service = new StreamServerEndpointService(endpoint, new Factory());
  service.startService();
  await t.rejects(service.whenListening().asPromise(), CannotListenError);
  await service.stopService();
  t.equal(flushLoggedErrors(CannotListenError).length, 1);
  service.startService();
  await service.stopService();
  t.equal(flushLoggedErrors(CannotListenError).length, 1, 'nor where it was stopped again');
});
