// One spelling for all the ways in which a word can be made to look like itself. The steps are told in ourvidz/safety/lookalikes.py.

import { Characters, DROPPED, isAscii, SPACE, UNKNOWN } from "./characters.ts";

export class Folding {
  constructor(
    readonly characters: Characters,
    readonly replace: ReadonlyMap<string, string>,
    readonly lookalikes: ReadonlyMap<string, string>,
    readonly digits: ReadonlyMap<string, string>,
    readonly casefold: ReadonlyMap<string, string>,
    readonly same: readonly (readonly [string, string])[],
    readonly leet: ReadonlyMap<string, string>,
    readonly turned: ReadonlyMap<string, string>,
  ) {}

  known(text: string): string {
    return isAscii(text) ? text : this.characters.without(text, UNKNOWN);
  }

  /** `text` is `known`. */
  fold(text: string): string {
    const looks = (char: string) => this.lookalikes.get(char) ?? char;
    let folded = each(text, (char) => this.replace.get(char) ?? looks(char)).normalize("NFKD");
    folded = each(folded, (char) => this.characters.is(char, DROPPED) ? "" : this.digits.get(char) ?? looks(char)).normalize("NFC");
    return this.unify(each(this.lower(folded), looks));
  }

  /** The other spelling, for the few words that only an accent tells from a name: accents stay. `text` is `known`. */
  withMarks(text: string): string {
    return this.lower(text.normalize("NFKC"));
  }

  lower(text: string): string {
    return each(text, (char) => this.casefold.get(char) ?? char);
  }

  unify(text: string): string {
    for (const [said, read] of this.same) text = text.replaceAll(said, read);
    return text;
  }

  /** What of a text is written upside down, as its reader turns it: from its end. Mostly empty; see fold.py. */
  upright(text: string): string {
    if (isAscii(text)) return "";
    const over = (char: string) => !isAscii(char) && this.turned.has(char);
    const words: string[][] = [[]];
    for (const char of text) {
      if (this.characters.is(char, SPACE)) words.push([]);
      else words.at(-1)!.push(char);
    }
    const written = words.filter((word) => word.length > 0);
    const near = new Set<number>();
    written.forEach((word, i) => {
      if (4 * word.filter(over).length < word.length) return;
      for (let k = Math.max(i - 2, 0); k < Math.min(i + 3, written.length); k++) near.add(k);
    });
    const chars = [...near].sort((a, b) => a - b).flatMap((i) => [" ", ...written[i]!]).slice(1);
    return chars.reverse().map((char) => this.turned.get(char) ?? char).join("");
  }

  /** Digits and symbols as the letters that they stand for (t33n), in a word that is folded already. */
  unleet(word: string): string {
    return each(word, (char) => this.leet.get(char) ?? char);
  }
}

export function each(text: string, read: (char: string) => string): string {
  let all = "";
  for (const char of text) all += read(char);
  return all;
}

export const MANY_VS = "w+v|ww+"; // of which `same` made each two a w

/** `word`, and it with every letter that comes three times or more on end written once and twice (teeeen, kiiiid). */
export function squeezed(word: string): string[] {
  const long = /(.)\1{2,}/gsu;
  const fewer = word.replace(new RegExp(MANY_VS, "g"), "v");
  const words = fewer === word ? [word] : [word, fewer];
  if (word.search(long) < 0) return words;
  return [...words, word.replace(long, "$1"), word.replace(long, "$1$1")];
}
