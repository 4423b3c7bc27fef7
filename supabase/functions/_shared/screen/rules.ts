// The tables that ourvidz/safety/edge_data.py wrote, as the screen looks into them. Throws on data that is not right.

import { Characters, DROPPED, isDigit, LETTER, NUMERAL, NUMERIC, SIGN, SPACE, UNKNOWN } from "./characters.ts";
import { Folding, MANY_VS } from "./fold.ts";

/** terms.json. A `Keys` table has of each value its keys in one text, with spaces between words and nothing between characters. */
export interface Terms {
  policy_version: string;
  category: string;
  max_text: number;
  unknown: string;
  dropped: string;
  letters: string;
  numerics: string;
  spaces: string;
  signs: string;
  numerals: string;
  punctuation: string;
  dashes: string;
  strokes: string;
  digits: Keys;
  casefold: string[][];
  replace: Keys;
  lookalikes: Keys;
  same: string[][];
  leet: Keys;
  turned: Keys;
  wild: string;
  closing: string;
  unreadable: string;
  roman: Record<string, number>;
  calendars: Record<string, number>;
  meanings: Keys;
  numbers: Record<string, Keys>;
  inside: Keys;
  stems: Keys;
  exact: Keys;
  apart: string[];
  patterns: (string | number)[][];
  harmless: (string | number)[][];
  complete: boolean;
}
type Keys = Record<string, string>;

export interface Pattern {
  readonly ruleId: string;
  readonly language: string;
  readonly items: readonly string[];
  readonly above: number;
  readonly below: number;
  /** The classes without which the pattern cannot be in a text. */
  readonly needs: readonly string[];
  /** The class right after the first item, if nothing but gaps and what must not be there come between. */
  readonly second: string | undefined;
}

export const isNumber = (item: string): boolean => item.length === 1 && "NMRXYZ".includes(item);
export const isGap = (item: string): boolean => item.length === 1 && "|-_".includes(item);

export interface Rules {
  readonly policyVersion: string;
  readonly category: string;
  readonly maxText: number;
  readonly characters: Characters;
  readonly folding: Folding;
  readonly wild: ReadonlySet<string>;
  readonly closing: ReadonlySet<string>;
  readonly punctuation: ReadonlySet<string>;
  readonly dashes: ReadonlySet<string>;
  readonly strokes: ReadonlySet<string>;
  readonly unreadable: ReadonlySet<string>;
  readonly symbols: ReadonlySet<string>;
  /** Without any of these a text has but one reading. */
  readonly disguises: RegExp;
  /** What a word has that may be spelled otherwise. */
  readonly odd: RegExp;
  readonly roman: ReadonlyMap<string, number>;
  readonly calendars: ReadonlyMap<string, number>;
  readonly year: () => number;
  readonly meanings: ReadonlyMap<string, readonly string[]>;
  /** Word → the languages in which it is a number, and its value there. */
  readonly numberWords: ReadonlyMap<string, readonly (readonly [string, number])[]>;
  readonly known: { has(word: string): boolean };
  /** Finds a stem at the beginning of a line, or what a word may hold anywhere: which lines are worth a closer look. */
  readonly parts: RegExp;
  readonly patternsByClass: ReadonlyMap<string, readonly number[]>;
  readonly harmlessByClass: ReadonlyMap<string, readonly number[]>;
  /** Words without one of which no harmless sequence is in a text; and those of them that are more than one token. */
  readonly excuses: ReadonlySet<string>;
  readonly excusingSigns: RegExp;
  readonly inside: ReadonlyMap<string, string>;
  readonly insideSizes: readonly number[];
  readonly stems: ReadonlyMap<string, string>;
  readonly stemSizes: readonly number[];
  readonly exact: ReadonlyMap<string, string>;
  readonly apart: ReadonlySet<string>;
  readonly starred: () => ReadonlyMap<string, string>;
  readonly patterns: readonly Pattern[];
  readonly harmless: readonly Pattern[];
  /** Whether a known word begins like this. Its last letter may be read as another with the next one (r n), or be one of many (eee). */
  readonly begins: (form: string) => boolean;
  readonly longest: number;
}

export function loadRules(terms: Terms): Rules {
  // Vithkuqi came with Unicode 14: what is older would not normalise all the characters that Python knows.
  if (!/^\p{L}$/u.test("\u{10570}")) throw new RangeError("this runtime's Unicode is older than 14");
  const characters = new Characters();
  const kinds = { unknown: UNKNOWN, dropped: DROPPED, letters: LETTER, numerics: NUMERIC, spaces: SPACE, signs: SIGN } as const;
  for (const [name, kind] of Object.entries(kinds)) characters.mark(terms[name as keyof typeof kinds], kind);
  for (const char of terms.numerals) characters.mark(char.codePointAt(0)!.toString(16), NUMERAL);
  const inside = byKey(terms.inside, " ");
  const stems = byKey(terms.stems, " ");
  const meanings = new Map([...byKey(terms.meanings, " ")].map(([word, means]) => [word, means.split(" ")]));
  const numberWords = valued(terms.numbers);
  const words = [...meanings.keys(), ...numberWords.keys()];
  const patterns = terms.patterns.map(pattern);
  if (terms.complete !== true || !terms.policy_version || !terms.category || !(terms.max_text > 0) || !meanings.size || !patterns.length) {
    throw new RangeError("terms.json is not complete");
  }
  const harmless = terms.harmless.map(pattern);
  const harmlessByClass = byClass(harmless, meanings);
  const excuses = new Set([...meanings].filter(([, means]) => means.some((meaning) => harmlessByClass.has(meaning))).map(([word]) => word));
  return {
    policyVersion: terms.policy_version,
    category: terms.category,
    maxText: terms.max_text,
    characters,
    folding: new Folding(
      characters,
      new Map(Object.entries(terms.replace)),
      byKey(terms.lookalikes, ""),
      byKey(terms.digits, ""),
      new Map(terms.casefold.map(pair)),
      terms.same.map(pair),
      new Map(Object.entries(terms.leet)),
      new Map(Object.entries(terms.turned)),
    ),
    wild: new Set([...terms.wild]),
    closing: new Set([...terms.closing]),
    punctuation: new Set([...terms.punctuation]),
    dashes: new Set([...terms.dashes]),
    strokes: new Set([...terms.strokes]),
    unreadable: new Set([...terms.unreadable]),
    symbols: new Set(Object.keys(terms.leet).filter((char) => !isDigit(char))),
    disguises: new RegExp(`[${escaped(Object.keys(terms.leet).join("") + terms.closing)}0-9]`),
    odd: new RegExp(
      `[${escaped(Object.keys(terms.leet).join(""))}]|${terms.same.map((row) => escaped(row[0]!)).join("|")}|${MANY_VS}|(.)\\1\\1`,
      "su",
    ),
    roman: new Map(Object.entries(terms.roman)),
    calendars: new Map(Object.entries(terms.calendars)),
    year: () => new Date().getUTCFullYear(),
    meanings,
    numberWords,
    known: { has: (word) => meanings.has(word) || numberWords.has(word) },
    parts: new RegExp(`\n(?:${trie(stems.keys())})|${trie(inside.keys())}`),
    patternsByClass: byClass(patterns, meanings),
    harmlessByClass,
    excuses,
    excusingSigns: new RegExp(trie([...excuses].filter((word) => /[^\0-\x7f]/.test(word)))),
    inside,
    insideSizes: sizes(inside),
    stems,
    stemSizes: sizes(stems),
    exact: byKey(terms.exact, " "),
    apart: new Set([...terms.apart]),
    starred: lazily(() => starred(meanings)),
    patterns,
    harmless,
    begins: beginner(words, terms.same),
    longest: Math.max(...[...words, ...inside.keys()].map((word) => word.length)),
  };
}

function beginner(words: readonly string[], same: readonly string[][]): (form: string) => boolean {
  const beginnings = new Set(words.flatMap((word) => Array.from({ length: word.length + 1 }, (_, length) => word.slice(0, length))));
  const halfRead = new Set([...same.filter(([said]) => said!.length > 1).map(([said]) => said![0]!), "w"]);
  return (form) => {
    if (beginnings.has(form)) return true;
    const last = form.slice(-1);
    return (halfRead.has(last) || form.at(-2) === last) && beginnings.has(form.slice(0, -1));
  };
}

function byKey(table: Keys, between: string): Map<string, string> {
  const entries = Object.entries(table).flatMap(([value, keys]) =>
    (between ? keys.split(between) : [...keys]).map((key) => [key, value] as const)
  );
  if (entries.some(([key]) => key === "")) throw new RangeError("a table has an empty key");
  return new Map(entries);
}

function valued(numbers: Record<string, Keys>): Map<string, [string, number][]> {
  const found = new Map<string, [string, number][]>();
  for (const [code, words] of Object.entries(numbers)) {
    for (const [word, value] of byKey(words, " ")) {
      const values = found.get(word);
      if (values) values.push([code, Number(value)]);
      else found.set(word, [[code, Number(value)]]);
    }
  }
  return found;
}

function lazily<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => made ??= make();
}

const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");

/** A regular expression for any of the words, of which no two alternatives begin alike: it never goes back. */
function trie(words: Iterable<string>): string {
  const branches = new Map<string, string[]>();
  for (const word of words) {
    if (word === "") return ""; // what is longer holds this one too
    const rest = branches.get(word[0]!);
    if (rest) rest.push(word.slice(1));
    else branches.set(word[0]!, [word.slice(1)]);
  }
  return `(?:${[...branches].map(([char, rest]) => escaped(char) + trie(rest)).join("|")})`;
}

/** Each pattern's number under the rarest class that it needs: the one without short words, of those the one with the fewest. */
function byClass(patterns: readonly Pattern[], meanings: ReadonlyMap<string, readonly string[]>): Map<string, number[]> {
  const classes = new Map<string, { shortest: number; words: number }>();
  for (const [word, means] of meanings) {
    for (const meaning of means) {
      const { shortest, words } = classes.get(meaning) ?? { shortest: Infinity, words: 0 };
      classes.set(meaning, { shortest: Math.min(shortest, word.length), words: words + 1 });
    }
  }
  const found = new Map<string, number[]>();
  patterns.forEach(({ needs }, number) => {
    const sizes = (name: string) => classes.get(name) ?? { shortest: 0, words: 0 };
    const [rarest] = [...needs].sort((a, b) =>
      sizes(b).shortest - sizes(a).shortest || sizes(a).words - sizes(b).words || (a < b ? -1 : 1)
    );
    if (rarest === undefined) throw new TypeError("a pattern without a word");
    const numbers = found.get(rarest);
    if (numbers) numbers.push(number);
    else found.set(rarest, [number]);
  });
  return found;
}

function pair(row: string[]): [string, string] {
  const [from, to] = row;
  if (!from || to === undefined) throw new TypeError("a row is no pair");
  return [from, to];
}

function pattern(row: (string | number)[]): Pattern {
  const [ruleId, language, items, above, below] = row;
  if (
    typeof ruleId !== "string" || typeof language !== "string" || typeof items !== "string" || typeof above !== "number" ||
    typeof below !== "number"
  ) throw new TypeError("a row is no pattern");
  const all = items.split(" ");
  const needs = [...new Set(all.filter((item) => !isNumber(item) && !isGap(item) && !item.startsWith("!")))];
  const second = all.slice(1).find((item) => !isGap(item) && !item.startsWith("!"));
  return { ruleId, language, items: all, above, below, needs, second: second === undefined || isNumber(second) ? undefined : second };
}

function sizes(words: ReadonlyMap<string, string>): number[] {
  return [...new Set([...words.keys()].map((word) => word.length))].sort((a, b) => a - b);
}

/** Each term with one letter as a star (ch*ld) → its rule, of several the first by name. */
function starred(meanings: ReadonlyMap<string, readonly string[]>): Map<string, string> {
  const forms = new Map<string, string>();
  for (const [word, means] of meanings) {
    const rule = means.find((meaning) => meaning.includes("/"));
    if (rule === undefined) continue;
    for (let i = 1; i < word.length - 1; i++) {
      const form = `${word.slice(0, i)}*${word.slice(i + 1)}`;
      const other = forms.get(form);
      forms.set(form, other === undefined || rule < other ? rule : other);
    }
  }
  return forms;
}
