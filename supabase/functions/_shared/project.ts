// The project that a function runs in, and how it is asked: its address and keys come by the environment.
//
// Supabase hands functions two kinds of keys. SUPABASE_PUBLISHABLE_KEYS and SUPABASE_SECRET_KEYS are JSON objects of keys by their names,
// one of them `default`; SUPABASE_ANON_KEY and SUPABASE_SERVICE_ROLE_KEY are the legacy ones. The latter stay set when a project has
// disabled its legacy keys, and are dead then: so the former win.

import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import { isObject, variable } from "./http.ts";

/** What stands for nobody: it opens what anon may. */
export const publishableKey = (): string => keyOf("SUPABASE_PUBLISHABLE_KEYS") ?? variable("SUPABASE_ANON_KEY");
/** What opens the whole project. */
export const secretKey = (): string => keyOf("SUPABASE_SECRET_KEYS") ?? variable("SUPABASE_SERVICE_ROLE_KEY");

/** The project as the caller sees it: `authorization` is their own header, passed on as it came, whatever algorithm signed the JWT. */
export function asCaller(authorization: string): SupabaseClient {
  return client(publishableKey(), { Authorization: authorization });
}

export function asService(): SupabaseClient {
  return client(secretKey());
}

function client(key: string, headers: Record<string, string> = {}): SupabaseClient {
  return createClient(variable("SUPABASE_URL"), key, {
    global: { headers, fetch: (input, init) => fetch(input, apikeyAlone(init, key)) },
    auth: { persistSession: false, autoRefreshToken: false },
  });
}

/** supabase-js fills in the key as a bearer token where there is no session. A key of the new kind is no JWT: it goes as `apikey` alone. */
function apikeyAlone(init: RequestInit | undefined, key: string): RequestInit | undefined {
  if (!isNew(key) || !init) return init;
  const headers = new Headers(init.headers);
  if (headers.get("authorization") === `Bearer ${key}`) headers.delete("authorization");
  return { ...init, headers };
}

export function isNew(key: string): boolean {
  return key.startsWith("sb_publishable_") || key.startsWith("sb_secret_");
}

/** The gateway's answer to a legacy key that the project's owner has disabled: our trouble, never the caller's. */
export function isDisabledKey(message: string): boolean {
  return /legacy api keys? (?:is|are|was|were|has been|have been) disabled/i.test(message);
}

function keyOf(name: string): string | undefined {
  const text = Deno.env.get(name);
  if (!text) return undefined;
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    throw new Error(`${name} is not JSON`); // not quoted: it holds keys
  }
  const keys = isObject(found) ? [found["default"], ...Object.values(found)] : [];
  return keys.find((key): key is string => typeof key === "string" && key !== "");
}
