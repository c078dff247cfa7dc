/**
 * The contracts of the framework, types only: what a protocol may ask of a transport, a transport of a protocol, and
 * anybody of a reactor. They are small on purpose: code should ask for the smallest one that it needs
 * (`IReactorTime`, not the whole reactor), so that a test can hand it a double. Twisted:
 * `twisted.internet.interfaces`.
 */
export type * from './interfaces/hooks.ts';
export type * from './interfaces/time.ts';
export type * from './interfaces/reactor.ts';
export type * from './interfaces/names.ts';
export type * from './interfaces/datagrams.ts';
export type * from './interfaces/processes.ts';
export type * from './interfaces/streams.ts';
