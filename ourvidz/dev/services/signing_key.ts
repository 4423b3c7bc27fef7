/** Prints a new key to sign tokens with, as a JWK: ES256, private part included. */
import { exportJWK, generateKeyPair } from "jose";

const { privateKey } = await generateKeyPair("ES256", { extractable: true });
console.log(JSON.stringify({ kid: crypto.randomUUID(), alg: "ES256", ...await exportJWK(privateKey) }));
