// Negative prompts: what they may say. The same as ourvidz/safety/negative.py, which says why.

import { plain } from "./canonical.ts";
import negative from "./negative.json" with { type: "json" };
import terms from "./terms.json" with { type: "json" };
import { LexicalScreen } from "./lexical.ts";
import type { PromptScreen, Verdict } from "./screen.ts";

const KEPT_OUT: ReadonlySet<string> = new Set(negative.kept_out);

/** A screen of negative prompts in canonical form: `screen`, and the words that say that somebody is of age. */
export class NegativeScreen implements PromptScreen {
  #ofAge = new LexicalScreen({ ...terms, ...negative.terms });

  constructor(private readonly screen: LexicalScreen) {}

  check(text: string): Verdict {
    const verdict = this.screen.check(text);
    if (!verdict.allowed) return verdict;
    const ofAge = this.#ofAge.check(text);
    return ofAge.allowed ? verdict : ofAge;
  }
}

/** A negative prompt without the terms that keep minors out, weighted or not: ours say the same. */
export function withoutKeptOut(text: string): string {
  const found = splitTerms(text);
  const left = found.filter((term) => !KEPT_OUT.has(plain(term).toLowerCase()));
  return left.length === found.length ? text : left.join(", ");
}

/** Terms between commas; commas inside round brackets do not part them. */
function splitTerms(text: string): string[] {
  const found: string[] = [];
  let depth = 0, term = "";
  for (const char of text) {
    depth = Math.max(0, depth + Number(char === "(") - Number(char === ")"));
    if ((char === "," && depth === 0) || char === "\n") {
      found.push(term);
      term = "";
    } else term += char;
  }
  return [...found, term].map((each) => each.split(/\s+/u).filter((part) => part !== "").join(" ")).filter((each) => each !== "");
}
