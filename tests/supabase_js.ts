/** Runs what tests send it, a line of JSON each ({"body", "given"}), with supabase-js; answers a line of JSON ({"result"} or {"error"}).
 * A body is the inside of an async function that sees: `client` (this process's, signed in or not), `connect(key)` for further clients,
 * `given` (the test's values), `kept` (an object that lasts from one body to the next). */
import { createClient } from "@supabase/supabase-js";
import { createInterface } from "node:readline";

const url = Deno.env.get("SUPABASE_URL")!;
const connect = (key: string, options: Record<string, unknown> = {}) =>
  createClient(url, key, { auth: { persistSession: false, autoRefreshToken: false }, ...options });
const client = connect(Deno.env.get("KEY")!);
const kept: Record<string, unknown> = {};
const AsyncFunction = (async () => {}).constructor as new (...words: string[]) => (...values: unknown[]) => Promise<unknown>;

for await (const line of createInterface({ input: (await import("node:process")).stdin })) {
  const { body, given } = JSON.parse(line);
  let answer;
  try {
    const result = await new AsyncFunction("client", "connect", "given", "kept", body)(client, connect, given, kept);
    answer = { result: result ?? null };
  } catch (error) {
    answer = { error: error instanceof Error ? `${error.name}: ${error.message}` : JSON.stringify(error) };
  }
  console.log(JSON.stringify(answer));
}
