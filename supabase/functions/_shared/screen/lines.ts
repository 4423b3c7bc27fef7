// Texts as JSON strings in, verdicts as JSON objects out, a line each; `{"read": text}` asks how it is read. So the tests hold this screen
// against Python's. Not deployed.

import { View } from "./reading.ts";
import { loadRules } from "./rules.ts";
import { lexical, ScreenUnavailable } from "./mod.ts";
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

function answer(asked: string | { read: string }): unknown {
  return typeof asked === "string" ? verdict(asked) : reading(asked.read);
}

function verdict(text: string): unknown {
  try {
    return lexical.check(text);
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
