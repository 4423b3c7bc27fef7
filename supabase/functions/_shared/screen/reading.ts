// How the screen reads a folded text: tokens, the known words that begin at each, and the numbers that they make. As reading.py in
// ourvidz/safety, name by name.

import { Characters, isDigit, isDigits, LETTER, NUMERAL, NUMERIC, SIGN, size, SPACE } from "./characters.ts";
import { squeezed } from "./fold.ts";
import { isNumber, type Pattern, type Rules } from "./rules.ts";

const PIECES = 24; // tokens that one word may be cut into
const SCATTERED = 500;
const MINUS = "\u2212";

export type Found = readonly [what: string, end: number];
export type NumberFound = readonly [value: number, end: number];
/** The known words among the spellings of a text; and whether a known word begins like it. */
export type Looked = readonly [known: readonly string[], goesOn: boolean];
type Numbers = ReadonlyMap<number, NumberFound>;

const NO_WORDS: readonly Found[] = [];

/** The text as it stands; with the digits and symbols inside words as letters (t33n); and without those at a word's ends (t33n18). */
export function readings(rules: Rules, folded: string): string[] {
  const { characters, folding, closing } = rules;
  if (!rules.disguises.test(folded)) return [folded];
  const ends = (char: string) => isDigit(char) || rules.symbols.has(char);
  const worded = (char: string) => characters.is(char, LETTER | NUMERIC) || ends(char) || char === "_";

  const read = (bare: boolean) =>
    chunks(folded, worded, (chunk) => {
      if (characters.every(chunk, LETTER)) return chunk;
      const word = bare ? strip(chunk, ends, true) : strip(chunk, (char) => closing.has(char), false);
      return characters.some(word, LETTER) && !(bare && characters.every(word, LETTER)) ? folding.unleet(word) : chunk;
    });

  return [...new Set([folded, read(false), read(true)])];
}

/** `text` with each longest run of such characters read again. */
function chunks(text: string, belongs: (char: string) => boolean, read: (chunk: string) => string): string {
  let all = "", chunk = "";
  for (const char of text) {
    if (belongs(char)) {
      chunk += char;
      continue;
    }
    all += (chunk && read(chunk)) + char;
    chunk = "";
  }
  return all + (chunk && read(chunk));
}

function strip(text: string, which: (char: string) => boolean, bothEnds: boolean): string {
  const chars = [...text];
  let start = 0, end = chars.length;
  while (end > start && which(chars[end - 1]!)) end--;
  while (bothEnds && start < end && which(chars[start]!)) start++;
  return chars.slice(start, end).join("");
}

function kindOf(characters: Characters, char: string): string {
  if (characters.is(char, NUMERAL)) return "numeral";
  if (characters.is(char, SIGN)) return "sign";
  if (isDigit(char)) return "digit";
  return characters.is(char, LETTER | NUMERIC) ? "letter" : "";
}

/** Tokens, and the gaps around them: gaps[i] lies before token i, the last one ends the text. */
function split(characters: Characters, text: string): [tokens: string[], gaps: string[]] {
  const tokens: string[] = [], gaps = [""];
  let before = "";
  for (const char of text) {
    const kind = kindOf(characters, char);
    if (kind === "") gaps[gaps.length - 1] += char;
    else if (kind === before && kind !== "sign") tokens[tokens.length - 1] += char;
    else {
      tokens.push(char);
      gaps.push("");
    }
    before = kind;
  }
  return fewer(tokens, gaps);
}

/** Without the single letters of which three equal ones stand before (k k k k k i d): more say no more, and each would be read. */
function fewer(tokens: string[], gaps: string[]): [tokens: string[], gaps: string[]] {
  const repeated = (token: string, i: number) =>
    i > 2 && token === tokens[i - 1] && token === tokens[i - 2] && token === tokens[i - 3] && !isDigit(token) && size(token) === 1;
  const kept = tokens.flatMap((token, i) => repeated(token, i) ? [] : [i]);
  if (kept.length === tokens.length) return [tokens, gaps];
  return [kept.map((i) => tokens[i]!), [...kept.map((i) => gaps[i]!), gaps.at(-1)!]];
}

/** One reading of a text, in tokens. A plain one puts no pieces together and sees no disguise. */
export class View {
  readonly parted: readonly boolean[];
  readonly #sizes: readonly number[];
  #spelledLazily: (readonly Found[])[] | undefined;
  #wordsLazily: (readonly Found[])[] | undefined;
  #placesLazily: Map<string, number[]> | undefined;
  #numberWordsLazily: Map<string, Map<number, NumberFound>> | undefined;
  #digitsLazily: Map<number, NumberFound> | undefined;
  #strangeLazily: Numbers | undefined;
  #romanLazily: Numbers | undefined;
  readonly #numbers = new Map<string, Numbers>();
  readonly #covers = new Map<string, Set<number>>();
  readonly #ended = new Map<string, Map<number, number[]>>();

  private constructor(
    readonly rules: Rules,
    readonly tokens: readonly string[],
    readonly gaps: readonly string[],
    readonly plain: boolean,
    readonly hidden: ReadonlySet<number>,
    readonly looked: Map<string, Looked>,
  ) {
    this.#sizes = tokens.map(size);
    this.parted = gaps.map((gap) => gap === " " || rules.characters.some(gap, SPACE));
  }

  static plain(rules: Rules, text: string): View {
    return new View(rules, ...split(rules.characters, text), true, new Set(), new Map());
  }

  /** The same tokens, read with all disguises, without these. `looked` keeps what was found out about words, for other readings. */
  hiding(hidden: ReadonlySet<number>, looked: Map<string, Looked>): View {
    return new View(this.rules, this.tokens, this.gaps, false, hidden, looked);
  }

  /** Whether most of a long text is single letters and digits: no prompt is, and each would be read together with those that follow. */
  get scattered(): boolean {
    const { characters } = this.rules;
    const single = this.tokens.filter((token, i) => this.#sizes[i] === 1 && !characters.is(token, SIGN)).length;
    return single >= SCATTERED && 2 * single > this.tokens.length;
  }

  /** Of each token, the known words that begin with it: what they mean, and the token after them. */
  get words(): readonly (readonly Found[])[] {
    return this.#wordsLazily ??= this.#spelled.map((spelled) =>
      spelled.length === 0
        ? NO_WORDS
        : spelled.flatMap(([form, end]) => (this.rules.meanings.get(form) ?? []).map((meaning): Found => [meaning, end]))
    );
  }

  get #spelled(): readonly (readonly Found[])[] {
    return this.#spelledLazily ??= this.tokens.map((_, i) => this.#spellings(i));
  }

  /** The token by itself and put together with those that follow; what may be put together is told in reading.py. */
  #spellings(i: number): readonly Found[] {
    const { longest, characters, apart } = this.rules;
    let joined = this.tokens[i]!;
    if (this.hidden.has(i)) return NO_WORDS;
    const [known, goesOn] = this.#look(joined);
    if (!goesOn && known.length === 0) return NO_WORDS;
    const found = known.map((form): Found => [form, i + 1]);
    if (!goesOn) return found;
    let written = joined, length = this.#sizes[i]!, piece = length, long = length > 2 ? 1 : 0;
    for (let j = i + 1; j < Math.min(i + PIECES, this.tokens.length); j++) {
      const token = this.tokens[j]!;
      if (this.hidden.has(j) || length > longest) break;
      if (this.plain && !(this.#sizes[j] === 1 && characters.is(token, SIGN))) break;
      if (this.parted[j] && this.#numberMeetsWord(joined, j)) break;
      joined += token;
      written += this.gaps[j]! + token;
      length += this.#sizes[j]!;
      const before = this.parted[j] ? 0 : piece;
      piece = before + this.#sizes[j]!;
      if (piece > 2 && before <= 2) long++;
      const [known, goesOn] = this.#look(joined);
      if (known.length > 0 && (long <= 1 || length >= 6) && !apart.has(written)) {
        for (const form of known) found.push([form, j + 1]);
      }
      if (!goesOn) break;
    }
    return found;
  }

  /** The known words among its spellings; and whether a known word begins like it. */
  #look(joined: string): Looked {
    let looked = this.looked.get(joined);
    if (looked === undefined) {
      const { begins, folding, known } = this.rules;
      const forms = this.forms(joined);
      looked = [forms.filter((form) => known.has(form)), forms.some(begins) || begins(folding.unleet(joined))];
      this.looked.set(joined, looked);
    }
    return looked;
  }

  /** Whether a space parts a number from a word ("de 2"), and it is no word in single letters (t 3 3 n). */
  #numberMeetsWord(joined: string, j: number): boolean {
    return (isDigits(joined) || isDigits(this.tokens[j]!)) && Math.max(this.#sizes[j]!, this.#sizes[j - 1]!) > 1;
  }

  /** The spellings of one word: its digits as letters, its repeated letters fewer. */
  forms(word: string): string[] {
    if (this.plain || !this.rules.odd.test(word) || isDigits(word)) return [word];
    const { folding } = this.rules;
    return [...new Set([...squeezed(folding.unify(word)), ...squeezed(folding.unify(folding.unleet(word)))])];
  }

  /** What may hold a term: each token, what is written without a space, and what is written letter by letter. */
  longWords(): string[] {
    const tokens = this.hidden.size === 0 ? this.tokens : this.tokens.filter((_, i) => !this.hidden.has(i));
    const single = (i: number) => this.#sizes[i] === 1;
    return [...tokens, ...this.#runs((i) => !this.parted[i]), ...this.#runs((i) => single(i) && single(i - 1))];
  }

  /** The words that tokens make of which these are put together with the one before. */
  #runs(joins: (i: number) => boolean): string[] {
    const runs: string[] = [];
    let run = "";
    for (let i = 1; i < this.tokens.length; i++) {
      if (joins(i) && !this.hidden.has(i) && !this.hidden.has(i - 1)) run = (run || this.tokens[i - 1]!) + this.tokens[i]!;
      else if (run) {
        runs.push(run);
        run = "";
      }
    }
    return run ? [...runs, run] : runs;
  }

  // --- numbers

  /** The numbers of a language by the token where they begin: value, and the token after. */
  numbers(language: string): Numbers {
    const code = this.#numberWords.has(language) ? language : ""; // without number words of it, they are the digits
    let found = this.#numbers.get(code);
    if (found === undefined) this.#numbers.set(code, found = this.#lowered(this.#findNumbers(code)));
    return found;
  }

  /** Language → token → value and end of the shortest number word there ("eight y.o." is not eighty). */
  get #numberWords(): Map<string, Map<number, NumberFound>> {
    if (this.#numberWordsLazily) return this.#numberWordsLazily;
    const found = new Map<string, Map<number, NumberFound>>();
    this.#spelled.forEach((spelled, i) => {
      for (const [form, end] of spelled) {
        for (const [code, value] of this.rules.numberWords.get(form) ?? []) {
          let words = found.get(code);
          if (words === undefined) found.set(code, words = new Map());
          const known = words.get(i);
          if (known === undefined || end < known[1] || (end === known[1] && value < known[0])) words.set(i, [value, end]);
        }
      }
    });
    return this.#numberWordsLazily = found;
  }

  get #digits(): Map<number, NumberFound> {
    if (this.#digitsLazily) return this.#digitsLazily;
    const found = new Map<number, NumberFound>();
    this.tokens.forEach((token, i) => {
      if (isDigits(token) && !this.hidden.has(i)) found.set(i, this.#digitsAt(i));
    });
    return this.#digitsLazily = found;
  }

  #findNumbers(code: string): Map<number, NumberFound> {
    const words = this.#numberWords.get(code) ?? new Map<number, NumberFound>();
    const digits = this.#digits;
    const found = new Map<number, NumberFound>();
    let done = 0;
    for (const i of [...new Set([...words.keys(), ...digits.keys()])].sort((a, b) => a - b)) {
      if (i < done) continue;
      const run: { begins: number; value: number; ends: number }[] = [];
      let adds = false, j = i;
      for (;;) {
        const atom = (run.length ? undefined : digits.get(j)) ?? words.get(j);
        if (atom === undefined) break;
        const [value, ends] = atom;
        const ten = this.endOf(`${code}.tens`, j) !== undefined;
        const last = run.at(-1);
        if (last && 2 <= last.value && last.value <= 9 && this.endOf(`${code}.times`, j) !== undefined) {
          run[run.length - 1] = { begins: last.begins, value: last.value * 10, ends }; // two tens
          adds = true;
          j = ends;
          continue;
        }
        if (ten && last && !adds) break; // "a sixteen" in languages that say "one ten six" is no seventeen
        if (!isDigits(this.tokens[j]!) && (value >= 20 || ten || this.endOf(`${code}.teens`, j) !== undefined)) adds = true;
        run.push({ begins: j, value, ends });
        const link = adds ? this.endOf(`${code}.and`, ends) : undefined; // twenty and one
        j = link !== undefined && words.has(link) ? link : ends;
      }
      const last = run.at(-1)!;
      if (run.length > 1 && adds) found.set(i, [run.reduce((sum, { value }) => sum + value, 0), last.ends]);
      else for (const { begins, value, ends } of run) found.set(begins, [value, ends]);
      done = last.ends;
    }
    return found;
  }

  /** A number after a dash is the end of a range, and counts as its lower end; after a minus sign or a stroke it may be part of a sum. */
  #lowered(found: Map<number, NumberFound>): Map<number, NumberFound> {
    const { characters, dashes, strokes } = this.rules;
    const before = new Map([...found.values()].map(([value, end]) => [end, value]));
    for (const [i, [value, end]] of found) {
      const first = before.get(i);
      if (first === undefined) continue;
      const gap = trimmed(characters, this.gaps[i]!);
      const all = (chars: ReadonlySet<string>) => gap !== "" && [...gap].every((char) => chars.has(char));
      let less = value;
      if (all(dashes)) less = gap === MINUS && first > value ? first - value : first;
      else if (this.gaps[i] === "/" && first < value) less = first; // 17/18
      else if (all(strokes) && value > 0 && first >= 2 * value) less = Math.floor(first / value);
      found.set(i, [Math.min(value, less), end]);
    }
    return found;
  }

  /** A number in digits, at most 9,999: with its thousands (1,000), without its decimals (18.5), or parted (1 7). */
  #digitsAt(i: number): NumberFound {
    const first = this.tokens[i]!;
    let value = toInt(first), end = i + 1;
    for (; end < this.tokens.length && isDigits(this.tokens[end]!) && !this.hidden.has(end); end++) {
      const gap = this.gaps[end]!, token = this.tokens[end]!;
      if ([",", ".", "'"].includes(gap) && token.length === 3) {
        value = 9999;
        if (end > i + PIECES) break;
      } else if (end === i + 1 && gap === "." && token.length === 1) continue;
      else if (end === i + 1 && this.rules.characters.every(gap, SPACE) && first.length === 1 && token.length === 1) {
        value = value * 10 + Number(token);
      } else break;
    }
    return [value, end];
  }

  /** The number words of every language: the longest reading at each token, of those the smallest; none within a longer one. */
  get #strange(): Numbers {
    if (this.#strangeLazily) return this.#strangeLazily;
    const found = new Map<number, NumberFound>();
    const within = new Set<number>();
    for (const code of this.#numberWords.keys()) {
      for (const [i, [value, end]] of this.numbers(code)) {
        if (isDigits(this.tokens[i]!)) continue;
        const known = found.get(i);
        if (known === undefined || end > known[1] || (end === known[1] && value < known[0])) found.set(i, [value, end]);
        for (let k = i + 1; k < end; k++) within.add(k);
      }
    }
    for (const i of within) found.delete(i);
    return this.#strangeLazily = found;
  }

  get #roman(): Numbers {
    if (this.#romanLazily) return this.#romanLazily;
    const found = new Map<number, NumberFound>();
    this.tokens.forEach((token, i) => {
      const value = this.rules.roman.get(token);
      if (value !== undefined && !this.hidden.has(i)) found.set(i, [value, i + 1]);
    });
    return this.#romanLazily = found;
  }

  #numbersOf(pattern: Pattern, item: string): Numbers {
    return item === "R" ? this.#roman : item === "X" ? this.#strange : this.numbers(pattern.language);
  }

  /** The number that stands at token i for this item of the pattern. */
  numberAt(pattern: Pattern, item: string, i: number): NumberFound | undefined {
    if (item === "Y" || item === "Z") return this.#year(pattern.language, item, i);
    if (item === "X" && this.#covered(pattern.language).has(i)) return undefined;
    const number = this.#numbersOf(pattern, item).get(i);
    if (number === undefined || item === "M") return number;
    return pattern.above < number[0] && number[0] < pattern.below ? number : undefined;
  }

  /** The tokens of a language's own numbers, of which another language may know but a part. */
  #covered(code: string): ReadonlySet<number> {
    let covered = this.#covers.get(code);
    if (covered === undefined) {
      this.#covers.set(code, covered = new Set());
      for (const [begins, [, end]] of this.numbers(code)) for (let i = begins; i < end; i++) covered.add(i);
    }
    return covered;
  }

  /** A year (2012, or '12). `Y`: a person who was born in it is not surely of age by now; `Z`: it is not over, and within 15 years. */
  #year(code: string, item: string, i: number): NumberFound | undefined {
    const number = this.numbers(code).get(i);
    if (number === undefined) return undefined;
    let [year] = number;
    const now = this.rules.year();
    if (year < 100 && /['\u2018\u2019]/.test(this.gaps[i]!)) year += now - now % 100;
    const years = [year, year + (this.rules.calendars.get(code) ?? 0)];
    const [first, last] = item === "Y" ? [now - 18, now + 1] : [now, now + 15];
    return years.some((one) => first <= one && one <= last) ? [year, number[1]] : undefined;
  }

  // --- where a pattern may begin

  /** Of each meaning, the tokens at which a word of it begins. */
  get places(): ReadonlyMap<string, readonly number[]> {
    if (this.#placesLazily) return this.#placesLazily;
    const places = new Map<string, number[]>();
    this.words.forEach((found, i) => {
      for (const [meaning] of found) {
        const at = places.get(meaning);
        if (at === undefined) places.set(meaning, [i]);
        else if (at.at(-1) !== i) at.push(i);
      }
    });
    return this.#placesLazily = places;
  }

  /** The tokens at which the pattern may begin. Of one that begins with a number, those whose number ends before its first word. */
  starts(pattern: Pattern): readonly number[] {
    const first = pattern.items[0]!;
    if (!isNumber(first)) return this.places.get(first) ?? [];
    const ends = this.#ends(pattern, first);
    if (pattern.second === undefined) return [...ends.values()].flat();
    return (this.places.get(pattern.second) ?? []).flatMap((place) => ends.get(place) ?? []);
  }

  #ends(pattern: Pattern, item: string): Map<number, number[]> {
    const code = this.#numberWords.has(pattern.language) ? pattern.language : "";
    const key = item === "X" || item === "R" ? item : code;
    let ends = this.#ended.get(key);
    if (ends === undefined) {
      this.#ended.set(key, ends = new Map());
      for (const [i, [, end]] of this.#numbersOf(pattern, item)) {
        const at = ends.get(end);
        if (at) at.push(i);
        else ends.set(end, [i]);
      }
    }
    return ends;
  }

  /** The token after a word of this meaning that begins at token i. */
  endOf(meaning: string, i: number): number | undefined {
    return this.words[i]?.find(([m]) => m === meaning)?.[1];
  }
}

function trimmed(characters: Characters, gap: string): string {
  return strip(gap, (char) => characters.is(char, SPACE), true);
}

function toInt(digits: string): number {
  return digits.replace(/^0+/, "").length <= 4 ? Number(digits.slice(-4)) : 9999;
}
