/**
 * Real programs for the tests to talk to: clamd, nginx, curl, and Python with Twisted, as Debian packages them. Each
 * server runs on a free port of 127.0.0.1, in a temporary folder of its own, in the foreground, and is stopped through
 * its own handle at the end of the test. `.ci/run` installs the packages.
 */
import { spawn, spawnSync, type ChildProcess, type ChildProcessByStdio } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import type { Test } from '../fixture.ts';

// ── Which programs there are ─────────────────────────────────────────────────────────────────────────────────────────

/** The programs that tests need, and the Debian packages that they come from. */
const PACKAGES = {
  clamd: 'clamav-daemon',
  curl: 'curl',
  nginx: 'nginx-light',
  openssl: 'openssl',
  python: 'python3-twisted',
} as const;

/** A program that tests need. `python` is one that can import Twisted. */
export type Program = keyof typeof PACKAGES;

/** Debian's python3, which has Debian's Twisted; the one in the PATH may be another. */
const PYTHON = process.env['PLAIT_PYTHON'] ?? '/usr/bin/python3';

/**
 * True if all of the programs are there. If one is missing, the test is skipped and the reason told; with CI set it
 * fails, since there everything has been installed: `if (!needs(t, 'clamd')) return;`, first thing in a test.
 */
export function needs(t: Test, ...programs: Program[]): boolean {
  const missing = programs.filter((program) => find(program) === undefined);
  if (missing.length === 0) return true;
  const packages = missing.map((program) => PACKAGES[program]).join(' ');
  lacks(t, `no ${missing.join(', ')} on this machine: apt-get install ${packages}`);
  return false;
}

/** Ends a test that lacks something that may not be on every machine: it is skipped; with CI set it fails. */
export function lacks(t: Test, reason: string): void {
  if (['', 'false'].includes(process.env['CI'] ?? '')) t.plan(0, reason);
  else t.fail(reason);
}

const found = new Map<Program, string | undefined>();

/** The path of a program; undefined if it is missing. */
function find(program: Program): string | undefined {
  if (!found.has(program))
    found.set(program, program === 'python' ? findPython() : inPath(program));
  return found.get(program);
}

function inPath(name: string): string | undefined {
  // An ordinary user's PATH often lacks the folders of servers.
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

function findPython(): string | undefined {
  const { status } = spawnSync(PYTHON, ['-c', 'import twisted.internet'], { stdio: 'ignore' });
  return status === 0 ? PYTHON : undefined;
}

function pathOf(program: Program): string {
  const path = find(program);
  if (path === undefined) throw new Error(`cannot start ${program}: there is none on this machine`);
  return path;
}

// ── A running program ────────────────────────────────────────────────────────────────────────────────────────────────

/** How a program ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

/** Seconds for a server to accept connections, and for a program to obey SIGTERM. */
const SECONDS_TO_START = 30;
const SECONDS_TO_STOP = 5;

/** Those that run now, lest they outlive a process that ends in the middle of a test. */
const alive = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of alive) child.kill('SIGKILL');
});

/** A program started for a test; it is stopped when the test ends, unless it ended by itself. */
export class Running {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #stdout: Buffer[] = [];
  readonly #stderr: Buffer[] = [];
  /** Fires once the program has ended and all that it printed has arrived. */
  readonly ended: Promise<Ended>;

  constructor(t: Test, command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    const child = spawn(command, args, { env: { ...process.env, ...env } });
    this.#child = child;
    child.stdout.on('data', (data: Buffer) => this.#stdout.push(data));
    child.stderr.on('data', (data: Buffer) => this.#stderr.push(data));
    // It may end before it has read all that it is sent.
    child.stdin.on('error', () => {});
    this.ended = new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code, signal) => {
        const [stdout, stderr] = [Buffer.concat(this.#stdout), Buffer.concat(this.#stderr)];
        resolve({ code, signal, stdout, stderr });
      });
    });
    this.ended.catch(() => {});
    alive.add(child);
    child.on('exit', () => alive.delete(child));
    t.teardown(() => this.stop());
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get stdin(): Writable {
    return this.#child.stdin;
  }

  /** What it has printed so far, to both, for a message. */
  get output(): string {
    return Buffer.concat([...this.#stdout, ...this.#stderr]).toString();
  }

  /** The first line that it prints to standard output; rejects if it ends without. */
  async firstLine(): Promise<string> {
    const ended = this.ended.then(() => true);
    for (let over = false; ;) {
      const [line, rest] = Buffer.concat(this.#stdout).toString().split('\n', 2);
      if (line !== undefined && rest !== undefined) return line;
      if (over) throw new Error(`ended without a line of output: ${this.output}`);
      over = await Promise.race([once(this.#child.stdout, 'data').then(() => false), ended]);
    }
  }

  /**
   * Ends it with SIGTERM, or with SIGKILL if it does not obey. Returns once it has ended.
   *
   * @param patience seconds between the two
   */
  async stop(patience = SECONDS_TO_STOP): Promise<void> {
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), patience * 1000);
    await this.ended.catch(() => {});
    clearTimeout(timer);
  }

  /** Waits until something accepts connections there; rejects if the program ends first, or takes too long. */
  async accepts(where: { host: string; port: number } | { path: string }): Promise<void> {
    let end: Error | undefined;
    this.ended.then(
      ({ code, signal }) => (end = new Error(`ended with ${code ?? signal}`)),
      (error: unknown) => (end = error as Error),
    );
    const deadline = Date.now() + SECONDS_TO_START * 1000;
    while (!(await canConnect(where))) {
      if (end === undefined && Date.now() > deadline) end = new Error('took too long');
      if (end === undefined) continue;
      const place = 'path' in where ? where.path : `${where.host}:${where.port}`;
      throw new Error(`nothing came to listen on ${place}: ${end.message}: ${this.output}`);
    }
  }
}

/** Tries once, and takes a moment about it if there is nobody. */
async function canConnect(
  where: { host: string; port: number } | { path: string },
): Promise<boolean> {
  const socket = connect(where);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    await new Promise((resolve) => setTimeout(resolve, 20));
    return false;
  } finally {
    socket.destroy();
  }
}

/**
 * A port of 127.0.0.1 that is free now. It is below those that the system gives to outgoing connections, lest one of
 * them takes it before the program does that it is meant for.
 */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 15_000 + Math.floor(Math.random() * 15_000);
    const server = createServer();
    try {
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
    } catch {
      continue;
    }
    const closed = once(server, 'close');
    server.close();
    await closed;
    return port;
  }
}

/** A new folder with a short name (the path of a UNIX socket is limited), removed when the test ends. */
function temporaryFolder(t: Test, files: Readonly<Record<string, string | Buffer>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'plait-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

// ── The programs ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** The file that every scanner takes for a virus: put together here, lest a scanner takes this file for one. */
export function eicar(): Buffer {
  return Buffer.from(
    ['X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD', '-ANTIVIRUS-TEST-FILE!$H+H*'].join(''),
  );
}

/**
 * A clamd that knows one signature, that of {@link eicar}. It calls it `Eicar-Test-Signature.UNOFFICIAL`, since the
 * signature is not one of those that ClamAV signs.
 */
export interface Clamd {
  readonly host: string;
  readonly port: number;
  /** The UNIX socket. */
  readonly path: string;
  /** A folder that it may read, for commands that scan a path. */
  readonly folder: string;
  readonly process: Running;
}

/**
 * Starts clamd, and returns once it accepts connections on both its sockets.
 *
 * @param options.streamMaxLength how much INSTREAM takes, as clamd.conf has it: `100K`; default `1M`
 * @param options.config more lines for clamd.conf
 */
export async function startClamd(
  t: Test,
  options: { streamMaxLength?: string; config?: string } = {},
): Promise<Clamd> {
  const virus = eicar();
  const md5 = createHash('md5').update(virus).digest('hex');
  const folder = temporaryFolder(t, {
    'db/eicar.hdb': `${md5}:${virus.length}:Eicar-Test-Signature\n`,
  });
  const [host, port, path] = ['127.0.0.1', await freePort(), join(folder, 'clamd.sock')];
  // Without `User` it stays who it is. It logs to standard output, since there is no LogFile.
  const config = `
    Foreground yes
    DatabaseDirectory ${folder}/db
    TemporaryDirectory ${folder}
    LocalSocket ${path}
    TCPAddr ${host}
    TCPSocket ${port}
    StreamMaxLength ${options.streamMaxLength ?? '1M'}
    MaxThreads 4
    ${options.config ?? ''}`;
  writeFileSync(join(folder, 'clamd.conf'), config.replace(/^ +/gm, ''));
  const process = new Running(t, pathOf('clamd'), ['--config-file', join(folder, 'clamd.conf')]);
  await process.accepts({ host, port });
  await process.accepts({ path });
  return { host, port, path, folder, process };
}

/** An nginx. */
export interface Nginx {
  readonly host: string;
  readonly port: number;
  /** `http://127.0.0.1:<port>`, without a slash at the end. */
  readonly url: string;
  /** Where its files are. */
  readonly folder: string;
  readonly process: Running;
}

/**
 * Starts nginx, and returns once it accepts connections.
 *
 * @param config what stands in its one `server { … }`, besides `listen` and `root`
 * @param options.files what it serves, by path
 * @param options.listen more parameters of `listen`, as in `ssl`
 */
export async function startNginx(
  t: Test,
  config: string,
  options: { files?: Readonly<Record<string, string | Buffer>>; listen?: string } = {},
): Promise<Nginx> {
  const files = Object.entries(options.files ?? {}).map(([path, text]) => [`html/${path}`, text]);
  const folder = temporaryFolder(t, {
    'html/index.html': 'it works\n',
    ...(Object.fromEntries(files) as Record<string, string>),
  });
  const [host, port] = ['127.0.0.1', await freePort()];
  // One process, so that its own handle stops it, and as whom it was started, so that it can read the folder.
  const text = `
    daemon off;
    master_process off;
    pid ${folder}/nginx.pid;
    error_log stderr;
    events {}
    http {
      access_log off;
      default_type text/plain;
      client_body_temp_path ${folder}/body;
      proxy_temp_path ${folder}/proxy;
      fastcgi_temp_path ${folder}/fastcgi;
      uwsgi_temp_path ${folder}/uwsgi;
      scgi_temp_path ${folder}/scgi;
      server {
        listen ${host}:${port} ${options.listen ?? ''};
        root ${folder}/html;
        ${config}
      }
    }`;
  writeFileSync(join(folder, 'nginx.conf'), text);
  const args = ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', 'stderr'];
  const process = new Running(t, pathOf('nginx'), args);
  await process.accepts({ host, port });
  return { host, port, url: `http://${host}:${port}`, folder: join(folder, 'html'), process };
}

/**
 * Runs a Python program with Debian's Twisted.
 *
 * @param script the path of a file that ends in `.py`, or else the program itself
 */
export function python(t: Test, script: string, args: readonly string[] = []): Running {
  const program = script.endsWith('.py') ? [script] : ['-c', script];
  return new Running(t, pathOf('python'), [...program, ...args], {
    PYTHONUNBUFFERED: '1',
    PYTHONDONTWRITEBYTECODE: '1',
  });
}

/** Runs curl to its end; it says nothing but errors, uses no proxy and no file of settings, and ends in time. */
export function curl(t: Test, ...args: string[]): Promise<Ended> {
  const quiet = ['-q', '--silent', '--show-error', '--noproxy', '*'];
  const limits = ['--max-time', String(SECONDS_TO_START)];
  return new Running(t, pathOf('curl'), [...quiet, ...limits, ...args]).ended;
}

/** Runs openssl to its end. */
export function openssl(t: Test, ...args: string[]): Promise<Ended> {
  return new Running(t, pathOf('openssl'), args).ended;
}
