/**
 * What the documentation promises, as rules that can be checked: code in Markdown is a region of a file in
 * docs/examples/, which the tests run; and links lead somewhere. `checkMarkdown` reads a folder tree and returns the
 * faults in it. docs/contributing.md says how a block of code is tied to a file.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { extname, join, posix } from 'node:path';
import { filesIn } from './modules.ts';

/** Languages whose blocks must be tied to a file, and the files' extension. */
const TIED: Readonly<Record<string, string>> = { ts: '.ts', python: '.py' };
/** Other names of those, which would slip through. */
const MISNAMED: Readonly<Record<string, string>> = {
  '': 'text',
  js: 'ts',
  javascript: 'ts',
  py: 'python',
  python3: 'python',
  tsx: 'ts',
  typescript: 'ts',
};

const TIE = /^\s*<!--\s*(docs\/examples\/[^\s#]+)(?:#(\S+))?\s*-->\s*$/;
const FENCE = /^(\s*)(`{3,}|~{3,})\s*(\S*)/;

/** The faults of README.md, its neighbors and docs/ in the folder `root`; none if all is well. */
export function checkMarkdown(root: string): string[] {
  const paths = [...readdirSync(root), ...filesIn(root, 'docs')];
  return paths
    .filter((path) => path.endsWith('.md'))
    .flatMap((path) => {
      const text = readFileSync(join(root, path), 'utf8');
      return [...codeFaults(root, path, text), ...linkFaults(root, path, text)];
    });
}

// ── Code ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A block of code in Markdown, or a comment that ties the next one to a file. */
interface Block {
  /** Of its first line, from 1. */
  readonly line: number;
  readonly language: string;
  readonly code: string;
  /** The file and region that it should equal. */
  readonly tie: { readonly path: string; readonly region: string | undefined } | undefined;
}

function* codeFaults(root: string, path: string, text: string): Generator<string> {
  for (const { line, language, code, tie } of blocksOf(text)) {
    const where = `${path}:${line}`;
    const extension = TIED[language];
    const better = MISNAMED[language];
    if (better !== undefined) {
      yield `${where}: a block of ${language || 'no language'}: call it ${better}`;
    } else if (tie === undefined) {
      if (extension === undefined) continue;
      yield `${where}: a block of ${language} that is not tied to a file: put <!-- docs/examples/… --> before it`;
    } else if (extension !== extname(tie.path)) {
      yield `${where}: a block of ${language} tied to ${tie.path}`;
    } else {
      const source = join(root, tie.path);
      const wanted = existsSync(source) ? readRegion(readFileSync(source, 'utf8'), tie.region) : [];
      const name = tie.region === undefined ? tie.path : `${tie.path}#${tie.region}`;
      if (wanted.length !== 1) {
        yield `${where}: there is ${wanted.length === 0 ? 'no' : 'more than one'} ${name}`;
      } else if (wanted[0] !== code) {
        yield `${where}: differs from ${name} (-):\n${difference(wanted[0] ?? '', code)}`;
      }
    }
  }
}

function* blocksOf(text: string): Generator<Block> {
  const lines = text.split('\n');
  let tie: Block['tie'];
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? '';
    const [, tiedTo, region] = TIE.exec(line) ?? [];
    const [, indent = '', fence, language = ''] = FENCE.exec(line) ?? [];
    if (fence !== undefined) {
      let end = i + 1;
      while (end < lines.length && lines[end]?.trim() !== fence) end++;
      const code = lines
        .slice(i + 1, end)
        .map((l) => (l.startsWith(indent) ? l.slice(indent.length) : l));
      yield { line: i + 1, language, code: trimBlank(code), tie };
      i = end;
    }
    // The formatter puts an empty line between the comment and the block.
    if (tiedTo !== undefined) tie = { path: tiedTo, region };
    else if (fence !== undefined || line.trim() !== '') tie = undefined;
  }
}

/**
 * The regions of that name in a file, which should be one, without their common indentation; the whole file if no
 * name is given. Regions may be nested; their marks are not part of any.
 */
export function readRegion(text: string, name?: string): string[] {
  const open: { name: string; lines: string[] }[] = [];
  const done: string[][] = [];
  const whole: string[] = [];
  for (const line of text.split('\n')) {
    const [, mark, begun] = /^\s*(?:\/\/|#) ?#(region|endregion)\b *(\S*)/.exec(line) ?? [];
    if (mark === 'region') {
      open.push({ name: begun ?? '', lines: [] });
    } else if (mark === 'endregion') {
      const last = open.pop();
      if (last?.name === name && last !== undefined) done.push(last.lines);
    } else {
      whole.push(line);
      for (const region of open) region.lines.push(line);
    }
  }
  return (name === undefined ? [whole] : done).map((lines) => trimBlank(dedent(lines)));
}

function dedent(lines: readonly string[]): string[] {
  const indents = lines.filter((line) => line.trim() !== '').map((line) => line.search(/\S/));
  const least = Math.min(...indents);
  return lines.map((line) => line.slice(least));
}

/** Joined, without empty lines at the start and the end and blanks at the ends of lines. */
function trimBlank(lines: readonly string[]): string {
  return lines
    .map((line) => line.trimEnd())
    .join('\n')
    .replace(/^\n+|\n+$/g, '');
}

/** The lines that are not the same, between those at the start and the end that are. */
function difference(wanted: string, got: string): string {
  const [a, b] = [wanted.split('\n'), got.split('\n')];
  let start = 0;
  while (start < a.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < Math.min(a.length, b.length) - start && a.at(-1 - end) === b.at(-1 - end)) end++;
  const minus = a.slice(start, a.length - end).map((line) => `  - ${line}`);
  const plus = b.slice(start, b.length - end).map((line) => `  + ${line}`);
  return [...minus, ...plus].join('\n');
}

// ── Links ────────────────────────────────────────────────────────────────────────────────────────────────────────────

const LINKS = [
  /\]\(\s*<?([^\s)>]+)>?[^)]*\)/g,
  /^\s*\[[^\]]+\]:\s*<?([^\s>]+)/gm,
  /\b(?:href|src)="([^"]*)"/g,
];

/** Where the links of a page lead to that are not to other sites. */
export function* linksOf(
  path: string,
  text: string,
): Generator<{ readonly target: string; readonly path: string; readonly anchor?: string }> {
  const prose = withoutCode(text);
  for (const [, target = ''] of LINKS.flatMap((pattern) => [...prose.matchAll(pattern)])) {
    if (/^([a-z][a-z0-9+.-]*:|\/\/)/i.test(target)) continue;
    const [file = '', anchor] = target.split('#', 2);
    const at = file === '' ? path : posix.join(posix.dirname(path), decodeURI(file));
    yield {
      target,
      path: file.startsWith('/') ? file : at,
      ...(anchor !== undefined && { anchor }),
    };
  }
}

function* linkFaults(root: string, path: string, text: string): Generator<string> {
  for (const { target, path: at, anchor } of linksOf(path, text)) {
    if (/^(\/|\.\.)/.test(at) || !existsSync(join(root, at))) {
      yield `${path}: the link ${target} leads nowhere`;
    } else if (anchor !== undefined && at.endsWith('.md')) {
      const headings = anchorsOf(readFileSync(join(root, at), 'utf8'));
      if (!headings.includes(anchor)) yield `${path}: the link ${target} leads to no heading`;
    }
  }
}

function withoutCode(text: string): string {
  return withoutBlocks(text).replace(/(`+)(?!`)[^]*?[^`]\1(?!`)/g, '');
}

/** The text without its blocks of code. */
export function withoutBlocks(text: string): string {
  let fence: string | undefined;
  const prose: string[] = [];
  for (const line of text.split('\n')) {
    const mark = FENCE.exec(line)?.[2];
    if (fence === undefined && mark === undefined) prose.push(line);
    else if (fence === undefined) fence = mark;
    else if (line.trim() === fence) fence = undefined;
  }
  return prose.join('\n');
}

/** What a link to a heading is called, as GitHub does it. */
function anchorsOf(text: string): string[] {
  const seen = new Map<string, number>();
  return [...withoutBlocks(text).matchAll(/^#{1,6} +(.*?) *#*$/gm)].map(([, heading = '']) => {
    const slug = heading
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-');
    const before = seen.get(slug) ?? 0;
    seen.set(slug, before + 1);
    return before === 0 ? slug : `${slug}-${before}`;
  });
}
