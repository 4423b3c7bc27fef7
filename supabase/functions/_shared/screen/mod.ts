// The screens of texts, and the form in which they read them. They are used by ../asking.ts.

import { LexicalScreen } from "./lexical.ts";
import { NegativeScreen } from "./negative.ts";
import terms from "./terms.json" with { type: "json" };

export { canonical, canonicalNegative, plain, textsIn, Unreadable } from "./canonical.ts";
export { LexicalScreen } from "./lexical.ts";
export { withoutKeptOut } from "./negative.ts";
export { guardedCheck, type PromptScreen, ScreenUnavailable, type Verdict } from "./screen.ts";

export const lexical = new LexicalScreen(terms);
export const lexicalOfNegatives = new NegativeScreen(lexical);
