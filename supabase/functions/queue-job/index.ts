// queue-job: what the front end calls to have a picture or a clip made. It screens the prompt and calls the rpc `queue_job` as the user;
// the database checks everything else, and holds the price. One call is one job: send an Idempotency-Key to be able to repeat it.

import type { SupabaseClient } from "@supabase/supabase-js";
import { refusal, screen, signedIn, soon, type Written } from "../_shared/asking.ts";
import type { JobType } from "../_shared/catalog.ts";
import { bodyOf, isObject, json, objectOf, posts, Refusal, UUID } from "../_shared/http.ts";
import { textsIn, Unreadable } from "../_shared/screen/mod.ts";
import { type Asked, read } from "./request.ts";

const LARGEST = 128 * 1024; // bytes
const VERSION = "3.0.0"; // the deployed function was 2.1.0

const handle = posts("queue-job", async (request) => {
  const project = signedIn(request);
  const asked = read(objectOf(await bodyOf(request, LARGEST)), request.headers);
  const texts = await found(project, asked);
  await screen(project, "queue-job", texts.all, "Nothing was queued or charged.");
  return answer(asked.kind, await queue(project, asked, texts.prompt));
});

/** The prompt that the job is made from, and every text that belongs to it: the request's, its project's, its character's, the titles of its
 * video and image. The project is read once, so that what is screened is what is queued: its enhanced prompt, else its original one, else the
 * request's. */
async function found(project: SupabaseClient, asked: Asked): Promise<{ prompt: string; all: Written[] }> {
  const { negative_prompt, negativePrompt, ...metadata } = asked.metadata;
  const its = asked.ids.project_id
    ? await row(project, "projects", "enhanced_prompt, original_prompt, title, character_id", asked.ids.project_id)
    : {};
  if (!its) throw new Refusal(404, "Not found", "There is no such project of yours.", { code: "OV018", field: "projectId" });
  const prompt = [its["enhanced_prompt"], its["original_prompt"], metadata["prompt"]].find(isWritten);
  if (prompt === undefined) {
    throw new Refusal(400, "Invalid request", "There is no prompt: give metadata.prompt, or a project that has one.", { field: "prompt" });
  }
  const character = [metadata["character_id"], its["character_id"]].find((id) => typeof id === "string" && UUID.test(id));
  const all: Written[] = [{ field: "prompt", text: prompt }];
  const add = (field: string, value: unknown) => all.push(...textsIn(value).map((text) => ({ field, text })));
  try {
    // As the database puts weights behind the prompt (weighted_prompt.sql): what stands at the end of one goes on in the other.
    if (isWritten(metadata["compel_weights"])) add("compel_weights", `${prompt}, ${metadata["compel_weights"]}`);
    for (const text of [asked.negativePrompt, negative_prompt, negativePrompt]) {
      if (isWritten(text)) all.push({ field: "negative_prompt", text });
    }
    add("metadata", metadata);
    add("project", [its["enhanced_prompt"], its["original_prompt"], its["title"]]);
    if (asked.ids.video_id) add("video", (await row(project, "videos", "title", asked.ids.video_id))?.["title"]);
    if (asked.ids.image_id) add("image", await row(project, "images", "title, prompt", asked.ids.image_id));
    if (character) add("character", await row(project, "characters", "name, description, traits, appearance_tags", character as string));
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    throw new Refusal(400, "Invalid request", `The metadata cannot be read: ${error.message}.`, { field: "metadata" });
  }
  return { prompt, all };
}

/** The caller's own row, by its id; null where there is none. */
async function row(project: SupabaseClient, table: string, columns: string, id: string): Promise<Record<string, unknown> | null> {
  const { data, error, status } = await project.from(table).select(columns).eq("id", id).abortSignal(soon()).maybeSingle();
  if (error) throw refusal(error, status);
  return isObject(data) ? data : null;
}

function isWritten(text: unknown): text is string {
  return typeof text === "string" && text.trim() !== "";
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
