/** The project's keys. They are read again when PROJECT_FILE changes, so that a key is rotated or disabled without a restart. */
import { errors, importJWK, type JWK, type JWTHeaderParameters, type JWTPayload, jwtVerify, SignJWT } from "jose";

export type Role = "anon" | "service_role";
export type Claims = JWTPayload & { role?: string; session_id?: string; url?: string; scope?: string; [name: string]: unknown };
type Status = "in_use" | "standby" | "previously_used" | "revoked";
type SigningKey = { status: Status; jwk: JWK & { kid: string } };
type Written = {
  url: string;
  publishable: string;
  secret: string;
  anon: string;
  service: string;
  legacy_disabled_at: string | null;
  signing: SigningKey[];
};
export type Key = { role: Role; legacy: boolean };

export const env = (name: string, otherwise?: string): string => {
  const found = Deno.env.get(name) ?? otherwise;
  if (found === undefined) throw new Error(`${name} is not set`);
  return found;
};

let written: Written;
let seen = "";
const tokens = new Map<Role, { token: string; until: number }>();

export function project(): Written {
  const { mtime, ino } = Deno.statSync(env("PROJECT_FILE"));
  const now = `${mtime?.getTime()}/${ino}`; // replaced by a rename: the number tells apart what one tick of the clock does not
  if (now !== seen) {
    written = JSON.parse(Deno.readTextFileSync(env("PROJECT_FILE")));
    tokens.clear();
    seen = now;
  }
  return written;
}

export const looksNew = (key: string): boolean => /^sb_(publishable|secret)_/.test(key);

/** What an API key stands for; undefined for a key of nobody's. */
export function keyOf(key: string): Key | undefined {
  const { publishable, secret, anon, service } = project();
  const known: [string, Key][] = [
    [publishable, { role: "anon", legacy: false }],
    [secret, { role: "service_role", legacy: false }],
    [anon, { role: "anon", legacy: true }],
    [service, { role: "service_role", legacy: true }],
  ];
  return known.find(([value]) => value === key)?.[1];
}

/** Signed with the key that is in use. */
export async function sign(claims: Claims, seconds: number): Promise<string> {
  const key = project().signing.find((found) => found.status === "in_use");
  if (!key) throw new Error("no signing key is in use");
  const { alg = "", kid } = key.jwk;
  const now = Math.floor(Date.now() / 1000);
  return await new SignJWT({ ...claims, iat: now, exp: now + seconds }).setProtectedHeader({ alg, kid, typ: "JWT" })
    .sign(await importJWK(key.jwk, alg));
}

/** A short token for a role: what stands behind a new-style key, which is no JWT itself. */
export async function roleToken(role: Role): Promise<string> {
  project(); // forgets what was signed with keys of before
  const found = tokens.get(role);
  if (found && found.until > Date.now()) return found.token;
  const token = await sign({ role, iss: "supabase" }, 600);
  tokens.set(role, { token, until: Date.now() + 300_000 });
  return token;
}

/** What anyone may know of the keys; secrets are not among it. */
export function published(): { keys: JWK[] } {
  const keys = project().signing.filter(({ status, jwk }) => status !== "revoked" && jwk.kty !== "oct");
  return { keys: keys.map(({ jwk: { d: _, ...jwk } }) => ({ ...jwk, use: "sig", key_ops: ["verify"], ext: true })) };
}

/** The claims of a token that this project signed and that is still valid. Throws an Error that says why not. */
export async function verify(token: string): Promise<Claims> {
  try {
    return (await jwtVerify<Claims>(token, keyFor)).payload;
  } catch (error) {
    if (error instanceof errors.JWTExpired) throw new Error("token is expired");
    if (error instanceof errors.JWSSignatureVerificationFailed) throw new Error("signature is invalid");
    throw new Error(error instanceof errors.JOSEError ? error.message : `token is malformed: ${(error as Error).message}`);
  }
}

/** The key's own algorithm counts; the token's word for it only chooses among the keys. Older tokens name no key: theirs is the secret. */
function keyFor({ alg, kid }: JWTHeaderParameters) {
  const found = project().signing.find(({ status, jwk }) =>
    status !== "revoked" && jwk.alg === alg && (kid === undefined ? jwk.kty === "oct" : jwk.kid === kid)
  );
  if (!found) throw new errors.JWKSNoMatchingKey(`unrecognized JWT kid ${kid ?? "<none>"} for algorithm ${alg}`);
  const { d: _, ...verifying } = found.jwk;
  return importJWK(verifying, alg);
}
