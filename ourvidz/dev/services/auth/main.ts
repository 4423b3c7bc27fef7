/** The part of Supabase Auth's API that its clients use with e-mail and password, over auth.users and auth.sessions. Not there: mail,
 * OAuth, phones, second factors. A user is confirmed at once.
 *
 * Environment: PORT, PROJECT_FILE, ISSUER (the `iss` of tokens), and libpq's PG… for a role that may write schema auth. */
import postgres from "postgres";
import { type Claims, env, published, verify } from "../project.ts";
import { Refusal, refuse } from "./errors.ts";
import { matches } from "./passwords.ts";
import { begin, end, refreshed } from "./sessions.ts";
import { byEmail, byId, change, create, isBanned, remove, type Row, shown, type Wish } from "./users.ts";

const sql = postgres({ max: 5, onnotice: () => {}, connection: { application_name: "auth", statement_timeout: 30_000 } });
type Body = Record<string, unknown>;
type Ask = { request: Request; url: URL; body: Body; id: string };
type Answer = Response | Promise<Response>;

const json = (body: unknown, headers: Record<string, string> = {}) => Response.json(body, { headers });

const ROUTES: [string, RegExp, "open" | "admin", (ask: Ask) => Answer][] = [
  ["GET", /^\/health$/, "open", async () => json({ name: "GoTrue", version: `ourvidz dev up, ${(await sql`select 1`).length} database` })],
  ["GET", /^\/settings$/, "open", () => json({ external: { email: true }, disable_signup: false, mailer_autoconfirm: true })],
  ["GET", /^\/\.well-known\/jwks\.json$/, "open", () => json(published(), { "cache-control": "public, max-age=600" })],
  ["GET", /^\/authorize$/, "open", () => {
    throw refuse.invalid("Unsupported provider: provider is not enabled"); // as in a project without OAuth
  }],
  ["POST", /^\/signup$/, "open", signUp],
  ["POST", /^\/token$/, "open", token],
  ["GET", /^\/user$/, "open", async ({ request }) => json(shown((await caller(request)).user))],
  ["PUT", /^\/user$/, "open", changeOwn],
  ["POST", /^\/logout$/, "open", signOut],
  ["GET", /^\/admin\/users$/, "admin", list],
  ["POST", /^\/admin\/users$/, "admin", async ({ body }) => json(shown(await create(sql, wish(body, "email"), refuse.emailTaken)))],
  ["GET", /^\/admin\/users\/(?<id>[^/]+)$/, "admin", async ({ id }) => json(shown(await known(id)))],
  ["PUT", /^\/admin\/users\/(?<id>[^/]+)$/, "admin", async ({ id, body }) => json(shown(await change(sql, await known(id), wish(body))))],
  ["DELETE", /^\/admin\/users\/(?<id>[^/]+)$/, "admin", async ({ id }) => {
    await remove(sql, (await known(id)).id);
    return json({});
  }],
];
const ELSEWHERE = /^\/(callback|invite|otp|magiclink|recover|resend|verify|reauthenticate|factors|sso|admin\/generate_link)/;

async function answer(request: Request): Promise<Response> {
  const url = new URL(request.url);
  try {
    for (const [method, pattern, who, handle] of ROUTES) {
      const found = request.method === method ? pattern.exec(url.pathname) : null;
      if (!found) continue;
      if (who === "admin") await admin(request);
      const body = method === "POST" || method === "PUT" ? await read(request) : {};
      return await handle({ request, url, body, id: found.groups?.id ?? "" });
    }
    if (ELSEWHERE.test(url.pathname)) throw refuse.notServed(`${url.pathname}: mail, OAuth or a second factor`);
    return new Response("404 page not found\n", { status: 404 });
  } catch (error) {
    if (error instanceof Refusal) return error.response(request);
    console.error(url.pathname, error);
    return new Refusal(500, "unexpected_failure", "Unexpected failure, please check server logs for more information").response(request);
  }
}

async function read(request: Request): Promise<Body> {
  const text = await request.text();
  if (!text) return {};
  try {
    const found = JSON.parse(text);
    if (found && typeof found === "object" && !Array.isArray(found)) return found;
  } catch { /* refused below */ }
  throw refuse.json();
}

/** The fields that say what a user shall be; others are no concern of ours. Throws `validation_failed` for one of another type. */
function wish(body: Body, ...needed: string[]): Wish {
  const strings = ["id", "email", "password", "ban_duration"], objects = ["user_metadata", "app_metadata"];
  const found: Body = {};
  for (const name of [...strings, ...objects]) {
    const value = body[name];
    if (value === undefined || value === null) {
      if (needed.includes(name)) throw refuse.invalid(`${name} is required`);
    } else if (strings.includes(name) ? typeof value !== "string" : typeof value !== "object" || Array.isArray(value)) {
      throw refuse.invalid(`${name} must be ${strings.includes(name) ? "a string" : "an object"}`);
    } else found[name] = value;
  }
  return found as Wish;
}

async function claimed(request: Request): Promise<Claims> {
  const bearer = request.headers.get("authorization")?.match(/^bearer +(.+)$/i)?.[1];
  if (!bearer) throw refuse.noToken();
  try {
    return await verify(bearer.trim());
  } catch (error) {
    throw refuse.token((error as Error).message);
  }
}

async function caller(request: Request): Promise<{ user: Row; session?: string }> {
  const { sub, session_id: session } = await claimed(request);
  if (!sub) throw refuse.claim("missing sub claim");
  if (session && !(await sql`select from auth.sessions where id = ${session}`).length) throw refuse.noSession();
  const user = await byId(sql, sub);
  if (!user) throw refuse.noSubject();
  return { user, session };
}

async function admin(request: Request): Promise<void> {
  if ((await claimed(request)).role !== "service_role") throw refuse.notAdmin();
}

async function known(id: string): Promise<Row> {
  const user = await byId(sql, id);
  if (!user) throw refuse.noUser();
  return user;
}

async function signUp({ request, body }: Ask): Promise<Response> {
  if (!body.email && !body.phone) throw refuse.anonymous();
  const { email, password } = wish(body);
  if (!password) throw refuse.invalid("Signup requires a valid password");
  const { user_metadata } = wish({ user_metadata: body.data });
  const user = await create(sql, { email, password, user_metadata }, refuse.exists);
  return json(await begin(sql, user, request));
}

async function token({ request, url, body }: Ask): Promise<Response> {
  const kind = url.searchParams.get("grant_type");
  if (kind === "refresh_token") {
    if (typeof body.refresh_token !== "string" || !body.refresh_token) throw refuse.invalid("refresh_token required");
    return json(await refreshed(sql, body.refresh_token));
  }
  if (kind !== "password") throw refuse.grant();
  const { email, password } = wish(body);
  if (!email || !password) throw refuse.invalid("missing email or phone");
  const user = await byEmail(sql, email.toLowerCase());
  if (!await matches(password, user?.encrypted_password ?? null) || !user) throw refuse.credentials();
  if (isBanned(user)) throw refuse.banned();
  return json(await begin(sql, user, request));
}

async function changeOwn({ request, body }: Ask): Promise<Response> {
  const { user, session } = await caller(request);
  const { email, password } = wish(body);
  const { user_metadata } = wish({ user_metadata: body.data });
  if (password && await matches(password, user.encrypted_password)) throw refuse.samePassword();
  return json(shown(await change(sql, user, { email, password, user_metadata }, session)));
}

async function signOut({ request, url }: Ask): Promise<Response> {
  const scope = url.searchParams.get("scope") ?? "global";
  if (!["global", "local", "others"].includes(scope)) throw refuse.invalid(`Unsupported logout scope "${scope}"`);
  const { user, session } = await caller(request);
  await end(sql, user.id, session, scope);
  return new Response(null, { status: 204 });
}

async function list({ url }: Ask): Promise<Response> {
  const [page, size] = [["page", 1], ["per_page", 50]].map(([name, otherwise]) => Number(url.searchParams.get(`${name}`) || otherwise));
  if (!Number.isInteger(page) || !Number.isInteger(size) || page! < 1 || size! < 1) {
    throw refuse.invalid("page and per_page must be whole numbers above 0");
  }
  const [{ count }] = await sql`select count(*)::int as count from auth.users` as unknown as [{ count: number }];
  const rows = await sql<Row[]>`select * from auth.users order by created_at desc, id limit ${size!} offset ${(page! - 1) * size!}`;
  const last = Math.max(1, Math.ceil(count / size!));
  const link = (to: number, rel: string) => `</admin/users?page=${to}&per_page=${size}>; rel="${rel}"`;
  const links = [...(page! < last ? [link(page! + 1, "next")] : []), link(last, "last")];
  return json({ users: rows.map(shown), aud: "authenticated" }, { "x-total-count": String(count), link: links.join(", ") });
}

Deno.serve({ hostname: "127.0.0.1", port: Number(env("PORT")), onListen: () => console.log("listening") }, answer);
