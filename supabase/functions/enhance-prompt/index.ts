// enhance-prompt: what the prompt dialog calls. It screens the prompt, has the enhancer's model describe the scene (by the rpc
// `ask_enhancement`, as the user), and screens what came back. Nothing is queued or charged, and the texts are kept for minutes.

import type { SupabaseClient } from "@supabase/supabase-js";
import { refusal, screen, signedIn, soon } from "../_shared/asking.ts";
import { bodyOf, isObject, json, objectOf, posts, Refusal } from "../_shared/http.ts";

const LARGEST = 64 * 1024; // bytes
const LONGEST = 4000; // characters of a prompt
const PATIENCE = 20_000; // milliseconds for an answer: as long as the database gives the request to an enhancer
const NOTHING = "Nothing was enhanced; your prompt is as it was.";

interface Answer {
  readonly enhanced: string;
  readonly style: string;
  readonly figures: Record<string, unknown>;
}

const handle = posts("enhance-prompt", async (request) => {
  const project = signedIn(request);
  const asked = objectOf(await bodyOf(request, LARGEST));
  const prompt = asked["prompt"];
  if (typeof prompt !== "string" || prompt.trim() === "") throw refused("prompt must be text.", "prompt");
  if ([...prompt].length > LONGEST) throw refused(`prompt may have at most ${LONGEST.toLocaleString("en")} characters.`, "prompt");
  await screen(project, "enhance-prompt", [{ field: "prompt", text: prompt }], NOTHING);
  const made = await enhanced(project, prompt, word(asked["jobType"]), word(asked["format"]));
  await screen(project, "enhance-prompt", [{ field: "prompt", text: made.enhanced }], NOTHING);
  const before = [...prompt].length;
  const after = [...made.enhanced].length;
  return json(200, {
    success: true,
    original_prompt: prompt,
    enhanced_prompt: made.enhanced,
    enhancement_metadata: {
      original_length: before,
      enhanced_length: after,
      expansion_percentage: Math.round((after - before) / before * 100),
      enhancement_strategy: `qwen_${made.style}`,
      job_type: word(asked["jobType"]),
      format: word(asked["format"]),
      quality: word(asked["quality"]),
      ...made.figures,
    },
  });
});

/** The enhancer's text. Throws `Refusal`: 503 at once where no enhancer lives, 504 where none answered in time. */
async function enhanced(project: SupabaseClient, prompt: string, jobType: string | null, format: string | null): Promise<Answer> {
  const until = Date.now() + PATIENCE;
  const made = await asked(project, "ask_enhancement", { prompt, job_type: jobType, format });
  for (let pause = 150; Date.now() + pause < until; pause = Math.min(pause * 1.3, 1_000)) {
    await new Promise((resume) => setTimeout(resume, pause));
    const found = await asked(project, "enhancement", { request_id: made["request_id"] });
    const { status, enhanced, style, figures } = found;
    if (status === "done" && typeof enhanced === "string") {
      return { enhanced, style: String(style), figures: isObject(figures) ? figures : {} };
    }
    if (status === "failed") throw failed(found["failed"]);
  }
  throw new Refusal(504, "Enhancement timed out", `The enhancer did not answer within ${PATIENCE / 1000} s. ${NOTHING} Try again later.`);
}

function failed(reason: unknown): Refusal {
  if (reason === "refused") {
    return new Refusal(422, "Prompt refused", `The prompt asks for what we do not make. ${NOTHING}`, { code: "OV013" });
  }
  return new Refusal(502, "Enhancement failed", `The enhancer made no usable description of it. ${NOTHING}`);
}

async function asked(project: SupabaseClient, verb: string, named: Record<string, unknown>): Promise<Record<string, unknown>> {
  const { data, error, status } = await project.rpc(verb, named).abortSignal(soon());
  if (error) throw refusal(error, status);
  if (!isObject(data)) throw new Error(`${verb} answered no object`);
  return data;
}

function word(value: unknown): string | null {
  return typeof value === "string" && /^[\w-]{1,60}$/.test(value) ? value : null;
}

function refused(details: string, field: string): Refusal {
  return new Refusal(400, "Invalid request", details, { field });
}

Deno.serve(handle);
