// job-callback: where the outbox delivers what became of a job. It checks the signature and its age (Standard Webhooks), looks the job up,
// and says whether the message is still true. The database has written everything already, Realtime's broadcast too, so the same message
// twice, or an old one, changes nothing.

import { Webhook, WebhookVerificationError } from "standardwebhooks";
import { bodyOf, json, objectOf, posts, Refusal, UUID, variable } from "../_shared/http.ts";
import { asService, isDisabledKey } from "../_shared/project.ts";
import { BadSecret, keysOf } from "../_shared/signing.ts";

const LARGEST = 256 * 1024; // bytes
const PATIENCE = 5_000; // milliseconds for the database
/** The front end's word for each true status: a message that says another one is of a state that has passed. */
const WORDS: Readonly<Record<string, string>> = {
  queued: "queued",
  enhancing: "processing",
  generating: "processing",
  uploading: "processing",
  completed: "completed",
  failed: "failed",
  cancelled: "failed",
};

const handle = posts("job-callback", async (request) => {
  const text = await bodyOf(request, LARGEST);
  verify(text, request.headers);
  const { job_id: id, status } = objectOf(text);
  if (typeof id !== "string" || !UUID.test(id) || typeof status !== "string" || !["processing", "completed", "failed"].includes(status)) {
    throw new Refusal(400, "Invalid message", "job_id must be a UUID, and status processing, completed or failed.");
  }
  const { data, error } = await asService().from("jobs").select("status").eq("id", id)
    .abortSignal(AbortSignal.timeout(PATIENCE)).maybeSingle();
  if (error) {
    if (isDisabledKey(error.message)) console.error("job-callback", "the project's legacy keys are disabled, and it has no secret key");
    throw new Refusal(503, "Database unavailable", "The job could not be looked up. Send it again.");
  }
  if (!data) throw new Refusal(404, "Not found", "There is no such job.");
  const current = WORDS[data.status] === status;
  return json(200, { success: true, message: "Job callback processed successfully", jobId: id, status: data.status, current });
});

/** Throws `Refusal` unless one of CALLBACK_SECRET's keys signed these very bytes within the last five minutes. */
function verify(text: string, headers: Headers): void {
  const given = Object.fromEntries(["webhook-id", "webhook-timestamp", "webhook-signature"].map((name) => [name, headers.get(name) ?? ""]));
  for (const key of keys()) { // two while one takes the other's place
    try {
      new Webhook(key, { format: "raw" }).verify(text, given);
      return;
    } catch (error) {
      if (error instanceof SyntaxError) return; // signed by us, and not JSON: that is refused where it is read
      if (!(error instanceof WebhookVerificationError)) throw error;
    }
  }
  throw new Refusal(401, "Unauthorized", "The signature is not ours, or over five minutes old.");
}

/** Throws `Refusal` by the variable's name for a secret that cannot sign: the deliverer refuses it too, at its start. */
function keys(): Uint8Array[] {
  try {
    return keysOf(variable("CALLBACK_SECRET"));
  } catch (error) {
    if (!(error instanceof BadSecret)) throw error;
    console.error("job-callback", `CALLBACK_SECRET: ${error.message}`);
    throw new Refusal(503, "Not configured", `CALLBACK_SECRET: ${error.message}.`);
  }
}

Deno.serve(handle);
