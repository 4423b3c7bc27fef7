// The screen of prompts: `import { lexical, guardedCheck } from "../_shared/screen/mod.ts"`, then `await guardedCheck(lexical, prompt)`.

import { LexicalScreen } from "./lexical.ts";
import terms from "./terms.json" with { type: "json" };

export { LexicalScreen } from "./lexical.ts";
export { guardedCheck, type PromptScreen, ScreenUnavailable, type Verdict } from "./screen.ts";

export const lexical = new LexicalScreen(terms);
