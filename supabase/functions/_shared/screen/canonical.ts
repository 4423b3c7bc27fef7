// The canonical text of what a person wrote; the same function as state/canonical.py, which says why. Not here: ftfy, which mends text that was
// decoded by the wrong code page. Executors take that into account, and screen what comes of it (docs/decisions/0036).

import texts from "./texts.json" with { type: "json" };

const ROUNDS = 8;
const LONGEST = 20_000; // characters of a canonical text

const NAMED: ReadonlyMap<string, string> = new Map(Object.entries(texts.named));
const NUMBERED: ReadonlyMap<number, string> = new Map(Object.entries(texts.numbered).map(([code, text]) => [Number(code), text]));
const REFERENCE = /&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)/gu;
const CONTROL_TOKENS = new RegExp(texts.control_tokens, "giu");
// deno-lint-ignore no-control-regex
const TERMINAL = /\x1b\[[0-9;]*[a-zA-Z]/gu;
const CHARACTERS: ReadonlyMap<string, string> = new Map([
  ...texts.spaces.map((code) => [String.fromCodePoint(code), " "] as const),
  ...texts.invisible.map((code) => [String.fromCodePoint(code), ""] as const),
]);
const SPACES = new RegExp(`[${texts.white.map((code) => `\\u{${code.toString(16)}}`).join("")}]+`, "gu");

/** The text has no canonical form: cleaning goes on changing it, it is too long, or it is not text. */
export class Unreadable extends Error {
  override readonly name = "Unreadable";
}

/** Throws `Unreadable`. The canonical form of a canonical text is itself. */
export function canonical(given: string): string {
  let text = given;
  for (let round = 0; round < ROUNDS; round++) {
    if (!text.isWellFormed()) break;
    const before = text;
    text = pass(text);
    if (text.length > LONGEST && [...text].length > LONGEST) throw new Unreadable("it is too long once it is decoded");
    if (text === before) return text;
  }
  throw new Unreadable("it is encoded so often, or in such a way, that what it says cannot be read");
}

function pass(given: string): string {
  const plain = unescape(unescape(given.replace(TERMINAL, "")));
  const shown = Array.from(plain, (char) => CHARACTERS.get(char) ?? char).join("").normalize("NFKC");
  return shown.replace(CONTROL_TOKENS, " ").replace(SPACES, " ").replace(/^ | $/g, "");
}

/** HTML's character references, as Python's html.unescape reads them: the longest name that is known, its semicolon or none. */
function unescape(text: string): string {
  if (!text.includes("&")) return text;
  if (/&#[xX]?[0-9a-fA-F]{1000}/.test(text)) throw new Unreadable("it holds a number that is none of a character");
  return text.replace(REFERENCE, (_, name: string) => name.startsWith("#") ? numbered(name) : named(name));
}

function numbered(name: string): string {
  const digits = name.replace(/;$/, "");
  const code = /^#[xX]/.test(digits) ? parseInt(digits.slice(2), 16) : parseInt(digits.slice(1), 10);
  const known = NUMBERED.get(code);
  if (known !== undefined) return known;
  return code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ? "\ufffd" : String.fromCodePoint(code);
}

function named(name: string): string {
  const whole = NAMED.get(name);
  if (whole !== undefined) return whole;
  const chars = [...name];
  for (let length = chars.length - 1; length > 1; length--) {
    const found = NAMED.get(chars.slice(0, length).join(""));
    if (found !== undefined) return found + chars.slice(length).join("");
  }
  return `&${name}`;
}

const WEIGHTS = new RegExp(texts.weights.replaceAll("[^\\W\\d_]", "\\p{L}"), "gu");

/** A canonical text without the signs of weights, which an encoder does not read: they could part a word. */
export function plain(text: string): string {
  return text.replace(WEIGHTS, "").replace(SPACES, " ").replace(/^ | $/g, "");
}

/** The canonical form of a negative prompt, whose line ends part its terms as commas do. Throws `Unreadable`. */
export function canonicalNegative(text: string): string {
  // deno-lint-ignore no-control-regex
  return canonical(text.split(/\r\n|[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]/).filter((line) => line.replace(SPACES, "") !== "").join(", "));
}

const NO_TEXT = new RegExp(`^(?:${texts.no_text})$`, "i");

/** Every text inside JSON that a person may have written: see state.canonical.texts_in. */
export function textsIn(value: unknown, depth = 33): string[] {
  const found = new Set<string>();
  let level: unknown[] = [value];
  for (let n = 0; n < depth; n++) {
    for (const one of level) if (typeof one === "string" && written(one)) found.add(one);
    level = level.flatMap((one) => Array.isArray(one) ? one : typeof one === "object" && one !== null ? Object.values(one) : []);
    if (level.length === 0) return [...found];
  }
  throw new Unreadable("it is nested too deep");
}

function written(text: string): boolean {
  return /\p{L}/u.test(text) && !NO_TEXT.test(text);
}
