import assert from "node:assert/strict";
import { refusal } from "./asking.ts";

// PostgREST answers 25006 (a standby, a read-only database) with 405 and others with 500 or 503: to a front end all of them are "later".
const AWAY = [["25006", 405], ["53100", 503], ["53300", 503], ["57P01", 503], ["57P03", 503], ["57014", 500]] as const;

for (const [code, status] of AWAY) {
  Deno.test(`the database's own state is answered 503, and quotes nothing: ${code}`, () => {
    const found = refusal({ code, message: "cannot execute INSERT: a lighthouse" }, status);
    assert.equal(found.status, 503);
    assert.equal(found.details, "The database did not answer. Try again later.");
  });
}

Deno.test("a refusal of the machine keeps its own status", () => {
  assert.equal(refusal({ code: "OV015", message: "Too many jobs." }, 429).status, 429);
});
