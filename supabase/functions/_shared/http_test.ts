import assert from "node:assert/strict";
import { bodyOf, json, objectOf, posts, Refusal } from "./http.ts";

const request = (body: BodyInit | null, method = "POST") => new Request("http://localhost/f", { method, body });

async function refusal(ask: () => unknown): Promise<Refusal> {
  try {
    await ask();
  } catch (error) {
    assert(error instanceof Refusal);
    return error;
  }
  throw new Error("it was taken");
}

Deno.test("an object is read, and nothing else", async () => {
  assert.deepEqual(objectOf('{"a": [1, {"b": "ü"}]}'), { a: [1, { b: "ü" }] });
  for (const text of ["", "{", "[]", "5", "null", '"text"']) assert.equal((await refusal(() => objectOf(text))).status, 400);
});

Deno.test("what Postgres cannot hold is refused wherever it stands", async () => {
  for (const text of ['{"a": "x\\u0000"}', '{"a": {"b": ["\\ud800"]}}', '{"a\\u0000": 1}']) {
    assert.equal((await refusal(() => objectOf(text))).status, 400);
  }
});

Deno.test("depth is bounded, width is not", async () => {
  const nested = (depth: number) => '{"a":'.repeat(depth) + "1" + "}".repeat(depth);
  objectOf(nested(32));
  await refusal(() => objectOf(nested(33)));
  await refusal(() => objectOf('{"a":' + "[".repeat(10_000) + "]".repeat(10_000) + "}"));
  objectOf(JSON.stringify({ a: Array.from({ length: 10_000 }, () => 1) }));
});

Deno.test("a large body is refused before it is read to its end", async () => {
  let pulled = 0;
  const endless = new ReadableStream({
    pull(controller) {
      pulled++;
      controller.enqueue(new Uint8Array(1024));
    },
  });
  const found = await refusal(() => bodyOf(request(endless), 4096));
  assert.deepEqual(found.status, 413);
  assert.deepEqual(pulled < 20, true);
  assert.equal((await refusal(() => bodyOf(request(new Uint8Array([0xff, 0xfe])), 10))).status, 400);
  assert.deepEqual(await bodyOf(request("whole"), 5), "whole");
});

Deno.test("preflights, wrong methods, refusals and faults all have their answer", async () => {
  const handle = posts("f", (asked) => {
    const word = asked.headers.get("x-do");
    if (word === "refuse") throw new Refusal(402, "No", "Because.", { code: "X" }, { "Retry-After": "3" });
    if (word === "fail") throw new Error("the prompt was: secret");
    return Promise.resolve(json(200, { done: true }));
  });
  const ask = (word: string) => handle(new Request("http://localhost/f", { method: "POST", headers: { "x-do": word } }));
  assert.deepEqual((await handle(request(null, "OPTIONS"))).status, 204);
  assert.deepEqual((await handle(request(null, "GET"))).status, 405);
  const refused = await ask("refuse");
  assert.deepEqual([refused.status, refused.headers.get("retry-after")], [402, "3"]);
  assert.deepEqual(await refused.json(), { error: "No", success: false, details: "Because.", code: "X" });
  const failed = await ask("fail");
  assert.deepEqual([failed.status, (await failed.text()).includes("secret")], [500, false]);
  assert.deepEqual((await ask("work")).headers.get("access-control-allow-origin"), "*");
});
