// How the screen reads a folded text: tokens, the known words that begin at each, and the numbers that they make. As reading.py in
// ourvidz/safety, name by name.

import { Characters, isDigit, isDigits, LETTER, NUMERAL, NUMERIC, SIGN, size, SPACE, withoutLast } from "./characters.ts";
import { squeezed } from "./fold.ts";
import type { Rules } from "./rules.ts";

const PIECES = 24; // tokens that one word may be cut into

type Found = readonly [what: string, end: number];
export type NumberFound = readonly [value: number, end: number];

/** The text as it stands; with the digits and symbols inside words as letters (t33n); and without those at a word's ends (t33n18). */
export function readings(rules: Rules, folded: string): string[] {
  const { characters, folding, closing } = rules;
  const symbols = new Set([...folding.leet.keys()].filter((char) => !isDigit(char)));
  const ends = (char: string) => symbols.has(char) || isDigit(char);
  const worded = (char: string) => characters.is(char, LETTER | NUMERIC) || ends(char) || char === "_";

  const read = (bare: boolean) =>
    chunks(folded, worded, (chunk) => {
      const word = bare ? strip(chunk, ends, true) : strip(chunk, (char) => closing.has(char), false);
      return characters.some(word, LETTER) && !(bare && characters.every(word, LETTER)) ? folding.unleet(word) : chunk;
    });

  return [...new Set([folded, read(false), read(true)])];
}

/** `text` with each longest run of such characters read anew. */
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

/** One reading of a text, in tokens. A plain one puts no pieces together and sees no disguise. */
export class View {
  readonly tokens: string[] = [];
  readonly gaps: string[] = [""]; // gaps[i] lies before token i; the last one ends the text
  readonly parted: boolean[];
  readonly #sizes: number[];
  #spelledLazily: Found[][] | undefined;
  #wordsLazily: Found[][] | undefined;
  #placesLazily: Map<string, number[]> | undefined;
  readonly #numbers = new Map<string, Map<number, NumberFound>>();

  constructor(readonly rules: Rules, text: string, readonly plain: boolean, readonly hidden: ReadonlySet<number> = new Set()) {
    let before = "";
    for (const char of text) {
      const kind = kindOf(rules.characters, char);
      if (kind === "") this.gaps[this.gaps.length - 1] += char;
      else if (kind === before && kind !== "sign") this.tokens[this.tokens.length - 1] += char;
      else {
        this.tokens.push(char);
        this.gaps.push("");
      }
      before = kind;
    }
    this.#sizes = this.tokens.map(size);
    this.parted = this.gaps.map((gap) => rules.characters.some(gap, SPACE));
  }

  /** Of each token, the known words that begin with it: what they mean, and the token after them. */
  get words(): Found[][] {
    return this.#wordsLazily ??= this.#spelled.map((spelled) =>
      spelled.flatMap(([form, end]) => (this.rules.meanings.get(form) ?? []).map((meaning): Found => [meaning, end]))
    );
  }

  get #spelled(): Found[][] {
    return this.#spelledLazily ??= this.tokens.map((_, i) => this.#spellings(i));
  }

  /** The token by itself and put together with those that follow; what may be put together is told in reading.py. */
  #spellings(i: number): Found[] {
    const { longest, characters, apart } = this.rules;
    const found: Found[] = [];
    let joined = "", written = "", length = 0, piece = 0, long = 0;
    for (let j = i; j < Math.min(i + PIECES, this.tokens.length); j++) {
      const token = this.tokens[j]!;
      if (this.hidden.has(j) || (j > i && length > longest)) return found;
      if (this.plain && j > i && !(this.#sizes[j] === 1 && characters.is(token, SIGN))) return found;
      if (j > i && this.parted[j] && this.#numberMeetsWord(joined, j)) return found;
      joined += token;
      written += j === i ? token : this.gaps[j]! + token;
      length += this.#sizes[j]!;
      const before = j === i || this.parted[j] ? 0 : piece;
      piece = before + this.#sizes[j]!;
      if (piece > 2 && before <= 2) long++;
      const forms = this.forms(joined);
      if (j === i || ((long <= 1 || length >= 6) && !apart.has(written))) {
        found.push(...forms.map((form): Found => [form, j + 1]));
      }
      if (!this.#goesOn(joined, forms)) return found;
    }
    return found;
  }

  /** Whether a space parts a number from a word ("de 2"), and it is no word in single letters (t 3 3 n). */
  #numberMeetsWord(joined: string, j: number): boolean {
    return (isDigits(joined) || isDigits(this.tokens[j]!)) && Math.max(this.#sizes[j]!, this.#sizes[j - 1]!) > 1;
  }

  /** Whether a known word begins like this. But for the last letter: with the next one it may be read as another (r n). */
  #goesOn(joined: string, forms: string[]): boolean {
    const { beginnings, folding } = this.rules;
    return [...forms, folding.unleet(joined)].some((form) => beginnings.has(form) || beginnings.has(withoutLast(form)));
  }

  /** The spellings of one word: its digits as letters, its repeated letters fewer. */
  forms(word: string): string[] {
    if (this.plain || isDigits(word)) return [word];
    const { folding } = this.rules;
    return [...new Set([...squeezed(folding.unify(word)), ...squeezed(folding.unify(folding.unleet(word)))])];
  }

  /** What may hold a term: each token, what is written without a space, and what is written letter by letter. */
  longWords(): string[] {
    const single = this.#sizes.map((length) => length === 1);
    return [
      ...this.tokens.filter((_, i) => !this.hidden.has(i)),
      ...this.#runs((i) => !this.parted[i]),
      ...this.#runs((i) => i > 0 && single[i]! && single[i - 1]!),
    ];
  }

  #runs(goesOn: (i: number) => boolean): string[] {
    const runs: string[] = [];
    let run: string[] = [];
    const close = () => {
      if (run.length > 1) runs.push(run.join(""));
      run = [];
    };
    this.tokens.forEach((token, i) => {
      if (this.hidden.has(i) || !goesOn(i)) close();
      if (!this.hidden.has(i)) run.push(token);
    });
    close();
    return runs;
  }

  /** The numbers of a language by the token where they begin: value, and the token after. */
  numbers(code: string): Map<number, NumberFound> {
    let found = this.#numbers.get(code);
    if (found === undefined) this.#numbers.set(code, found = this.#findNumbers(code));
    return found;
  }

  #findNumbers(code: string): Map<number, NumberFound> {
    const found = new Map<number, NumberFound>();
    for (let i = 0; i < this.tokens.length;) {
      const run: { begins: number; value: number; ends: number }[] = [];
      let adds = false, j = i;
      for (;;) {
        const atom = (run.length ? undefined : this.#digits(j)) ?? this.#numberWord(code, j);
        if (atom === undefined) break;
        const [value, ends] = atom;
        const ten = this.endOf(`${code}.tens`, j) !== undefined;
        if (ten && run.length && !adds) break; // "a sixteen" in languages that say "one ten six" is no seventeen
        if (!isDigits(this.tokens[j]!) && (value >= 20 || ten || this.endOf(`${code}.teens`, j) !== undefined)) adds = true;
        run.push({ begins: j, value, ends });
        const link = adds ? this.endOf(`${code}.and`, ends) : undefined; // twenty and one
        j = link !== undefined && this.#numberWord(code, link) ? link : ends;
      }
      const last = run.at(-1);
      if (run.length > 1 && adds) found.set(i, [run.reduce((sum, { value }) => sum + value, 0), last!.ends]);
      else for (const { begins, value, ends } of run) found.set(begins, [value, ends]);
      i = last?.ends ?? i + 1;
    }
    return found;
  }

  /** A number in digits, at most 9,999: with its thousands (1,000), without its decimals (18.5), or parted (1 7). */
  #digits(i: number): NumberFound | undefined {
    const first = this.tokens[i];
    if (first === undefined || this.hidden.has(i) || !isDigits(first)) return undefined;
    let value = toInt(first), end = i + 1;
    for (; end < this.tokens.length && isDigits(this.tokens[end]!) && !this.hidden.has(end); end++) {
      const gap = this.gaps[end]!, token = this.tokens[end]!;
      if ([",", ".", "'"].includes(gap) && token.length === 3) value = 9999;
      else if (end === i + 1 && gap === "." && token.length === 1) continue;
      else if (end === i + 1 && this.rules.characters.every(gap, SPACE) && first.length === 1 && token.length === 1) {
        value = value * 10 + Number(token);
      } else break;
    }
    return [value, end];
  }

  #numberWord(code: string, i: number): NumberFound | undefined {
    let best: NumberFound | undefined; // the shortest: "eight y.o." is not eighty
    for (const [form, end] of this.#spelled[i] ?? []) {
      const value = this.rules.numbers.get(code)!.get(form);
      if (value !== undefined && (best === undefined || end < best[1] || (end === best[1] && value < best[0]))) best = [value, end];
    }
    return best;
  }

  get #places(): Map<string, number[]> {
    if (this.#placesLazily) return this.#placesLazily;
    const places = new Map<string, number[]>();
    this.words.forEach((found, i) => {
      for (const meaning of new Set(found.map(([meaning]) => meaning))) {
        const at = places.get(meaning);
        if (at) at.push(i);
        else places.set(meaning, [i]);
      }
    });
    return this.#placesLazily = places;
  }

  /** The tokens at which a pattern may begin whose first item is this. */
  starts(code: string, item: string): Iterable<number> {
    return item === "N" || item === "M" ? this.numbers(code).keys() : this.#places.get(item) ?? [];
  }

  /** The token after a word of this meaning that begins at token i. */
  endOf(meaning: string, i: number): number | undefined {
    return this.words[i]?.find(([m]) => m === meaning)?.[1];
  }
}

function toInt(digits: string): number {
  return digits.replace(/^0+/, "").length <= 4 ? Number(digits.slice(-4)) : 9999;
}
