// job-callback: where the outbox delivers what became of a job. It checks the signature and its age (Standard Webhooks), looks the job up,
// and says whether the message is still true. The database has written everything already, Realtime's broadcast too, so the same message
// twice, or an old one, changes nothing.

import { Webhook, WebhookVerificationError } from "standardwebhooks";
import { bodyOf, json, objectOf, posts, Refusal, UUID, variable } from "../_shared/http.ts";
import { asService, isDisabledKey } from "../_shared/project.ts";

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
  for (const secret of variable("CALLBACK_SECRET").split(/[\s,]+/).filter(Boolean)) { // two while one takes the other's place
    const bytes = secret.startsWith("whsec_")
      ? Math.floor((secret.replace(/=+$/, "").length - 6) * 3 / 4)
      : new TextEncoder().encode(secret).length;
    if (bytes < 24) continue; // it can be guessed: the deliverer refuses it too
    try {
      // As the deliverer reads them: whsec_ and base64, or any other word, whose UTF-8 bytes are the key.
      const webhook = secret.startsWith("whsec_") ? new Webhook(secret) : new Webhook(new TextEncoder().encode(secret), { format: "raw" });
      webhook.verify(text, given);
      return;
    } catch (error) {
      if (error instanceof SyntaxError) return; // signed by us, and not JSON: that is refused where it is read
      if (!(error instanceof WebhookVerificationError)) throw error;
    }
  }
  throw new Refusal(401, "Unauthorized", "The signature is not ours, or over five minutes old.");
}

Deno.serve(handle);
