/** Sessions: an access token of an hour, and refresh tokens of which each is good once. */
import type postgres from "postgres";
import { env, sign } from "../project.ts";
import { refuse } from "./errors.ts";
import { appMetadata, byId, isBanned, type Row, shown } from "./users.ts";

const SECONDS = 3600; // an access token's life, as Supabase's default
const REUSE = 10; // seconds in which a used refresh token may come again: two tabs of a browser, or an answer that was lost

type Token = { id: string; token: string; user_id: string; session_id: string; parent: string | null; revoked: boolean; used: Date };

export async function begin(sql: postgres.Sql, user: Row, request: Request): Promise<Record<string, unknown>> {
  const session = crypto.randomUUID();
  const refresh = fresh();
  await sql.begin(async (tx) => {
    await tx`insert into auth.sessions (id, user_id, created_at, updated_at, aal, user_agent)
             values (${session}, ${user.id}, now(), now(), 'aal1', ${request.headers.get("user-agent")})`;
    await tx`insert into auth.refresh_tokens (token, user_id, session_id, revoked, created_at, updated_at)
             values (${refresh}, ${user.id}, ${session}, false, now(), now())`;
    await tx`update auth.users set last_sign_in_at = now() where id = ${user.id}`;
  });
  return await answer({ ...user, last_sign_in_at: new Date() }, session, new Date(), refresh);
}

/** A used token that comes again after `REUSE` seconds ends its session: one of the two who have it stole it. */
export async function refreshed(sql: postgres.Sql, given: string): Promise<Record<string, unknown>> {
  const found = await sql.begin(async (tx) => {
    // The session is locked, so that of two refreshes at once the second sees what the first did.
    const [session] = await tx<{ id: string; created_at: Date }[]>`
      select s.id, s.created_at from auth.sessions as s join auth.refresh_tokens as t on t.session_id = s.id
      where t.token = ${given} for update of s`;
    const [token] = session ? await tx<Token[]>`select *, updated_at as used from auth.refresh_tokens where token = ${given}` : [];
    if (!session || !token) throw refuse.noRefreshToken();
    const user = await byId(tx, token.user_id);
    if (!user) throw refuse.noRefreshToken();
    if (isBanned(user)) throw refuse.banned();
    const [active] = await tx<Token[]>`select * from auth.refresh_tokens where session_id = ${session.id} and not revoked`;
    if (token.revoked && active?.parent === given) return { user, session, refresh: active.token }; // its answer was lost
    if (token.revoked && Date.now() - token.used.getTime() > REUSE * 1000) {
      await tx`delete from auth.sessions where id = ${session.id}`;
      return undefined;
    }
    const refresh = fresh();
    await tx`update auth.refresh_tokens set revoked = true, updated_at = now() where session_id = ${session.id} and not revoked`;
    await tx`insert into auth.refresh_tokens (token, user_id, session_id, parent, revoked, created_at, updated_at)
             values (${refresh}, ${user.id}, ${session.id}, ${given}, false, now(), now())`;
    await tx`update auth.sessions set refreshed_at = now(), updated_at = now() where id = ${session.id}`;
    return { user, session, refresh };
  });
  if (!found) throw refuse.usedRefreshToken();
  return await answer(found.user, found.session.id, found.session.created_at, found.refresh);
}

export async function end(sql: postgres.Sql, user: string, session: string | undefined, scope: string): Promise<void> {
  if (scope === "global") await sql`delete from auth.sessions where user_id = ${user}`;
  else if (scope === "local") await sql`delete from auth.sessions where id = ${session ?? null}::uuid`;
  else await sql`delete from auth.sessions where user_id = ${user} and id is distinct from ${session ?? null}::uuid`;
}

async function answer(user: Row, session_id: string, since: Date, refresh_token: string): Promise<Record<string, unknown>> {
  const { id: sub, email } = user;
  const access_token = await sign({
    iss: env("ISSUER"),
    sub,
    aud: "authenticated",
    email: email ?? "",
    phone: "",
    app_metadata: appMetadata(user),
    user_metadata: user.raw_user_meta_data ?? {},
    role: "authenticated",
    aal: "aal1",
    amr: [{ method: "password", timestamp: Math.floor(since.getTime() / 1000) }],
    session_id,
    is_anonymous: false,
  }, SECONDS);
  const expires_at = Math.floor(Date.now() / 1000) + SECONDS;
  return { access_token, token_type: "bearer", expires_in: SECONDS, expires_at, refresh_token, user: shown(user) };
}

const fresh = (): string =>
  btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(18)))).replaceAll("+", "-").replaceAll("/", "_");
