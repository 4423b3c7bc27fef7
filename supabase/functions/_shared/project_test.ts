import assert from "node:assert/strict";
import { asCaller, asService, isDisabledKey, publishableKey, secretKey } from "./project.ts";

const NAMES = ["SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEYS", "SUPABASE_SECRET_KEYS", "SUPABASE_ANON_KEY", "SUPABASE_SERVICE_ROLE_KEY"];
const LEGACY = { SUPABASE_ANON_KEY: "legacy.anon.key", SUPABASE_SERVICE_ROLE_KEY: "legacy.service.key" };

async function given<T>(variables: Record<string, string>, ask: () => T | Promise<T>): Promise<T> {
  const before = NAMES.map((name) => [name, Deno.env.get(name)] as const);
  for (const name of NAMES) Deno.env.delete(name);
  for (const [name, value] of Object.entries(variables)) Deno.env.set(name, value);
  try {
    return await ask();
  } finally {
    for (const [name, value] of before) value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
  }
}

/** The headers that reach the project when a function asks it for something. */
async function sent(variables: Record<string, string>, ask: () => ReturnType<typeof asService>): Promise<Headers> {
  let found = new Headers();
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    found = request.headers;
    return Response.json([]);
  });
  try {
    await given({ SUPABASE_URL: `http://127.0.0.1:${server.addr.port}`, ...variables }, () => ask().from("jobs").select("id"));
  } finally {
    await server.shutdown();
  }
  return found;
}

Deno.test("keys of the new kind win over the legacy ones, which stay set after they are disabled", async () => {
  const both = {
    ...LEGACY,
    SUPABASE_SECRET_KEYS: '{"cron":"sb_secret_b","default":"sb_secret_a"}',
    SUPABASE_PUBLISHABLE_KEYS: '{"web":"sb_publishable_w"}',
  };
  assert.equal(await given(both, secretKey), "sb_secret_a");
  assert.equal(await given(both, publishableKey), "sb_publishable_w"); // no default: the project's owner named it otherwise
  assert.equal(await given(LEGACY, secretKey), "legacy.service.key");
  assert.equal(await given({ ...LEGACY, SUPABASE_SECRET_KEYS: "{}", SUPABASE_PUBLISHABLE_KEYS: "" }, publishableKey), "legacy.anon.key");
});

Deno.test("keys that cannot be read are an error, and are not quoted", async () => {
  await assert.rejects(
    given({ ...LEGACY, SUPABASE_SECRET_KEYS: "sb_secret_a" }, secretKey),
    (error: Error) => !error.message.includes("sb_secret"),
  );
  await assert.rejects(given({}, secretKey), /SUPABASE_SERVICE_ROLE_KEY is not set/);
});

Deno.test("a key of the new kind goes as apikey alone, and a caller's own token beside it", async () => {
  const keys = { SUPABASE_SECRET_KEYS: '{"default":"sb_secret_a"}', SUPABASE_PUBLISHABLE_KEYS: '{"default":"sb_publishable_a"}' };
  const service = await sent(keys, asService);
  assert.deepEqual([service.get("apikey"), service.get("authorization")], ["sb_secret_a", null]);
  const caller = await sent(keys, () => asCaller("Bearer a.b.c"));
  assert.deepEqual([caller.get("apikey"), caller.get("authorization")], ["sb_publishable_a", "Bearer a.b.c"]);
  const legacy = await sent(LEGACY, asService);
  assert.deepEqual([legacy.get("apikey"), legacy.get("authorization")], ["legacy.service.key", "Bearer legacy.service.key"]);
});

Deno.test("a disabled legacy key is told from a bad token", () => {
  assert(isDisabledKey("Legacy API keys are disabled"));
  assert(!isDisabledKey("Invalid API key"));
});
