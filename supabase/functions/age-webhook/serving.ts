// The request's way: body, signature, fields, database.

import { Webhook, WebhookVerificationError } from "standardwebhooks";
import { bodyOf, json, objectOf, posts, Refusal } from "../_shared/http.ts";
import { asService, isDisabledKey } from "../_shared/project.ts";
import { BadSecret, keysOf, same } from "../_shared/signing.ts";
import { fieldsOf, read as readMessage, unset } from "./message.ts";

const LARGEST = 64 * 1024; // bytes
const PATIENCE = 5_000; // milliseconds for the database

export const handler = posts("age-webhook", async (request) => {
  const webhooks = keys(); // first: with none, nobody's message is even read
  const fields = fieldsOf(Deno.env.get("AGE_WEBHOOK_FIELDS"));
  const provider = Deno.env.get("AGE_WEBHOOK_PROVIDER") ?? "provider";
  if (!/^[a-z0-9_-]{1,40}$/.test(provider)) throw unset("AGE_WEBHOOK_PROVIDER must be a name of small letters, digits, _ and -.");
  const text = await bodyOf(request, LARGEST);
  const id = signed(text, request.headers, webhooks);
  const message = readMessage(objectOf(text), fields);
  if (message === null) return json(200, { success: true, outcome: "ignored" });
  const { data, error } = await asService().rpc("age_message", { provider, message_id: id, ...message })
    .abortSignal(AbortSignal.timeout(PATIENCE));
  if (error?.code === "OV018") throw new Refusal(404, "Not found", "There is no such user.");
  if (error?.code.startsWith("OV")) throw new Refusal(400, "Invalid message", error.message);
  if (error) {
    if (isDisabledKey(error.message)) console.error("age-webhook", "the project's legacy keys are disabled, and it has no secret key");
    throw new Refusal(503, "Database unavailable", "The message could not be taken in. Send it again.");
  }
  return json(200, { success: true, ...data });
});

/** AGE_WEBHOOK_SECRET: one key, or two while one takes the other's place. A short or shared one is refused by name: anybody could sign. */
function keys(): Webhook[] {
  const words = Deno.env.get("AGE_WEBHOOK_SECRET") ?? "";
  if (words.split(/[\s,|]+/).some((word) => !/^(v1|whsec_.*|)$/.test(word))) {
    throw unset("AGE_WEBHOOK_SECRET must be whsec_ and the provider's key in base64.");
  }
  const own = read("AGE_WEBHOOK_SECRET", words);
  if (own.length === 0) throw unset("AGE_WEBHOOK_SECRET is not set: whsec_ and the provider's key in base64.");
  const others = keysOfOthers();
  if (own.some((key) => others.some((other) => same(key, other)))) {
    throw unset("AGE_WEBHOOK_SECRET must not be CALLBACK_SECRET: who may sign one may then sign the other.");
  }
  return own.map((key) => new Webhook(key, { format: "raw" }));
}

function read(name: string, words: string): Uint8Array[] {
  try {
    return keysOf(words);
  } catch (error) {
    if (error instanceof BadSecret) throw unset(`${name}: ${error.message}.`);
    throw error;
  }
}

/** A CALLBACK_SECRET that cannot sign is job-callback's to refuse. */
function keysOfOthers(): Uint8Array[] {
  try {
    return keysOf(Deno.env.get("CALLBACK_SECRET") ?? "");
  } catch {
    return [];
  }
}

/** The message's id. Throws `Refusal` unless one of the keys signed these very bytes within five minutes (compared in constant time). */
function signed(text: string, headers: Headers, webhooks: readonly Webhook[]): string {
  const names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
  const given = Object.fromEntries(names.map((name) => [name, headers.get(name) ?? ""]));
  for (const webhook of webhooks) {
    try {
      webhook.verify(text, given);
      return given["webhook-id"] ?? "";
    } catch (error) {
      if (error instanceof SyntaxError) return given["webhook-id"] ?? ""; // signed, and not JSON: that is refused where it is read
      if (!(error instanceof WebhookVerificationError)) throw error;
    }
  }
  throw new Refusal(401, "Unauthorized", "The signature is not the provider's, or over five minutes old.");
}
