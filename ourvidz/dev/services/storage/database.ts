/** storage.buckets and storage.objects, asked as whoever asks: their role and claims are set for the transaction, and the project's policies
 * decide. Where Supabase Storage itself acts (bytes have come, a signed URL is followed), it is the service role, as there. */
import postgres from "postgres";
import { type Claims, verify } from "../project.ts";
import { refuse } from "./errors.ts";

export type Sql = postgres.Sql | postgres.TransactionSql;
export type Caller = { role: string; claims: Claims };

export const SERVICE: Caller = { role: "service_role", claims: { role: "service_role" } };
const ROLES = ["anon", "authenticated", "service_role"];

const pool = { max: 6, onnotice: () => {}, types: { bigint: { to: 20, from: [20], serialize: String, parse: Number } } };
const callers = postgres({ ...pool, connection: { application_name: "storage", statement_timeout: 30_000 } });
const service = postgres({ ...pool, connection: { application_name: "storage", statement_timeout: 30_000, role: "service_role" } });

export async function callerOf(request: Request): Promise<Caller> {
  const bearer = (request.headers.get("authorization") ?? "").replace(/^Bearer\s+/i, "");
  if (!bearer) throw refuse.denied("headers must have required property 'authorization'");
  const claims = await verify(bearer).catch((why: Error) => {
    throw refuse.denied(why.message);
  });
  if (!ROLES.includes(claims.role ?? "")) throw refuse.denied(`role "${claims.role}" does not exist`);
  return { role: claims.role!, claims };
}

/** The claims of a signed URL's token. Throws `InvalidJWT`. */
export async function ticket(token: string): Promise<Claims> {
  return await verify(token).catch((why: Error) => {
    throw refuse.token(why.message);
  });
}

class Undo<T> {
  constructor(readonly result: T) {}
}

/** One statement as the caller. Throws what the database refused in Storage's words. */
export async function as<T>(caller: Caller, run: (sql: Sql) => Promise<T>, { undo = false } = {}): Promise<T> {
  const pool = caller.role === "service_role" ? service : callers;
  try {
    if (pool === service && !undo) return await run(service); // a session that is the role already
    return await pool.begin(async (tx) => {
      if (pool === callers) {
        await tx`select set_config('request.jwt.claims', ${JSON.stringify(caller.claims)}, true),
                        set_config('request.jwt.claim.sub', ${caller.claims.sub ?? ""}, true),
                        set_config('request.jwt.claim.role', ${caller.role}, true), set_config('role', ${caller.role}, true)`;
      }
      const result = await run(tx);
      if (undo) throw new Undo(result);
      return result;
    }) as T;
  } catch (error) {
    if (error instanceof Undo) return error.result;
    throw error instanceof postgres.PostgresError ? refused(error) : error;
  }
}

/** Several statements of the service's own, in one transaction. */
export const together = <T>(run: (tx: Sql) => Promise<T>): Promise<T> => service.begin(run) as Promise<T>;

/** Whether the caller might, without doing it: what is tried is undone. */
export const might = <T>(caller: Caller, run: (tx: Sql) => Promise<T>): Promise<T> => as(caller, run, { undo: true });

function refused(error: postgres.PostgresError): Error {
  if (error.code === "42501") return refuse.denied("new row violates row-level security policy");
  if (error.code === "23505") return refuse.exists();
  return error;
}
