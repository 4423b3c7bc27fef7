// queue-job: what the front end calls to have a picture or a clip made. It screens the prompt and calls the rpc `queue_job` as the user;
// the database checks everything else, and holds the price. One call is one job: send an Idempotency-Key to be able to repeat it.

import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import type { JobType } from "../_shared/catalog.ts";
import { bodyOf, isObject, json, objectOf, posts, Refusal, variable } from "../_shared/http.ts";
import { guardedCheck, lexical, ScreenUnavailable, type Verdict } from "../_shared/screen/mod.ts";
import { type Asked, read } from "./request.ts";

const LARGEST = 128 * 1024; // bytes
const PATIENCE = 10_000; // milliseconds for each question to the database

const handle = posts("queue-job", async (request) => {
  const authorization = request.headers.get("authorization");
  if (!authorization) throw new Refusal(401, "Unauthorized", "Sign in first: the Authorization header is missing.");
  const asked = read(objectOf(await bodyOf(request, LARGEST)), request.headers);
  const project = createClient(variable("SUPABASE_URL"), variable("SUPABASE_ANON_KEY"), {
    global: { headers: { Authorization: authorization } },
    auth: { persistSession: false, autoRefreshToken: false },
  });
  await screen(project, await texts(project, asked));
  return told(asked.kind, await queue(project, asked));
});

/** Every text that a model may get to see: the database will take the project's prompt, or the request's. */
async function texts(project: SupabaseClient, asked: Asked): Promise<string[]> {
  const found: unknown[] = [asked.metadata["prompt"], asked.negativePrompt];
  if (asked.ids.project_id) {
    const columns = "original_prompt, enhanced_prompt";
    const { data, error } = await project.from("projects").select(columns).eq("id", asked.ids.project_id)
      .abortSignal(AbortSignal.timeout(PATIENCE)).maybeSingle();
    if (error) throw refusal(error, 500);
    if (!data) throw new Refusal(404, "Not found", "There is no such project of yours.", { code: "OV018", field: "projectId" });
    found.push(data.original_prompt, data.enhanced_prompt);
  }
  const given = found.filter((text): text is string => typeof text === "string" && text.trim() !== "");
  if (given.length === 0) throw new Refusal(400, "Invalid request", "There is no prompt: give metadata.prompt, or a project that has one.");
  return given;
}

async function screen(project: SupabaseClient, found: string[]): Promise<void> {
  try {
    for (const text of found) {
      const verdict = await guardedCheck(lexical, text);
      const { allowed, category, policy_version } = verdict;
      if (!allowed) {
        await report(project, text, verdict);
        const why = { code: "OV013", category, policyVersion: policy_version };
        throw new Refusal(422, "Prompt refused", "The prompt asks for what we do not make. Nothing was queued or charged.", why);
      }
    }
  } catch (error) {
    if (!(error instanceof ScreenUnavailable)) throw error;
    throw new Refusal(503, "Prompt not screened", "The prompt could not be checked, so nothing was queued. Try again later.");
  }
}

/** For counting (`ourvidz safety refusals`): words from lists, and the text's hash, which the database salts. The refusal stands whether it
 * is kept or not. */
async function report(project: SupabaseClient, text: string, verdict: Verdict): Promise<void> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  const { category, policy_version, rule_id } = verdict;
  const digest = Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const { error } = await project.rpc("report_refusal", { category, policy_version, rule_id, digest }).abortSignal(
    AbortSignal.timeout(PATIENCE),
  );
  if (error) console.error("queue-job", "a refusal was not recorded", error.code);
}

async function queue(project: SupabaseClient, asked: Asked): Promise<Record<string, unknown>> {
  const { data, error, status } = await project.rpc("queue_job", {
    job_type: asked.kind.name,
    negative_prompt: asked.negativePrompt,
    metadata: asked.metadata,
    idempotency_key: asked.idempotencyKey,
    ...asked.ids,
  }).abortSignal(AbortSignal.timeout(PATIENCE));
  if (error) throw refusal(error, status);
  if (!isObject(data)) throw new Error("queue_job answered no object");
  return data;
}

/** A refusal of the database, in its own words: they are written for people, and hold nothing that a person wrote. */
function refusal(error: { code?: string; message: string; details?: string | null }, status: number): Refusal {
  const code = error.code ?? "";
  if (code === "PGRST301" || code === "PGRST302" || status === 401) {
    return new Refusal(401, "Unauthorized", "Sign in again: the token is not valid.");
  }
  if (!code.startsWith("OV")) return new Refusal(503, "Database unavailable", "The job could not be queued. Try again later.", { code });
  const wait = /try again in (\d+) s/.exec(error.message)?.[1];
  const more = { code, ...(error.details ? { field: error.details } : {}), ...(wait ? { retryAfter: Number(wait) } : {}) };
  return new Refusal(status, TITLES[status] ?? "Refused", error.message, more, wait ? { "Retry-After": wait } : {});
}

const TITLES: Readonly<Record<number, string>> = {
  400: "Invalid request",
  402: "Not enough tokens",
  403: "Forbidden",
  404: "Not found",
  409: "Conflict",
  422: "Prompt refused",
  429: "Too many requests",
};

/** The deployed function's fields, and what people asked for besides: the position, when it should be done, the price. */
function told(kind: JobType, made: Record<string, unknown>): Response {
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
    position: made["position"] ?? null,
    etaSeconds: made["eta_seconds"] ?? null,
    price: made["price"] ?? null,
    balance: made["balance"] ?? null,
    created: made["created"] ?? true,
  });
}

Deno.serve(handle);
