// The screen of prompts. It is used as `guardedCheck(lexical, prompt)` (../asking.ts).

import { LexicalScreen } from "./lexical.ts";
import terms from "./terms.json" with { type: "json" };

export { LexicalScreen } from "./lexical.ts";
export { guardedCheck, type PromptScreen, ScreenUnavailable, type Verdict } from "./screen.ts";

export const lexical = new LexicalScreen(terms);
