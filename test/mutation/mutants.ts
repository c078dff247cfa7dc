/**
 * Small faults that can be planted in a source, each by replacing one piece of its text: what a slip of the hand would
 * leave. Types, imports, what is thrown and what is logged are left alone: nothing but texts would change.
 */
import ts from 'typescript';

const { SyntaxKind: Kind } = ts;

/** A fault: between `from` and `to` stands `instead`. */
export interface Mutant {
  readonly from: number;
  readonly to: number;
  readonly instead: string;
  /** Counted from 1. */
  readonly line: number;
  /** What kind of change it is. */
  readonly kind: string;
  /** As `a < b -> a <= b`, on one line. */
  readonly what: string;
}

/** What takes the place of an operator. */
const OPERATORS = new Map<ts.SyntaxKind, readonly [instead: string, kind: string]>([
  [Kind.LessThanToken, ['<=', 'comparison']],
  [Kind.LessThanEqualsToken, ['<', 'comparison']],
  [Kind.GreaterThanToken, ['>=', 'comparison']],
  [Kind.GreaterThanEqualsToken, ['>', 'comparison']],
  [Kind.EqualsEqualsEqualsToken, ['!==', 'comparison']],
  [Kind.ExclamationEqualsEqualsToken, ['===', 'comparison']],
  [Kind.PlusToken, ['-', 'arithmetic']],
  [Kind.MinusToken, ['+', 'arithmetic']],
  [Kind.AsteriskToken, ['/', 'arithmetic']],
  [Kind.SlashToken, ['*', 'arithmetic']],
  [Kind.PercentToken, ['*', 'arithmetic']],
  [Kind.PlusEqualsToken, ['-=', 'arithmetic']],
  [Kind.MinusEqualsToken, ['+=', 'arithmetic']],
  [Kind.AmpersandAmpersandToken, ['||', 'conditional']],
  [Kind.BarBarToken, ['&&', 'conditional']],
]);

/** All that can be planted in a source, in the order of its text. */
export function mutantsOf(path: string, text: string): Mutant[] {
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, true);
  const mutants: Mutant[] = [];
  const add = (kind: string, node: ts.Node, instead: string, shown: ts.Node = node): void => {
    const [from, to] = [node.getStart(), node.end];
    const before = text.slice(shown.getStart(), shown.end);
    const after = text.slice(shown.getStart(), from) + instead + text.slice(to, shown.end);
    mutants.push({
      from,
      to,
      instead,
      kind,
      line: file.getLineAndCharacterOfPosition(from).line + 1,
      what: `${brief(before)} -> ${brief(after)}`,
    });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isThrowStatement(node)) add('statement', node, ';');
    if (ts.isThrowStatement(node) || isLeftAlone(node)) return;
    for (const [kind, part, instead] of changesOf(node)) add(kind, part, instead, node);
    ts.forEachChild(node, visit);
  };
  visit(file);
  return mutants.sort((a, b) => a.from - b.from || a.to - b.to);
}

/** The text with the fault in it. */
export function planted(text: string, { from, to, instead }: Mutant): string {
  return text.slice(0, from) + instead + text.slice(to);
}

function isLeftAlone(node: ts.Node): boolean {
  if (ts.isTypeNode(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node))
    return true;
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return true;
  if (ts.isNewExpression(node)) return /(Error|Failure)$/.test(node.expression.getText());
  return ts.isExpressionStatement(node) && /^log\.(debug|info|warn|error)\(/.test(node.getText());
}

type Change = readonly [kind: string, part: ts.Node, instead: string];

/** The parts of a node that can be changed, each into something else. */
function changesOf(node: ts.Node): Change[] {
  if (ts.isBinaryExpression(node)) return ofBinary(node);
  if (ts.isIfStatement(node) || ts.isWhileStatement(node))
    return [['conditional', node.expression, `!(${node.expression.getText()})`]];
  if (ts.isConditionalExpression(node))
    return [['conditional', node.condition, `!(${node.condition.getText()})`]];
  if (ts.isPrefixUnaryExpression(node) || ts.isPostfixUnaryExpression(node)) return ofUnary(node);
  if (node.kind === Kind.TrueKeyword) return [['boolean', node, 'false']];
  if (node.kind === Kind.FalseKeyword) return [['boolean', node, 'true']];
  if (ts.isNumericLiteral(node)) return ofNumber(node);
  if (ts.isReturnStatement(node)) {
    const { expression } = node;
    if (expression === undefined) return [['statement', node, ';']];
    return isUndefined(expression) ? [] : [['return', expression, 'undefined']];
  }
  if (ts.isExpressionStatement(node) || ts.isBreakStatement(node) || ts.isContinueStatement(node))
    return isSuper(node) ? [] : [['statement', node, ';']];
  if (isOptional(node)) {
    const { questionDotToken: mark } = node;
    const isCall = ts.isCallExpression(node) || ts.isElementAccessExpression(node);
    return [['optional chaining', mark, isCall ? '' : '.']];
  }
  if (ts.isIdentifier(node) && node.parent.getText() === `Math.${node.text}`) {
    if (node.text === 'min') return [['arithmetic', node, 'max']];
    if (node.text === 'max') return [['arithmetic', node, 'min']];
  }
  return [];
}

function ofBinary(node: ts.BinaryExpression): Change[] {
  const { operatorToken: operator, left, right } = node;
  if (operator.kind === Kind.QuestionQuestionToken)
    return isUndefined(right) ? [] : [['conditional', node, `(${left.getText()})`]];
  const other = OPERATORS.get(operator.kind);
  if (other === undefined) return [];
  // Of texts nothing comes but NaN, which any test sees.
  if (other[1] === 'arithmetic' && (isText(left) || isText(right))) return [];
  return [[other[1], operator, other[0]]];
}

function ofUnary(node: ts.PrefixUnaryExpression | ts.PostfixUnaryExpression): Change[] {
  const operand = node.operand.getText();
  const turned = (operator: string): string =>
    ts.isPrefixUnaryExpression(node) ? operator + operand : operand + operator;
  const { operator } = node;
  if (operator === Kind.ExclamationToken) return [['conditional', node, operand]];
  if (operator === Kind.PlusPlusToken) return [['arithmetic', node, turned('--')]];
  return operator === Kind.MinusMinusToken ? [['arithmetic', node, turned('++')]] : [];
}

/** One more; or, of what is large, a tenth: nobody notices 31 seconds, and 3 should be noticed. */
function ofNumber(node: ts.NumericLiteral): Change[] {
  const value = Number(node.text.replaceAll('_', ''));
  const instead = value >= 10 ? Math.round(value / 10) : value + 1;
  return [['number', node, String(instead)]];
}

function isText(node: ts.Expression): boolean {
  return (
    ts.isStringLiteralLike(node) ||
    ts.isTemplateExpression(node) ||
    (ts.isBinaryExpression(node) && (isText(node.left) || isText(node.right)))
  );
}

function isUndefined(node: ts.Node): boolean {
  return ts.isIdentifier(node) && node.text === 'undefined';
}

/** Without `super()` no object is made at all. */
function isSuper(node: ts.Node): boolean {
  return /^super\(/.test(node.getText());
}

function isOptional(node: ts.Node): node is ts.Node & { questionDotToken: ts.Node } {
  return (
    (ts.isPropertyAccessExpression(node) ||
      ts.isElementAccessExpression(node) ||
      ts.isCallExpression(node)) &&
    node.questionDotToken !== undefined
  );
}

function brief(text: string): string {
  const line = text.replace(/\s+/g, ' ');
  return line.length > 70 ? `${line.slice(0, 67)}...` : line;
}
