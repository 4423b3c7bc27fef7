import assert from "node:assert/strict";
import { Refusal } from "../_shared/http.ts";
import { fieldsOf, read } from "./message.ts";
import { handler } from "./serving.ts";

const USER = "0190a0f2-0000-7000-8000-000000000001";
const says = (data: Record<string, unknown>, more = {}) => read({ data: { user_id: USER, ...data }, ...more }, fieldsOf(undefined));

Deno.test("the default table reads what most providers send", () => {
  assert.deepEqual(says({ status: "approved", id: "case_5", expires_at: "2031-05-01" }, { timestamp: "2025-07-07T12:00:00Z" }), {
    user_id: USER,
    decision: "verified",
    until: "2031-05-01T00:00:00.000Z",
    said_at: "2025-07-07T12:00:00.000Z",
    reference: "case_5",
  });
  assert.equal(says({ status: "declined" })?.decision, "refused");
  assert.equal(says({ status: "pending", id: "a name, typed" })?.reference, null);
  assert.equal(says({ status: "document.uploaded" }), null);
});

Deno.test("another provider is another table", () => {
  const fields = fieldsOf('{"user": "inquiry.ref", "decision": "event", "verified": ["inquiry.ok"], "until": "inquiry.ends"}');
  const found = read({ event: "inquiry.ok", inquiry: { ref: USER, ends: 1935532800 } }, fields);
  assert.deepEqual([found?.decision, found?.until], ["verified", "2031-05-03T00:00:00.000Z"]);
});

Deno.test("what cannot be read is refused by its field", () => {
  for (
    const [data, named] of [[{ status: "approved", user_id: "me" }, "data.user_id"], [
      { status: "approved", expires_at: "soon" },
      "data.expires_at",
    ]] as const
  ) {
    assert.throws(() => says(data), (error) => error instanceof Refusal && error.status === 400 && error.details.includes(named));
  }
  assert.equal(says({ status: "__proto__" }), null);
  assert.equal(read({}, fieldsOf('{"decision": "constructor.name", "verified": ["Object"]}')), null, "only the message's own fields");
});

Deno.test("a table that is wrong is said by its name", () => {
  for (const text of ["{", "[]", '{"verified": "approved"}', '{"other": "x"}', '{"user": 5}']) {
    assert.throws(
      () => fieldsOf(text),
      (error) => error instanceof Refusal && error.status === 503 && error.details.includes("AGE_WEBHOOK_FIELDS"),
    );
  }
});

Deno.test("without a key that is long enough and its own, nothing is read", async () => {
  const long = "whsec_" + btoa("k".repeat(24));
  Deno.env.set("CALLBACK_SECRET", long);
  try {
    for (const secret of ["", "whsec_", "whsec_" + btoa("k".repeat(23)), "k".repeat(64), "whsec_%%%", long, `${long} whsec_`]) {
      Deno.env.set("AGE_WEBHOOK_SECRET", secret);
      const answer = await handler(new Request("http://127.0.0.1/age-webhook", { method: "POST", body: "{}" }));
      assert.equal(answer.status, 503, secret);
      assert((await answer.json()).details.includes("AGE_WEBHOOK_SECRET"));
    }
  } finally {
    Deno.env.delete("AGE_WEBHOOK_SECRET");
    Deno.env.delete("CALLBACK_SECRET");
  }
});
