// queue-job: what the front end calls to have a picture or a clip made. It screens the prompt and calls the rpc `queue_job` as the user;
// the database checks everything else, and holds the price. One call is one job: send an Idempotency-Key to be able to repeat it.

import type { SupabaseClient } from "@supabase/supabase-js";
import { refusal, screen, signedIn, soon } from "../_shared/asking.ts";
import type { JobType } from "../_shared/catalog.ts";
import { bodyOf, isObject, json, objectOf, posts, Refusal } from "../_shared/http.ts";
import { type Asked, read } from "./request.ts";

const LARGEST = 128 * 1024; // bytes
const VERSION = "3.0.0"; // the deployed function was 2.1.0

const handle = posts("queue-job", async (request) => {
  const project = signedIn(request);
  const asked = read(objectOf(await bodyOf(request, LARGEST)), request.headers);
  const texts = await found(project, asked);
  await screen(project, "queue-job", [...texts.all], "Nothing was queued or charged.");
  return answer(asked.kind, await queue(project, asked, texts.prompt));
});

/** The prompt that the job is made from, and every text that came with the request. The project is read once, so that what is screened is
 * what is queued: its enhanced prompt, else its original one, else the request's. */
async function found(project: SupabaseClient, asked: Asked): Promise<{ prompt: string; all: Set<string> }> {
  const texts: unknown[] = [];
  if (asked.ids.project_id) {
    const { data, error, status } = await project.from("projects").select("enhanced_prompt, original_prompt").eq("id", asked.ids.project_id)
      .abortSignal(soon()).maybeSingle();
    if (error) throw refusal(error, status);
    if (!data) throw new Refusal(404, "Not found", "There is no such project of yours.", { code: "OV018", field: "projectId" });
    texts.push(data.enhanced_prompt, data.original_prompt);
  }
  texts.push(asked.metadata["prompt"]);
  const given = texts.filter((text): text is string => typeof text === "string" && text.trim() !== "");
  const prompt = given[0];
  if (prompt === undefined) {
    throw new Refusal(400, "Invalid request", "There is no prompt: give metadata.prompt, or a project that has one.", { field: "prompt" });
  }
  return { prompt, all: new Set(asked.negativePrompt === null ? given : [...given, asked.negativePrompt]) };
}

async function queue(project: SupabaseClient, asked: Asked, prompt: string): Promise<Record<string, unknown>> {
  const { data, error, status } = await project.rpc("queue_job", {
    job_type: asked.kind.name,
    prompt,
    negative_prompt: asked.negativePrompt,
    metadata: asked.metadata,
    idempotency_key: asked.idempotencyKey,
    ...asked.ids,
  }).abortSignal(soon());
  if (error) throw refusal(error, status);
  if (!isObject(data)) throw new Error("queue_job answered no object");
  return data;
}

/** The deployed function's fields, and what people asked for besides: the position, when it should be done, the price. */
function answer(kind: JobType, made: Record<string, unknown>): Response {
  const aside = Array.isArray(made["set_aside"]) ? made["set_aside"].filter(isObject) : [];
  return json(200, {
    success: true,
    job: made["job"],
    message: made["created"] === false ? "Job was queued before" : "Job queued successfully",
    queueLength: made["position"] ?? 0,
    modelVariant: kind.modelVariant,
    jobType: kind.name,
    queue: kind.queue,
    isSDXL: kind.isSDXL,
    negativePromptSupported: true,
    fixes_applied: aside.map((each) => `${each["field"]}: ${each["reason"]}`),
    debug: { edge_function_version: VERSION, job_type: kind.name, model_variant: kind.modelVariant, queue: kind.queue, bucket: kind.name },
    position: made["position"] ?? null,
    etaSeconds: made["eta_seconds"] ?? null,
    price: made["price"] ?? null,
    balance: made["balance"] ?? null,
    created: made["created"] ?? true,
  });
}

Deno.serve(handle);
