/** Users in auth.users, under the names that Supabase Auth gives its columns. */
import postgres from "postgres";
import { refuse, strong } from "./errors.ts";
import { hashed } from "./passwords.ts";

export type Sql = postgres.Sql | postgres.TransactionSql;
export type Row = {
  id: string;
  email: string | null;
  encrypted_password: string | null;
  email_confirmed_at: Date | null;
  last_sign_in_at: Date | null;
  banned_until: Date | null;
  raw_app_meta_data: Record<string, unknown> | null;
  raw_user_meta_data: Record<string, unknown> | null;
  created_at: Date | null;
  updated_at: Date | null;
};
export type Wish = {
  id?: string;
  email?: string;
  password?: string;
  user_metadata?: Record<string, unknown>;
  app_metadata?: Record<string, unknown>;
  ban_duration?: string;
};

const EMAIL = /^[^\s@]+@[^\s@]+\.[^\s@]+$/;

/** As Auth answers it, to a user or about one. */
export function shown(row: Row): Record<string, unknown> {
  const { id, created_at, last_sign_in_at } = row;
  const email = row.email ?? "";
  const updated_at = row.updated_at ?? created_at;
  const identity = {
    identity_id: id,
    id,
    user_id: id,
    identity_data: { email, email_verified: true, phone_verified: false, sub: id },
    provider: "email",
    last_sign_in_at,
    created_at,
    updated_at,
    email,
  };
  return {
    id,
    aud: "authenticated",
    role: "authenticated",
    email,
    email_confirmed_at: row.email_confirmed_at,
    phone: "",
    confirmed_at: row.email_confirmed_at,
    last_sign_in_at,
    app_metadata: appMetadata(row),
    user_metadata: row.raw_user_meta_data ?? {},
    identities: [identity],
    created_at,
    updated_at,
    is_anonymous: false,
    ...(row.banned_until ? { banned_until: row.banned_until } : {}),
  };
}

export const appMetadata = (row: Row) => ({ provider: "email", providers: ["email"], ...row.raw_app_meta_data });

export const isBanned = (row: Row): boolean => row.banned_until !== null && row.banned_until > new Date();

export function address(email: unknown): string {
  if (typeof email !== "string" || !EMAIL.test(email)) throw refuse.invalid("Unable to validate email address: invalid format");
  return email.toLowerCase();
}

export async function byEmail(sql: Sql, email: string): Promise<Row | undefined> {
  return (await sql<Row[]>`select * from auth.users where lower(email) = ${email}`)[0];
}

export async function byId(sql: Sql, id: string): Promise<Row | undefined> {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id)) return undefined;
  return (await sql<Row[]>`select * from auth.users where id = ${id}`)[0];
}

/** A new user, confirmed: no mail is sent here. Triggers of the project's own (profiles) run with the INSERT. */
export async function create(sql: postgres.Sql, wish: Wish, taken: () => Error): Promise<Row> {
  const email = address(wish.email);
  const password = wish.password === undefined ? null : await hashed(strong(wish.password));
  const app = { provider: "email", providers: ["email"], ...wish.app_metadata };
  const now = new Date();
  const made = await sql.begin(async (tx) => {
    await alone(tx, email);
    if (await byEmail(tx, email)) return undefined;
    const rows = await tx<Row[]>`
      insert into auth.users (id, aud, role, email, encrypted_password, email_confirmed_at, raw_app_meta_data, raw_user_meta_data,
                              created_at, updated_at)
      values (${wish.id ?? crypto.randomUUID()}, 'authenticated', 'authenticated', ${email}, ${password}, ${now}, ${tx.json(app as never)},
              ${tx.json((wish.user_metadata ?? {}) as never)}, ${now}, ${now})
      returning *`;
    return rows[0];
  }).catch(told("saving new user"));
  if (!made) throw taken();
  return made as Row;
}

/** What `wish` names is changed, the rest kept; null takes a metadata field away. A new password ends the sessions, but for `session`. */
export async function change(sql: postgres.Sql, row: Row, wish: Wish, session?: string): Promise<Row> {
  const email = wish.email === undefined ? row.email : address(wish.email);
  const password = wish.password === undefined ? row.encrypted_password : await hashed(strong(wish.password));
  const app = merged(row.raw_app_meta_data, wish.app_metadata);
  const user = merged(row.raw_user_meta_data, wish.user_metadata);
  const banned = wish.ban_duration === undefined ? row.banned_until : banEnd(wish.ban_duration);
  const changed = await sql.begin(async (tx) => {
    if (email) await alone(tx, email);
    const other = email ? await byEmail(tx, email) : undefined;
    if (other && other.id !== row.id) return undefined;
    if (wish.password !== undefined) {
      await tx`delete from auth.sessions where user_id = ${row.id} and id is distinct from ${session ?? null}::uuid`;
    }
    const rows = await tx<Row[]>`
      update auth.users set email = ${email}, encrypted_password = ${password}, raw_app_meta_data = ${tx.json(app as never)},
        raw_user_meta_data = ${tx.json(user as never)}, banned_until = ${banned}, updated_at = now()
      where id = ${row.id} returning *`;
    return rows[0] ?? null;
  }).catch(told("updating user"));
  if (changed === undefined) throw refuse.emailTaken();
  if (changed === null) throw refuse.noUser();
  return changed as Row;
}

export async function remove(sql: postgres.Sql, id: string): Promise<void> {
  await sql`delete from auth.users where id = ${id}`.catch(told("deleting user"));
}

/** Two who sign up with one address at once: the second sees the first. */
async function alone(tx: Sql, email: string): Promise<void> {
  await tx`select pg_advisory_xact_lock(hashtextextended('auth.users ' || ${email}, 0))`;
}

/** A statement that the database refused is a 500 that names what was done; why, is in the log (auth.log), as with Supabase. */
function told(doing: string): (error: unknown) => never {
  return (error) => {
    console.error(doing, error);
    throw error instanceof postgres.PostgresError ? refuse.database(doing) : error;
  };
}

function merged(before: Record<string, unknown> | null, change: Record<string, unknown> = {}): Record<string, unknown> {
  return Object.fromEntries(Object.entries({ ...before, ...change }).filter(([, value]) => value !== null));
}

function banEnd(duration: string): Date | null {
  if (duration === "none") return null;
  const parts = [...duration.matchAll(/(\d+(?:\.\d+)?)(h|m|s)/g)];
  if (!parts.length || parts.map(([whole]) => whole).join("") !== duration) {
    throw refuse.invalid(`invalid format for ban duration: ${duration}`);
  }
  const seconds = parts.reduce((sum, [, count, unit]) => sum + Number(count) * { h: 3600, m: 60, s: 1 }[unit as "h" | "m" | "s"], 0);
  return new Date(Date.now() + seconds * 1000);
}
