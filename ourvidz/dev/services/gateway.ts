/** Speaks as Supabase's gateway does: API keys checked and turned into roles, then on to PostgREST, Auth, Storage and the edge functions.
 *
 * Environment: PORT, PROJECT_FILE, REST, AUTH, STORAGE (their URLs), FUNCTIONS ([{name, url, verify}] as JSON). */
import { realtime } from "./realtime.ts";
import { env, type Key, keyOf, looksNew, project, roleToken, verify } from "./project.ts";

type Route = { name: string; url: string; verify: boolean };
const FUNCTIONS = new Map((JSON.parse(env("FUNCTIONS")) as Route[]).map((route) => [route.name, route]));
const CORS = {
  "access-control-allow-origin": "*",
  "access-control-allow-headers":
    "*, authorization, apikey, content-type, accept-profile, cache-control, content-profile, idempotency-key, prefer, range, x-client-info, " +
    "x-metadata, x-supabase-api-version, x-upsert, upload-length, upload-offset, upload-metadata, tus-resumable",
  "access-control-allow-methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
  "access-control-expose-headers":
    "*, location, link, upload-offset, upload-length, tus-resumable, content-range, x-total-count, x-supabase-api-version",
};
/** Paths that Supabase answers without a key. */
const OPEN = /^\/(auth\/v1\/(\.well-known\/jwks\.json|authorize|callback|verify)|(storage|functions)\/v1\/.*)$/;
const SERVICES: Record<string, string> = { auth: env("AUTH"), rest: env("REST"), storage: env("STORAGE") };

const json = (status: number, body: unknown) => Response.json(body, { status, headers: CORS });

function bearer(request: Request): string | undefined {
  return request.headers.get("authorization")?.match(/^bearer +(.+)$/i)?.[1]?.trim();
}

/** Why an API key is refused; a key when it is not. `undefined`: none was given. */
function apiKey(request: Request, key: string | null): Key | Response | undefined {
  if (!key) return undefined;
  const found = keyOf(key);
  if (!found) return json(401, { message: "Invalid API key", hint: "Double check your Supabase API key." });
  const disabled = project().legacy_disabled_at;
  if (found.legacy && disabled) {
    return json(401, {
      message: "Legacy API keys are disabled",
      hint:
        `Your legacy API keys (anon, service_role) were disabled on ${disabled}. Re-enable them in the Supabase dashboard, or use the ` +
        "new publishable and secret API keys.",
    });
  }
  if (!found.legacy && found.role === "service_role" && request.headers.get("user-agent")?.startsWith("Mozilla/")) {
    return json(401, {
      message: "Forbidden use of secret API key in browser",
      hint: "Secret API keys can only be used in a protected environment and should never be used in a browser. " +
        "Delete this secret API key immediately.",
    });
  }
  return found;
}

/** A service may close a connection that has been idle just when a request goes out on it, and such a request cannot always be repeated.
 * So each request has a connection of its own, which costs little on one machine. */
const upstream = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });

async function pass(request: Request, target: string, more: Record<string, string> = {}, cors = true): Promise<Response> {
  const headers = new Headers(request.headers);
  headers.delete("host");
  headers.set("accept-encoding", "identity"); // what fetch would decode, it could not pass on as it came
  for (const [name, value] of Object.entries(more)) headers.set(name, value);
  let answer: Response;
  try {
    const { method, body } = request;
    answer = await fetch(target, { method, headers, body, redirect: "manual", client: upstream });
  } catch (error) {
    console.error(new URL(target).pathname, error instanceof Error ? error.message : error);
    return json(503, { message: "name resolution failed" }); // Kong's words for an upstream that is away
  }
  const found = new Headers(answer.headers);
  if (cors) { for (const [name, value] of Object.entries(CORS)) found.set(name, value); }
  return new Response(answer.body, { status: answer.status, statusText: answer.statusText, headers: found });
}

async function callFunction(request: Request, path: string): Promise<Response> {
  const route = FUNCTIONS.get(path.split(/[/?]/)[1] ?? "");
  if (!route) return json(404, { code: "NOT_FOUND", message: "Requested function was not found" });
  if (route.verify && request.method !== "OPTIONS") {
    const token = bearer(request);
    if (!token) return json(401, { code: 401, message: "Missing authorization header" });
    try {
      await verify(token);
    } catch {
      return json(401, { code: 401, message: "Invalid JWT" });
    }
  }
  return pass(request, route.url + path, {}, false); // a function answers preflights itself
}

async function handle(request: Request): Promise<Response> {
  const url = new URL(request.url);
  const [, service = "", version, ...rest] = url.pathname.split("/");
  if (version !== "v1") return json(404, { message: "no Route matched with those values" });
  const given = request.headers.get("apikey") ?? url.searchParams.get("apikey");
  const preflight = request.method === "OPTIONS" && !request.headers.has("tus-resumable");
  if (preflight && service !== "functions") return new Response(null, { status: 200, headers: CORS });
  const key = preflight ? undefined : apiKey(request, given);
  if (key instanceof Response) return key;
  if (url.searchParams.has("apikey")) url.searchParams.delete("apikey"); // PostgREST would take it for a filter
  const path = `/${rest.join("/")}${url.search}`;
  if (service === "functions") return callFunction(request, path);
  if (!key && !OPEN.test(url.pathname)) {
    return json(401, { message: "No API key found in request", hint: "No `apikey` request header or url param was found." });
  }
  if (service === "realtime") return realtime(request, CORS);
  const target = SERVICES[service];
  if (!target) return json(404, { message: "no Route matched with those values" });
  const token = bearer(request);
  const more: Record<string, string> = { "x-forwarded-host": url.host, "x-forwarded-proto": "http" };
  if (service === "storage") more["x-forwarded-prefix"] = "/storage/v1";
  // A new-style key is no JWT: alone, or said twice as supabase-js does, it becomes its role's. As a bearer for itself it stays what it is,
  // and is refused behind here.
  if (key && given && (token === undefined || token === given)) {
    more.authorization = `Bearer ${looksNew(given) ? await roleToken(key.role) : given}`;
  }
  return pass(request, target + path, more);
}

Deno.serve({ hostname: "127.0.0.1", port: Number(env("PORT")), onListen: () => console.log("listening") }, handle);
