import assert from "node:assert/strict";
import process from "node:process";
import { guardedCheck, lexical, LexicalScreen, type PromptScreen, ScreenUnavailable, type Verdict } from "./mod.ts";
import { squeezed } from "./fold.ts";
import { size, withoutLast } from "./characters.ts";
import type { Terms } from "./rules.ts";
import terms from "./terms.json" with { type: "json" };

const TEXT = "a photo of a lighthouse";
const VERDICT: Verdict = { allowed: true, policy_version: "1", category: null, rule_id: null };

Deno.test("a verdict names rules and never words", () => {
  assert.deepEqual(lexical.check(TEXT), { ...VERDICT, policy_version: terms.policy_version });
  const refused = { allowed: false, policy_version: terms.policy_version, category: "minors", rule_id: "en/word" };
  assert.deepEqual(lexical.check("a photo of a toddler"), refused);
});

const unavailable = (error: unknown) => {
  assert(error instanceof ScreenUnavailable);
  assert(!error.message.includes("lighthouse") && error.cause === undefined);
  return true;
};

const WRONG: Record<string, Partial<Record<keyof Terms, unknown>>> = {
  "not complete": { complete: false },
  "no version": { policy_version: "" },
  "no terms": { meanings: {} },
  "no patterns": { patterns: [] },
  "a pattern cut short": { patterns: [["en/x", "en"]] },
  "an empty word": { inside: { "en/inside": "a  b" } },
  "no range": { letters: "41-" },
  "a range backwards": { letters: "5a-41" },
  "no such character": { unknown: "110000" },
};
for (const [name, change] of Object.entries(WRONG)) {
  Deno.test(`wrong tables fail closed: ${name}`, () => {
    const screen = new LexicalScreen({ ...terms, ...change } as Terms);
    assert.throws(() => screen.check(TEXT), unavailable);
  });
}
for (const name of Object.keys(terms)) {
  Deno.test(`missing tables fail closed: ${name}`, () => {
    const { [name as keyof Terms]: _, ...others } = terms;
    assert.throws(() => new LexicalScreen(others as Terms).check(TEXT), unavailable);
  });
}

for (const text of [null, undefined, 17, {}, "a".repeat(terms.max_text + 1)]) {
  Deno.test(`what is no text, or too long a one, gets no answer: ${typeof text}`, () => {
    assert.throws(() => lexical.check(text as string), unavailable);
  });
}

const ANSWERS: Record<string, () => unknown> = {
  "nothing": () => undefined,
  "true": () => true,
  "no version": () => ({ ...VERDICT, policy_version: "" }),
  "yes, for a reason": () => ({ ...VERDICT, category: "minors" }),
  "no, for none": () => ({ ...VERDICT, allowed: false }),
  "a word": () => ({ ...VERDICT, allowed: "no" }),
  "an error": () => {
    throw new RangeError(TEXT);
  },
  "a rejection": () => Promise.reject(new RangeError(TEXT)),
  "a thrown text": () => {
    throw TEXT;
  },
};
for (const [name, check] of Object.entries(ANSWERS)) {
  Deno.test(`a guarded screen fails closed: ${name}`, async () => {
    await assert.rejects(guardedCheck({ check } as PromptScreen, TEXT), unavailable);
  });
}

Deno.test("a guarded screen that hangs is left behind", async () => {
  await assert.rejects(guardedCheck({ check: () => new Promise(() => {}) }, TEXT, 20), unavailable);
});

Deno.test("a guarded screen passes verdicts on", async () => {
  assert.deepEqual(await guardedCheck({ check: () => Promise.resolve(VERDICT) }, TEXT), VERDICT);
  assert.equal((await guardedCheck(lexical, "a photo of a toddler")).allowed, false);
});

Deno.test("letters are counted as Python counts them", () => {
  assert.deepEqual(squeezed("teeeen"), ["teeeen", "ten", "teen"]);
  assert.deepEqual(squeezed("𐐀𐐀𐐀d"), ["𐐀𐐀𐐀d", "𐐀d", "𐐀𐐀d"]);
  assert.deepEqual(squeezed("\n\n\n"), ["\n\n\n", "\n", "\n\n"]);
  assert.equal(size("a𐐀"), 2);
  assert.deepEqual(["", "a", "ab", "𐐀", "a𐐀", "𐐀a"].map(withoutLast), ["", "", "a", "", "a", "𐐀"]);
});

const ADVERSARIAL = [
  "t e ",
  "t.e.",
  "te",
  "e",
  "1",
  "1 ",
  "twenty one ",
  "1,000,",
  "t3",
  "!@",
  "a*",
  "young pretty ",
  "小女",
  "\ufdfa",
  "𐐀",
];
for (const unit of ADVERSARIAL) {
  Deno.test(`time grows with length alone: ${JSON.stringify(unit)}`, () => {
    const ms = (length: number, times: number) => {
      const text = [...unit.repeat(length)].slice(0, length).join("");
      const start = process.cpuUsage();
      for (let n = 0; n < times; n++) lexical.check(text);
      return process.cpuUsage(start).user / 1000;
    };
    // The same length in eight texts and in one: about the same time, and eight times as long where a step is quadratic. CPU time, which other
    // programs do not lengthen, summed up, because the kernel counts it in ticks of milliseconds.
    let short = 0, long = 0;
    for (let tries = 0; tries < 12; tries++) {
      short += ms(2_000, 8);
      long += ms(16_000, 1);
      if (short > 0 && long < 3 * short) return;
    }
    assert.fail(`${short} ms, then ${long} ms`);
  });
}
