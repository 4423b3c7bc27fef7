// The tables that ourvidz/safety/edge.py wrote, as the screen looks into them. Throws on data that is not right.

import { Characters, DROPPED, LETTER, NUMERAL, NUMERIC, SIGN, SPACE, UNKNOWN } from "./characters.ts";
import { Folding } from "./fold.ts";

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
  digits: Keys;
  casefold: string[][];
  replace: Keys;
  lookalikes: Keys;
  same: string[][];
  leet: Keys;
  wild: string;
  closing: string;
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
}

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
  readonly meanings: ReadonlyMap<string, readonly string[]>;
  readonly numbers: ReadonlyMap<string, ReadonlyMap<string, number>>;
  readonly inside: ReadonlyMap<string, string>;
  readonly insideSizes: readonly number[];
  readonly stems: ReadonlyMap<string, string>;
  readonly stemSizes: readonly number[];
  readonly exact: ReadonlyMap<string, string>;
  readonly apart: ReadonlySet<string>;
  readonly starred: ReadonlyMap<string, string>;
  readonly patterns: readonly Pattern[];
  readonly harmless: readonly Pattern[];
  readonly beginnings: ReadonlySet<string>;
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
  const numbers = new Map(Object.entries(terms.numbers).map(([code, words]) => [code, numberWords(words)]));
  const words = [...meanings.keys(), ...[...numbers.values()].flatMap((known) => [...known.keys()])];
  const patterns = terms.patterns.map(pattern);
  if (terms.complete !== true || !terms.policy_version || !terms.category || !(terms.max_text > 0) || !meanings.size || !patterns.length) {
    throw new RangeError("terms.json is not complete");
  }
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
    ),
    wild: new Set([...terms.wild]),
    closing: new Set([...terms.closing]),
    punctuation: new Set([...terms.punctuation]),
    dashes: new Set([...terms.dashes]),
    meanings,
    numbers,
    inside,
    insideSizes: sizes(inside),
    stems,
    stemSizes: sizes(stems),
    exact: byKey(terms.exact, " "),
    apart: new Set([...terms.apart]),
    starred: starred(meanings),
    patterns,
    harmless: terms.harmless.map(pattern),
    beginnings: new Set(words.flatMap((word) => Array.from({ length: word.length + 1 }, (_, length) => word.slice(0, length)))),
    longest: Math.max(...[...words, ...inside.keys()].map((word) => word.length)),
  };
}

function byKey(table: Keys, between: string): Map<string, string> {
  const entries = Object.entries(table).flatMap(([value, keys]) =>
    (between ? keys.split(between) : [...keys]).map((key) => [key, value] as const)
  );
  if (entries.some(([key]) => key === "")) throw new RangeError("a table has an empty key");
  return new Map(entries);
}

function numberWords(words: Keys): Map<string, number> {
  return new Map([...byKey(words, " ")].map(([word, value]) => [word, Number(value)]));
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
  return { ruleId, language, items: items.split(" "), above, below };
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
