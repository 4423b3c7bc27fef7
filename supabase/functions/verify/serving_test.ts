import assert from "node:assert/strict";
import { handle } from "./serving.ts";

Deno.env.set("SUPABASE_URL", "https://abc.supabase.co/");
Deno.env.set("SUPABASE_PUBLISHABLE_KEYS", '{"default":"sb_publishable_a"}');
const URL_ = "https://api.example.com/functions/v1/verify";
const ask = (method = "GET", headers: Record<string, string> = {}) => handle(new Request(URL_, { method, headers }));

Deno.test("the page runs its own script and style alone, and asks its project alone", async () => {
  const [one, two] = [ask(), ask()];
  const policy = one.headers.get("content-security-policy") ?? "";
  const nonce = /script-src 'nonce-([0-9a-f]{32})'/.exec(policy)?.[1];
  assert(nonce && !policy.includes("unsafe") && policy.includes("frame-ancestors 'none'") && policy.includes("default-src 'none'"));
  assert.equal(/connect-src ([^;]*)/.exec(policy)?.[1], "https://abc.supabase.co");
  assert(!(two.headers.get("content-security-policy") ?? "").includes(nonce), "a nonce is for one answer");
  const text = await one.text();
  assert.equal(one.headers.get("content-type"), "text/html; charset=utf-8");
  assert(!text.includes("{{") && !/ on[a-z]+="/.test(text) && !/ style="/.test(text));
  const blocks = [...text.matchAll(/<(script|style)\b([^>]*)>/g)];
  assert.equal(blocks.length, 3);
  for (const [, , attributes] of blocks) assert(attributes?.includes(`nonce="${nonce}"`));
  const config = JSON.parse(/id="config"[^>]*>(.*?)<\/script>/s.exec(text)?.[1] ?? "");
  assert.deepEqual([config.url, config.key, config.back], ["https://abc.supabase.co", "sb_publishable_a", ""]);
  const script = [...text.matchAll(/<script nonce="[^"]*">(.*?)<\/script>/gs)].at(-1)?.[1] ?? "";
  new Function(script); // it parses
});

Deno.test("on Supabase's own domain, where HTML is not shown, it says so or leads elsewhere", async () => {
  const host = { "x-forwarded-host": "abc.supabase.co" };
  const told = ask("GET", host);
  assert.equal(told.status, 503);
  assert.equal(told.headers.get("content-type"), "text/plain; charset=utf-8");
  assert((await told.text()).includes("VERIFY_PAGE_URL"));
  Deno.env.set("VERIFY_PAGE_URL", "https://app.example.com/verify.html");
  try {
    const led = ask("GET", host);
    assert.deepEqual([led.status, led.headers.get("location")], [302, "https://app.example.com/verify.html"]);
  } finally {
    Deno.env.delete("VERIFY_PAGE_URL");
  }
});

Deno.test("it only shows", () => {
  assert.equal(ask("POST").status, 405);
  assert.equal(ask("OPTIONS").status, 204);
  assert.equal(ask("HEAD").status, 200);
});
