// Letters drawn over several lines with other characters (ASCII art). As ourvidz/safety/drawing.py.

import { type Characters, isDigit, LETTER, NUMERIC, SPACE } from "./characters.ts";

const LINES = 4;
const MARKS = 4;

/** Whether four lines in a row, empty ones aside, are made of symbols, or of one or two characters again and again. */
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
  const chars = [...seen];
  if (chars.length < MARKS) return false;
  const letters = chars.filter((char) => isDigit(char) || characters.is(char, LETTER | NUMERIC)).length;
  return 2 * letters < chars.length || new Set(chars).size <= 2;
}
