/** Who asks, by a token signed with the project's secret (HS256), and what they may do: the service key all, a user their own folder. */
import { refuse } from "./errors.ts";

export type Claims = { role?: string; sub?: string; exp?: number; url?: string; scope?: string };
export type Caller = { service: boolean; user?: string };
export const NOBODY: Caller = { service: false };

const text = new TextEncoder();

export class Access {
  private constructor(private readonly key: CryptoKey) {}

  static async with(secret: string): Promise<Access> {
    const usages: KeyUsage[] = ["sign", "verify"];
    return new Access(await crypto.subtle.importKey("raw", text.encode(secret), { name: "HMAC", hash: "SHA-256" }, false, usages));
  }

  async caller(request: Request): Promise<Caller> {
    const bearer = (request.headers.get("authorization") ?? "").replace(/^Bearer\s+/i, "");
    if (!bearer) throw refuse.denied("headers must have required property 'authorization'");
    const claims = await this.verify(bearer).catch((why) => {
      throw refuse.denied(why.message);
    });
    return { service: claims.role === "service_role", user: claims.role === "authenticated" ? claims.sub : undefined };
  }

  async sign(claims: Claims, seconds: number): Promise<string> {
    const now = Math.floor(Date.now() / 1000);
    const head = part(JSON.stringify({ alg: "HS256", typ: "JWT" }));
    const signed = `${head}.${part(JSON.stringify({ ...claims, iat: now, exp: now + seconds }))}`;
    return `${signed}.${coded(new Uint8Array(await crypto.subtle.sign("HMAC", this.key, text.encode(signed))))}`;
  }

  /** Throws `InvalidJWT`. Only HS256 counts: what the token itself says of its algorithm is compared, never obeyed. */
  async verify(token: string): Promise<Claims> {
    const [head, body, signature, more] = token.split(".");
    if (!head || !body || !signature || more !== undefined) throw refuse.token("Invalid Compact JWS");
    try {
      const mark = Uint8Array.from(decoded(signature), (c) => c.charCodeAt(0));
      const good = await crypto.subtle.verify("HMAC", this.key, mark, text.encode(`${head}.${body}`));
      if (!good || JSON.parse(decoded(head)).alg !== "HS256") throw new Error("no good");
    } catch {
      throw refuse.token("signature verification failed");
    }
    const claims: Claims = JSON.parse(decoded(body));
    if (claims.exp !== undefined && claims.exp <= Date.now() / 1000) throw refuse.token('"exp" claim timestamp check failed');
    return claims;
  }
}

/** A user's own folder is the first segment of the object's name, as in the policies on storage.objects. */
export function owns(caller: Caller, name: string): boolean {
  return caller.service || (caller.user !== undefined && name.split("/")[0] === caller.user);
}

const coded = (bytes: Uint8Array) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
const part = (value: string) => coded(text.encode(value));
const decoded = (value: string) => atob(value.replaceAll("-", "+").replaceAll("_", "/"));
