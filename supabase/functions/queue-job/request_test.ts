import assert from "node:assert/strict";
import { JOB_TYPES } from "../_shared/catalog.ts";
import { Refusal } from "../_shared/http.ts";
import { read } from "./request.ts";

const NONE = new Headers();
const GOOD = { jobType: "image_fast", metadata: { prompt: "a pier" } };

function field(body: Record<string, unknown>, headers = NONE): unknown {
  try {
    read(body, headers);
  } catch (error) {
    assert(error instanceof Refusal && error.status === 400);
    return error.more["field"] ?? Object.keys(error.more)[0];
  }
  return "it was taken";
}

Deno.test("every job type is known, and nothing that every object has", () => {
  for (const name of Object.keys(JOB_TYPES)) assert.deepEqual(read({ ...GOOD, jobType: name }, NONE).kind.name, name);
  for (const name of ["poster", "toString", "__proto__", "constructor", "", null, 5, ["image_fast"]]) {
    assert.deepEqual(field({ ...GOOD, jobType: name }), "validJobTypes");
  }
});

Deno.test("ids, texts and keys are checked by name", () => {
  const id = "0190a0f2-0000-7000-8000-0000000000aa";
  assert.deepEqual(read({ ...GOOD, projectId: id, videoId: null }, NONE).ids, { project_id: id });
  assert.deepEqual(field({ ...GOOD, projectId: "5" }), "projectId");
  assert.deepEqual(Object.keys(read({ ...GOOD, user_id: id, priority: 1 }, NONE).ids), [], "what is not known is ignored");
  assert.deepEqual(field({ ...GOOD, metadata: [] }), "metadata");
  assert.deepEqual(field({ ...GOOD, metadata: { prompt: 5 } }), "prompt");
  assert.deepEqual(field({ ...GOOD, metadata: { prompt: "x".repeat(4001) } }), "prompt");
  assert.deepEqual(read({ ...GOOD, metadata: { prompt: "😀".repeat(4000) } }, NONE).metadata["prompt"], "😀".repeat(4000));
  assert.deepEqual(field(GOOD, new Headers({ "Idempotency-Key": "x".repeat(201) })), "Idempotency-Key");
  assert.deepEqual(read(GOOD, new Headers({ "Idempotency-Key": "k" })).idempotencyKey, "k");
});

Deno.test("the negative prompt has two names", () => {
  assert.deepEqual(read({ ...GOOD, metadata: { negativePrompt: "fog" } }, NONE).negativePrompt, "fog");
  assert.deepEqual(read({ ...GOOD, metadata: { negative_prompt: "fog", negativePrompt: "rain" } }, NONE).negativePrompt, "fog");
  assert.deepEqual(read({ ...GOOD, metadata: { negative_prompt: " " } }, NONE).negativePrompt, null);
});
