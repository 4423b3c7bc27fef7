// The screen that needs no model; the algorithm is told in ourvidz/safety/lexical.py, and the two give the same verdicts.

import { isAscii, LETTER, NUMERIC, size } from "./characters.ts";
import { isDrawing } from "./drawing.ts";
import { type Looked, readings, View } from "./reading.ts";
import { isGap, isNumber, loadRules, type Pattern, type Rules, type Terms } from "./rules.ts";
import { nameOf, type PromptScreen, ScreenUnavailable, type Verdict } from "./screen.ts";

export class LexicalScreen implements PromptScreen {
  #rules: Rules | undefined;

  /** The tables are read at the first `check` and, if they were not right, again at the next. */
  constructor(private readonly terms: Terms) {}

  check(text: string): Verdict {
    try {
      const rules = this.#rules ??= loadRules(this.terms);
      if (typeof text !== "string") throw new TypeError("no text");
      if (text.length > 2 * rules.maxText || size(text) > rules.maxText) throw new RangeError("too long");
      const [category, rule] = refusal(rules, text) ?? [null, null];
      return { allowed: rule === null, policy_version: rules.policyVersion, category, rule_id: rule };
    } catch (error) {
      throw new ScreenUnavailable(`the lexical screen could not answer (${nameOf(error)}); the job does not run`);
    }
  }
}

/** Category and rule of a text in which letters are drawn, or that no table can read. */
const UNREADABLE = ["unreadable", "und/unreadable"] as const;

/** Category and id of the rule that refuses the text. */
function refusal(rules: Rules, given: string): readonly [string, string] | undefined {
  const minors = (rule: string) => [rules.category, rule] as const;
  const text = rules.folding.known(given);
  const exact = isAscii(text) ? undefined : first(words(rules, rules.folding.withMarks(text)), (word) => rules.exact.get(word));
  if (exact) return minors(exact);
  const folded = rules.folding.fold(text);
  if (isUnreadable(rules, text, folded)) return UNREADABLE;
  const upright = rules.folding.upright(text);
  const rule = refusing(rules, folded) ?? (upright === "" ? undefined : refusing(rules, rules.folding.fold(upright)));
  return rule === undefined ? undefined : rule === UNREADABLE[1] ? UNREADABLE : minors(rule);
}

function refusing(rules: Rules, folded: string): string | undefined {
  const starred = first(starredWords(rules, folded), (word) => rules.starred().get(word));
  if (starred) return starred;
  const looked = new Map<string, Looked>();
  return first(readings(rules, folded), (reading) => {
    const plain = View.plain(rules, reading);
    if (plain.scattered) return UNREADABLE[1];
    const view = plain.hiding(harmless(plain), looked);
    return byWord(view) ?? byPart(view) ?? byPattern(view);
  });
}

function isUnreadable(rules: Rules, text: string, folded: string): boolean {
  if (holds(text, rules.unreadable) || isDrawing(rules.characters, folded)) return true;
  return size(folded) > 2 * size(text) + 100;
}

function first<T>(all: Iterable<T>, rule: (one: T) => string | undefined): string | undefined {
  for (const one of all) {
    const found = rule(one);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Runs of letters. */
function* words(rules: Rules, text: string): Generator<string> {
  let word = "";
  for (const char of text) {
    if (rules.characters.is(char, LETTER | NUMERIC)) word += char;
    else if (word) {
      yield word;
      word = "";
    }
  }
  if (word) yield word;
}

/** Words with wild characters between their letters, each of these as a star. */
function* starredWords(rules: Rules, folded: string): Generator<string> {
  let word = "", star = false;
  for (const char of folded) {
    const isWild = rules.wild.has(char);
    if (rules.characters.is(char, LETTER | NUMERIC)) {
      word += (star ? "*" : "") + char;
      star = false;
    } else if (isWild && word && !star) star = true;
    else {
      if (word.includes("*")) yield word;
      word = "";
      star = false;
    }
  }
  if (word.includes("*")) yield word;
}

/** The tokens of harmless sequences. Punctuation parts them: "say no. Kids ..." is not "no kids". */
function harmless(view: View): Set<number> {
  const { rules } = view;
  const tokens = new Set<number>();
  if (!view.tokens.some((token) => rules.excuses.has(token)) && !rules.excusingSigns.test(view.tokens.join(""))) return tokens;
  for (const pattern of possible(view, rules.harmless, rules.harmlessByClass)) {
    for (const [start, end] of found(view, pattern)) {
      if (view.gaps.slice(start + 1, end).some((gap) => holds(gap, view.rules.punctuation))) continue;
      for (let i = start; i < end; i++) tokens.add(i);
    }
  }
  return tokens;
}

function byWord(view: View): string | undefined {
  for (const found of view.words) for (const [meaning] of found) if (meaning.includes("/")) return meaning;
  return undefined;
}

function byPart(view: View): string | undefined {
  const { stems, stemSizes, inside, insideSizes, odd, parts } = view.rules;
  const long = [...new Set(view.longWords())];
  let lines = "\n" + long.join("\n");
  if (odd.test(lines)) lines = "\n" + long.flatMap((word) => view.forms(word)).join("\n");
  if (!parts.test(lines)) return undefined;
  return first(long, (word) =>
    first(view.forms(word), (form) => {
      const stem = first(stemSizes, (length) => stems.get(form.slice(0, length)));
      if (stem) return stem;
      for (let start = 0; start < form.length; start++) {
        const rule = first(insideSizes, (length) => inside.get(form.slice(start, start + length)));
        if (rule) return rule;
      }
      return undefined;
    }));
}

function byPattern(view: View): string | undefined {
  const { patterns, patternsByClass } = view.rules;
  return first(possible(view, patterns, patternsByClass), (pattern) => found(view, pattern).next().done ? undefined : pattern.ruleId);
}

/** The patterns of which the text has every class, in their order. */
function possible(view: View, patterns: readonly Pattern[], byClass: ReadonlyMap<string, readonly number[]>): Pattern[] {
  const { places } = view;
  const numbers = [...places.keys()].flatMap((meaning) => byClass.get(meaning) ?? []);
  return numbers.filter((number) => patterns[number]!.needs.every((need) => places.has(need))).sort((a, b) => a - b).map((number) =>
    patterns[number]!
  );
}

/** Where the pattern is in the text: its first token, and the token after it. */
function* found(view: View, pattern: Pattern): Generator<[number, number]> {
  for (const i of view.starts(pattern)) {
    const end = match(view, pattern, 0, i);
    if (end !== undefined) yield [i, end];
  }
}

/** The token after items k, k + 1, … of the pattern where they begin at token i. */
function match(view: View, pattern: Pattern, k: number, i: number): number | undefined {
  const item = pattern.items[k];
  if (item === undefined) return i;
  if (isGap(item)) {
    const gap = view.gaps[i]!;
    const here = item === "_"
      ? gap === ""
      : item === "-"
      ? holds(gap, view.rules.dashes)
      : i === view.tokens.length || holds(gap, view.rules.punctuation);
    return here ? match(view, pattern, k + 1, i) : undefined;
  }
  if (item.startsWith("!")) {
    const there = item === "!M" ? view.numbers(pattern.language).has(i) : view.endOf(item.slice(1), i) !== undefined;
    return there ? undefined : match(view, pattern, k + 1, i);
  }
  if (isNumber(item)) {
    const number = view.numberAt(pattern, item, i);
    return number === undefined ? undefined : match(view, pattern, k + 1, number[1]);
  }
  // A word may be read with more or fewer of the pieces that follow.
  for (const [meaning, end] of view.words[i] ?? []) {
    const after = meaning === item ? match(view, pattern, k + 1, end) : undefined;
    if (after !== undefined) return after;
  }
  return undefined;
}

function holds(gap: string, chars: ReadonlySet<string>): boolean {
  for (const char of gap) if (chars.has(char)) return true;
  return false;
}
