// The keys of a variable that holds webhook secrets, as ourvidz/delivery/signature.py reads them: both are held to
// tests/data/signing_secrets.json.

const SHORTEST = 24; // bytes of a key, as Standard Webhooks has it
const QUOTES = "\"'`“”";

/** Why a secret cannot sign. The message never holds it. */
export class BadSecret extends Error {}

/** One key, or several while they are being changed, with spaces, commas or `|` between them; none where the variable is not set. */
export function keysOf(secrets: string): Uint8Array[] {
  return secrets.replace(/(?<![^\s,|])v1,(?=whsec_)/g, "").split(/[\s,|]+/).filter(Boolean).map(key);
}

function key(word: string): Uint8Array {
  if (QUOTES.includes(word.at(0) ?? "") || QUOTES.includes(word.at(-1) ?? "")) {
    throw new BadSecret("a secret stands in quotes; leave them out");
  }
  if (/^v\d+[a-z]?$/.test(word)) throw new BadSecret("a secret is only the version in front of one; copy all of v1,whsec_…");
  if (/^wh[sp]k_/.test(word)) throw new BadSecret("a secret is an asymmetric key (whsk_, whpk_), and ours are symmetric: whsec_…");
  const bytes = word.startsWith("whsec_") ? decoded(word.slice("whsec_".length)) : new TextEncoder().encode(word);
  if (bytes.length < SHORTEST) throw new BadSecret(`a secret of ${bytes.length} bytes can be guessed`);
  return bytes;
}

function decoded(text: string): Uint8Array {
  const bare = text.replace(/=+$/, "");
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || bare.length % 4 === 1) {
    throw new BadSecret("a secret that begins with whsec_ goes on in base64, and this one does not");
  }
  return Uint8Array.from(atob(bare), (character) => character.charCodeAt(0));
}

export function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
