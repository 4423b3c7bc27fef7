// Texts as JSON strings in, verdicts as JSON objects out, a line each; `{"read": text}` asks how it is read, `{"canonical": text}` for its
// canonical form, `{"texts": value}` for the texts in it,
// `{"negative": text}` for what is left of a negative prompt and its verdict. So the tests hold this screen against Python's. Not deployed.

import { View } from "./reading.ts";
import { loadRules } from "./rules.ts";
import {
  canonical,
  canonicalNegative,
  lexical,
  lexicalOfNegatives,
  plain,
  ScreenUnavailable,
  textsIn,
  Unreadable,
  type Verdict,
  withoutKeptOut,
} from "./mod.ts";
import terms from "./terms.json" with { type: "json" };

const rules = loadRules(terms);
const out = new TextEncoder();
let rest = "";
for await (const part of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
  const lines = (rest + part).split("\n");
  rest = lines.pop()!;
  const answers = lines.map((line) => JSON.stringify(answer(JSON.parse(line))) + "\n").join("");
  for (let bytes = out.encode(answers); bytes.length > 0;) bytes = bytes.subarray(await Deno.stdout.write(bytes));
}

type Asked = string | { read: string } | { canonical: string } | { negative: string } | { texts: unknown };

function answer(asked: Asked): unknown {
  if (typeof asked === "string") return verdict(lexical, asked);
  if ("read" in asked) return reading(asked.read);
  try {
    if ("negative" in asked) {
      const text = withoutKeptOut(canonicalNegative(asked.negative));
      return { text, plain: plain(text), ...verdict(lexicalOfNegatives, text) };
    }
    return "canonical" in asked ? { canonical: canonical(asked.canonical) } : { texts: textsIn(asked.texts) };
  } catch (error) {
    if (error instanceof Unreadable) return { unreadable: true };
    throw error;
  }
}

function verdict(screen: { check(text: string): Verdict }, text: string): Verdict | { unavailable: true } {
  try {
    return screen.check(text);
  } catch (error) {
    if (error instanceof ScreenUnavailable) return { unavailable: true };
    throw error;
  }
}

function reading(text: string): unknown {
  const known = rules.folding.known(text);
  const folded = rules.folding.fold(known);
  const { tokens, gaps, parted } = View.plain(rules, folded);
  return { marks: rules.folding.withMarks(known), folded, tokens, gaps, parted };
}
