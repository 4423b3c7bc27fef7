// Texts as JSON strings in, verdicts as JSON objects out, a line each: so the tests hold this screen against Python's. Not deployed.

import { lexical, ScreenUnavailable } from "./mod.ts";

const out = new TextEncoder();
let rest = "";
for await (const part of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
  const lines = (rest + part).split("\n");
  rest = lines.pop()!;
  const answers = lines.map((line) => JSON.stringify(verdict(JSON.parse(line))) + "\n").join("");
  for (let bytes = out.encode(answers); bytes.length > 0;) bytes = bytes.subarray(await Deno.stdout.write(bytes));
}

function verdict(text: string): unknown {
  try {
    return lexical.check(text);
  } catch (error) {
    if (error instanceof ScreenUnavailable) return { unavailable: true };
    throw error;
  }
}
