// Speaks as Supabase's gateway does: keys checked, then on to PostgREST, the edge functions and Storage; of Auth only `GET /user`.
// Everything comes by the environment (ourvidz/dev/stack.py).

const env = (name: string): string => {
  const found = Deno.env.get(name);
  if (found === undefined) throw new Error(`${name} is not set`);
  return found;
};

type Route = { name: string; url: string; verify: boolean };
const KEYS = [env("ANON_KEY"), env("SERVICE_KEY")];
const FUNCTIONS = new Map((JSON.parse(env("FUNCTIONS")) as Route[]).map((route) => [route.name, route]));
const SECRET = await crypto.subtle.importKey(
  "raw",
  new TextEncoder().encode(env("JWT_SECRET")),
  { name: "HMAC", hash: "SHA-256" },
  false,
  ["verify"],
);
const CORS = {
  "access-control-allow-origin": "*",
  "access-control-allow-headers":
    "*, authorization, apikey, content-type, prefer, x-client-info, x-upsert, upload-length, upload-offset, " +
    "upload-metadata, tus-resumable",
  "access-control-allow-methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
  "access-control-expose-headers": "*, location, upload-offset, upload-length, tus-resumable, content-range",
};

const json = (status: number, body: unknown) => Response.json(body, { status, headers: CORS });

function decoded(part: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(part.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
}

/** The claims of a token that this project signed and that is still valid; else why not. */
async function claims(authorization: string | null): Promise<Record<string, unknown> | string> {
  const token = authorization?.match(/^bearer (.+)$/i)?.[1];
  if (!token) return "no bearer token";
  try {
    const [head, body, signature, ...more] = token.split(".");
    const read = (part: string) => JSON.parse(new TextDecoder().decode(decoded(part)));
    if (more.length || read(head).alg !== "HS256") return "signing method is not HS256";
    const signed = new TextEncoder().encode(`${head}.${body}`);
    if (!await crypto.subtle.verify("HMAC", SECRET, decoded(signature), signed)) return "signature is invalid";
    const found = read(body);
    return typeof found.exp === "number" && found.exp * 1000 <= Date.now() ? "token is expired" : found;
  } catch {
    return "token is malformed";
  }
}

async function pass(request: Request, target: string, more: Record<string, string> = {}, cors = true): Promise<Response> {
  const headers = new Headers(request.headers);
  headers.delete("host");
  headers.set("accept-encoding", "identity"); // what fetch would decode, it could not pass on as it came
  for (const [name, value] of Object.entries(more)) headers.set(name, value);
  let answer: Response;
  try {
    const { method, body } = request;
    answer = await fetch(target, { method, headers, body, redirect: "manual" });
  } catch (error) {
    console.error(new URL(target).pathname, error instanceof Error ? error.message : error);
    return json(503, { message: "name resolution failed" }); // Kong's words for an upstream that is away
  }
  const found = new Headers(answer.headers);
  if (cors) { for (const [name, value] of Object.entries(CORS)) found.set(name, value); }
  return new Response(answer.body, { status: answer.status, statusText: answer.statusText, headers: found });
}

async function user(request: Request): Promise<Response> {
  const found = await claims(request.headers.get("authorization"));
  if (typeof found === "string") {
    return json(403, { code: 403, error_code: "bad_jwt", msg: `invalid JWT: unable to parse or verify signature, ${found}` });
  }
  if (!found.sub) return json(403, { code: 403, error_code: "bad_jwt", msg: "invalid claim: missing sub claim" });
  const { sub: id, aud, role, email, app_metadata, user_metadata, is_anonymous } = found;
  return json(200, { id, aud, role, email, phone: "", app_metadata, user_metadata, identities: [], is_anonymous: is_anonymous ?? false });
}

async function handle(request: Request): Promise<Response> {
  const url = new URL(request.url);
  const [, service, version, ...rest] = url.pathname.split("/");
  const path = `/${rest.join("/")}${url.search}`;
  if (version === "v1" && service === "functions") {
    const route = FUNCTIONS.get(rest[0]);
    if (!route) return json(404, { code: "NOT_FOUND", message: "Requested function was not found" });
    if (route.verify && request.method !== "OPTIONS") {
      const found = await claims(request.headers.get("authorization"));
      if (typeof found === "string") {
        return json(401, { code: 401, message: request.headers.has("authorization") ? "Invalid JWT" : "Missing authorization header" });
      }
    }
    return pass(request, route.url + path, {}, false); // a function answers preflights itself
  }
  if (request.method === "OPTIONS" && !request.headers.has("tus-resumable")) return new Response(null, { status: 200, headers: CORS });
  if (version === "v1" && service === "storage") {
    const from = { "x-forwarded-host": url.host, "x-forwarded-proto": "http", "x-forwarded-prefix": "/storage/v1" };
    return pass(request, env("STORAGE") + path, from);
  }
  if (version !== "v1" || (service !== "rest" && service !== "auth")) return json(404, { message: "no Route matched with those values" });
  const key = request.headers.get("apikey") ?? url.searchParams.get("apikey");
  if (!key) return json(401, { message: "No API key found in request", hint: "No `apikey` request header or url param was found." });
  if (!KEYS.includes(key)) {
    return json(401, { message: "Invalid API key", hint: "Double check your Supabase `anon` or `service_role` API key." });
  }
  if (service === "auth") {
    return path === "/user" && request.method === "GET" ? user(request) : json(404, { message: "only GET /user is spoken here" });
  }
  if (url.searchParams.has("apikey")) url.searchParams.delete("apikey"); // PostgREST would take it for a filter
  return pass(request, `${env("REST")}/${rest.join("/")}${url.search}`, {
    authorization: request.headers.get("authorization") ?? `Bearer ${key}`,
  });
}

Deno.serve({ hostname: "127.0.0.1", port: Number(env("PORT")), onListen: () => console.log("listening") }, handle);
