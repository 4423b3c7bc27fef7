// job-callback: where the outbox delivers what became of a job. It checks the signature and its age (Standard Webhooks), looks the job up,
// and tells the user's browsers. The database has written everything already, so the same message twice, or an old one, changes nothing.

import { createClient } from "@supabase/supabase-js";
import { Webhook, WebhookVerificationError } from "standardwebhooks";
import { bodyOf, json, objectOf, posts, Refusal, UUID, variable } from "../_shared/http.ts";

const LARGEST = 256 * 1024; // bytes
const PATIENCE = 5_000; // milliseconds for each question
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
  const project = createClient(variable("SUPABASE_URL"), variable("SUPABASE_SERVICE_ROLE_KEY"), {
    auth: { persistSession: false, autoRefreshToken: false },
  });
  const { data, error } = await project.from("jobs").select("user_id, status, version, job_type, video_id").eq("id", id)
    .abortSignal(AbortSignal.timeout(PATIENCE)).maybeSingle();
  if (error) throw new Refusal(503, "Database unavailable", "The job could not be looked up. Send it again.");
  if (!data) throw new Refusal(404, "Not found", "There is no such job.");
  const current = WORDS[data.status] === status;
  const news = { job_id: id, status: data.status, version: data.version, job_type: data.job_type, video_id: data.video_id };
  return json(200, { success: true, jobId: id, status: data.status, current, notified: current && await notify(data.user_id, news) });
});

/** Throws `Refusal` unless one of CALLBACK_SECRET's keys signed these very bytes within the last five minutes. */
function verify(text: string, headers: Headers): void {
  const given = Object.fromEntries(["webhook-id", "webhook-timestamp", "webhook-signature"].map((name) => [name, headers.get(name) ?? ""]));
  for (const secret of variable("CALLBACK_SECRET").split(/[\s,]+/).filter(Boolean)) { // two while one takes the other's place
    if (secret === "whsec_") continue; // whoever made it, made none: anybody could sign with it
    try {
      // As the deliverer reads them: whsec_ and base64, or any other word, whose UTF-8 bytes are the key.
      const webhook = secret.startsWith("whsec_") ? new Webhook(secret) : new Webhook(new TextEncoder().encode(secret), { format: "raw" });
      webhook.verify(text, given);
      return;
    } catch (error) {
      if (error instanceof SyntaxError) return; // signed by us, and no JSON: that is told where it is read
      if (!(error instanceof WebhookVerificationError)) throw error;
    }
  }
  throw new Refusal(401, "Unauthorized", "The signature is not ours, or over five minutes old.");
}

/** A word over Realtime to whoever of the user's browsers listens (channel `jobs:<user id>`, private). Its loss loses nothing: the row says
 * the same, and is published too. */
async function notify(user: string, payload: Record<string, unknown>): Promise<boolean> {
  const key = variable("SUPABASE_SERVICE_ROLE_KEY");
  try {
    const answer = await fetch(`${variable("SUPABASE_URL")}/realtime/v1/api/broadcast`, {
      method: "POST",
      headers: { apikey: key, Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
      body: JSON.stringify({ messages: [{ topic: `jobs:${user}`, event: "job", payload, private: true }] }),
      signal: AbortSignal.timeout(PATIENCE),
    });
    await answer.body?.cancel();
    if (!answer.ok) console.warn("job-callback: Realtime answered", answer.status);
    return answer.ok;
  } catch (error) {
    console.warn("job-callback: Realtime did not answer", error instanceof Error ? error.name : typeof error);
    return false;
  }
}

Deno.serve(handle);
