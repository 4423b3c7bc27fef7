// Letters drawn over several lines with other characters (ASCII art). As ourvidz/safety/ascii_art.py.

import { type Characters, isDigit, LETTER, NUMERIC, SPACE } from "./characters.ts";

const LINES = 4;

/** Whether four lines in a row, empty ones aside, are made of symbols, or of few characters again and again. */
export function isDrawing(characters: Characters, text: string): boolean {
  let row = 0;
  for (const line of text.split("\n")) {
    const seen = characters.without(line, SPACE);
    if (seen !== "") row = drawn(characters, seen) ? row + 1 : 0;
    if (row === LINES) return true;
  }
  return false;
}

function drawn(characters: Characters, seen: string): boolean {
  const chars = [...seen], kinds = new Set(chars).size;
  const letters = chars.filter((char) => isDigit(char) || characters.is(char, LETTER | NUMERIC)).length;
  const symbols = 2 * letters < chars.length;
  return symbols || (kinds <= 2 && chars.length > kinds) || (kinds <= 6 && chars.length >= 3 * kinds);
}
