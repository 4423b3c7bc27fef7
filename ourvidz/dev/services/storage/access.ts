/** Who asks, by a token of the project's, and what they may do: the service key all, a user their own folder. */
import { type Claims, verify } from "../project.ts";
import { refuse } from "./errors.ts";

export type Caller = { service: boolean; user?: string };
export const NOBODY: Caller = { service: false };

export async function callerOf(request: Request): Promise<Caller> {
  const bearer = (request.headers.get("authorization") ?? "").replace(/^Bearer\s+/i, "");
  if (!bearer) throw refuse.denied("headers must have required property 'authorization'");
  const claims = await verify(bearer).catch((why: Error) => {
    throw refuse.denied(why.message);
  });
  return { service: claims.role === "service_role", ...(claims.role === "authenticated" && claims.sub ? { user: claims.sub } : {}) };
}

/** The claims of a signed URL's token. Throws `InvalidJWT`. */
export async function ticket(token: string): Promise<Claims> {
  return await verify(token).catch((why: Error) => {
    throw refuse.token(why.message);
  });
}

/** A user's own folder is the first segment of the object's name, as in the policies on storage.objects. */
export function owns(caller: Caller, name: string): boolean {
  return caller.service || (caller.user !== undefined && name.split("/")[0] === caller.user);
}
