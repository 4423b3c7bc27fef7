import assert from "node:assert/strict";
import { address, escape, type File, handle, network } from "./serving.ts";

Deno.env.set("SUPABASE_URL", "https://abc.supabase.co/");
Deno.env.set("SUPABASE_SECRET_KEYS", '{"default":"sb_secret_a"}');
const URL_ = "https://api.example.com/functions/v1/report";
const OUTPUT = "0b2c3d4e-1111-4222-8333-444455556666.2";

type Filed = Record<string, unknown>;
function taking(): { filed: Filed[]; file: File } {
  const filed: Filed[] = [];
  return {
    filed,
    file: (one) => {
      filed.push(one);
      return Promise.resolve({ hours: 48 });
    },
  };
}
const post = (fields: Record<string, string>, file: File, headers: Record<string, string> = {}) =>
  handle(new Request(URL_, { method: "POST", body: new URLSearchParams(fields), headers }), file);
const GOOD = { output: OUTPUT, category: "other", said: "seen on a wall" };

Deno.test("the form works without scripts, and may run none", async () => {
  const answer = await handle(new Request(`${URL_}?o=${OUTPUT}`));
  const policy = answer.headers.get("content-security-policy") ?? "";
  const text = await answer.text();
  assert.equal(answer.headers.get("content-type"), "text/html; charset=utf-8");
  assert(policy.includes("default-src 'none'") && policy.includes("form-action 'self'") && !policy.includes("script-src"));
  assert(!text.includes("{{") && !text.includes("<script") && text.includes(`value="${OUTPUT}"`) && !/ on[a-z]+="/.test(text));
  assert.equal([...text.matchAll(/type="radio"/g)].length, 5);
  for (const [, name] of text.matchAll(/ id="(output|said|contact|signature)"/g)) assert(text.includes(`for="${name}"`), name);
});

Deno.test("what was typed comes back escaped, and once", async () => {
  const bad = `"><script>alert(1)</script>'{{body}}{{nonce}}`;
  const refused = await post({ ...GOOD, output: bad, said: `</textarea>${bad}`, contact: bad }, taking().file);
  const text = await refused.text();
  assert.equal(refused.status, 400);
  assert(!text.includes("<script") && !text.includes("</textarea><") && text.includes(escape(bad)) && text.includes('role="alert"'));
  const asked = await (await handle(new Request(`${URL_}?o=${encodeURIComponent(bad)}`))).text();
  assert(!asked.includes("<script") && asked.includes(escape(bad)));
});

Deno.test("a report is filed once under the form's id, with a hash of the address and not the address", async () => {
  const { filed, file } = taking();
  const id = crypto.randomUUID();
  const answer = await post({ ...GOOD, id, good_faith: "yes" }, file, { "x-forwarded-for": "1.2.3.4, 203.0.113.9" });
  assert.equal(answer.status, 200);
  assert((await answer.text()).includes(id));
  const { source, ...rest } = filed[0]!;
  assert.deepEqual(rest, { id, ...GOOD, contact: null, signature: null, good_faith: true });
  assert.match(String(source), /^[0-9a-f]{64}$/);
  assert(!JSON.stringify(filed).includes("203.0.113"));
  await post(GOOD, file, { "x-forwarded-for": "9.9.9.9, 203.0.113.9" });
  await post(GOOD, file, { "x-forwarded-for": "1.2.3.4, 203.0.113.8" });
  assert.equal(filed[1]!.source, source, "what a sender puts before its address counts for nothing");
  assert.notEqual(filed[2]!.source, source);
});

Deno.test("addresses", () => {
  const of = (headers: Record<string, string>) => address(new Headers(headers));
  assert.equal(of({ "cf-connecting-ip": "203.0.113.9", "x-forwarded-for": "1.1.1.1" }), "203.0.113.9");
  Deno.env.set("SUPABASE_URL", "https://supabase.example.com");
  assert.equal(of({ "cf-connecting-ip": "203.0.113.9", "x-forwarded-for": "1.1.1.1" }), "1.1.1.1", "no Cloudflare overwrites it there");
  Deno.env.set("SUPABASE_URL", "https://abc.supabase.co/");
  assert.equal(of({}), "unknown");
  assert.equal(network("2001:db8:1:2:3:4:5:6"), network("2001:0db8:0001:2::9"));
  assert.notEqual(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
  assert.equal(network("::ffff:203.0.113.9"), "203.0.113.9");
});

Deno.test("a program that fills in everything is told that it was received, and nothing is filed", async () => {
  const { filed, file } = taking();
  assert.equal((await post({ ...GOOD, website: "x" }, file)).status, 200);
  assert.equal(filed.length, 0);
});

Deno.test("what is missing, too long or not text is refused by name", async () => {
  const { filed, file } = taking();
  const cases: [Record<string, string>, string | undefined][] = [
    [{ ...GOOD, category: "toString" }, "category"],
    [{ ...GOOD, output: "", said: " " }, "output"],
    [{ ...GOOD, said: "x".repeat(4001) }, "said"],
    [{ ...GOOD, output: "x".repeat(501) }, "output"],
    [{ ...GOOD, contact: "nobody" }, "contact"],
    [{ ...GOOD, said: "a\0b" }, undefined],
  ];
  for (const [fields, field] of cases) {
    const body = JSON.stringify(fields);
    const answer = await handle(new Request(URL_, { method: "POST", body, headers: { "content-type": "application/json" } }), file);
    const told = await answer.json();
    assert.deepEqual([answer.status, told.field, told.success], [400, field, false]);
  }
  assert.equal((await post({ ...GOOD, said: "x".repeat(40_000) }, file)).status, 413);
  assert.equal((await handle(new Request(URL_, { method: "PUT" }), file)).status, 405);
  assert.equal(filed.length, 0);
});

Deno.test("on Supabase's own domain it speaks plain text, and leads to the page where one is hosted", async () => {
  const host = { "x-forwarded-host": "abc.supabase.co" };
  const sent = await post(GOOD, taking().file, host);
  assert.equal(sent.headers.get("content-type"), "text/plain; charset=utf-8");
  assert((await sent.text()).startsWith("Your report was received."));
  assert.equal((await handle(new Request(URL_, { headers: host }))).status, 503);
  Deno.env.set("REPORT_PAGE_URL", "https://app.example.com/report.html");
  try {
    const led = await handle(new Request(`${URL_}?o=${OUTPUT}`, { headers: host }));
    assert.deepEqual([led.status, led.headers.get("location")], [302, `https://app.example.com/report.html?o=${OUTPUT}`]);
  } finally {
    Deno.env.delete("REPORT_PAGE_URL");
  }
});
