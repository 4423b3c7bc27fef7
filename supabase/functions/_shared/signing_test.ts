import { strict as assert } from "node:assert";
import cases from "../../../tests/data/signing_secrets.json" with { type: "json" };
import { BadSecret, keysOf } from "./signing.ts";

Deno.test("secrets are read as the deliverer reads them", () => {
  for (const { held, keys, refused } of cases as { held: string; keys?: string[]; refused?: string }[]) {
    if (keys) assert.deepEqual(keysOf(held).map((key) => key.toHex()), keys, held);
    else assert.throws(() => keysOf(held), (error) => error instanceof BadSecret && error.message.includes(refused ?? ""), held);
  }
});
