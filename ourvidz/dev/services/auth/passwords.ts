/** Passwords as scrypt's hashes (RFC 7914), in auth.users.encrypted_password: `scrypt$N$r$p$salt$hash`, base64. */
import { Buffer } from "node:buffer";
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";

const COST = { N: 16384, r: 8, p: 1 }; // 16 MiB and some 50 ms: OWASP's floor for an interactive sign-in
const BYTES = 32;

export async function hashed(password: string): Promise<string> {
  const salt = randomBytes(16);
  const hash = await derived(password, salt, COST);
  return ["scrypt", COST.N, COST.r, COST.p, salt.toString("base64"), hash.toString("base64")].join("$");
}

/** Takes as long for a user who is not there (`kept` null), so that nobody learns who is. */
export async function matches(password: string, kept: string | null): Promise<boolean> {
  const [kind, N, r, p, salt = "", hash = ""] = (kept ?? "").split("$");
  if (kind !== "scrypt") {
    await derived(password, Buffer.alloc(16), COST);
    return false;
  }
  const found = await derived(password, Buffer.from(salt, "base64"), { N: Number(N), r: Number(r), p: Number(p) });
  return timingSafeEqual(found, Buffer.from(hash, "base64"));
}

function derived(password: string, salt: Buffer, cost: typeof COST): Promise<Buffer> {
  return new Promise((done, failed) => scrypt(password, salt, BYTES, cost, (error, key) => error ? failed(error) : done(key)));
}
