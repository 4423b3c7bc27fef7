"""An edge function that returns its caller and its input, for tests of the stack itself."""

from __future__ import annotations

ECHO = """
import { createClient } from "@supabase/supabase-js";
Deno.serve(async (request) => {
  const client = createClient(Deno.env.get("SUPABASE_URL")!, Deno.env.get("SUPABASE_ANON_KEY")!, {
    global: { headers: { Authorization: request.headers.get("Authorization")! } },
  });
  const { data, error } = await client.auth.getUser(request.headers.get("Authorization")?.replace("Bearer ", ""));
  const names = ["SUPABASE_SERVICE_ROLE_KEY", "UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN", "CALLBACK_SECRET"];
  const given = names.filter((name) => Deno.env.get(name));
  const keys = Object.fromEntries(Object.entries(Deno.env.toObject()).filter(([name]) => /^SUPABASE_.*KEYS?$/.test(name)));
  return Response.json({ user: data.user?.id, error: error?.message, given, keys, path: new URL(request.url).pathname });
});
"""
