// What the screen asks of a character, out of the tables that Python wrote (ourvidz/safety/edge_data.py): the runtime's own may be of another
// version of Unicode.

export const LETTER = 1; // str.isalpha
export const NUMERIC = 2; // counts as a letter in words: str.isalnum, and no decimal digit
export const SPACE = 4;
export const SIGN = 8; // of Chinese and Japanese, which write no spaces
export const NUMERAL = 16; // Chinese ones
export const DROPPED = 32;
export const UNKNOWN = 64;

export class Characters {
  readonly #kinds = new Uint8Array(0x110000);

  /** `ranges`: code points in hexadecimal, each range as its first and its last. */
  mark(ranges: string, kind: number): void {
    for (const range of ranges.split(" ")) {
      const [first, last = first] = range.split("-").map((end) => parseInt(end, 16));
      if (first === undefined || last === undefined || !(first <= last && last < 0x110000)) throw new RangeError("no range of code points");
      for (let code = first; code <= last; code++) this.#kinds[code]! |= kind;
    }
  }

  is(char: string, kind: number): boolean {
    return (this.#kinds[char.codePointAt(0)!]! & kind) !== 0;
  }

  some(text: string, kind: number): boolean {
    for (const char of text) if (this.is(char, kind)) return true;
    return false;
  }

  every(text: string, kind: number): boolean {
    for (const char of text) if (!this.is(char, kind)) return false;
    return text !== "";
  }

  /** `text` without its characters of the kind. */
  without(text: string, kind: number): string {
    let kept = "";
    for (const char of text) if (!this.is(char, kind)) kept += char;
    return kept;
  }
}

export const isDigit = (char: string): boolean => char >= "0" && char <= "9" && char.length === 1;

export const isAscii = (text: string): boolean => !/[^\0-\x7f]/.test(text);

export const isDigits = (text: string): boolean => /^[0-9]+$/.test(text);

/** Characters as Python counts them. */
export function size(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

export function withoutLast(text: string): string {
  return text.slice(0, text.length - (text.codePointAt(text.length - 2)! > 0xffff ? 2 : 1));
}
