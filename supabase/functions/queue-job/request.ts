// What queue-job is asked: {jobType, metadata, projectId?, videoId?, imageId?}, as the deployed front end sends it.

import { JOB_TYPES, type JobType } from "../_shared/catalog.ts";
import { isObject, Refusal, UUID } from "../_shared/http.ts";

export interface Asked {
  readonly kind: JobType;
  readonly metadata: Record<string, unknown>;
  readonly ids: { readonly project_id?: string; readonly video_id?: string; readonly image_id?: string };
  readonly negativePrompt: string | null;
  readonly idempotencyKey: string | null;
}

const IDS = { projectId: "project_id", videoId: "video_id", imageId: "image_id" } as const;
const TEXTS = { prompt: 4000, negative_prompt: 2000, negativePrompt: 2000 } as const;

/** Throws `Refusal` (400) naming the field; the database judges the settings, as it does for every way in. Fields that this function does not
 * know are ignored, as the deployed one ignored them. */
export function read(body: Record<string, unknown>, headers: Headers): Asked {
  const name = body["jobType"];
  const kind = typeof name === "string" && Object.hasOwn(JOB_TYPES, name) ? JOB_TYPES[name] : undefined;
  if (!kind) {
    const validJobTypes = Object.keys(JOB_TYPES);
    throw new Refusal(400, "Invalid job type", `jobType must be one of: ${validJobTypes.join(", ")}.`, { validJobTypes });
  }
  const metadata = body["metadata"] ?? {};
  if (!isObject(metadata)) throw refused("metadata must be an object.", "metadata");
  for (const [field, longest] of Object.entries(TEXTS)) text(metadata[field], field, longest);
  const ids: Record<string, string> = {};
  for (const [field, column] of Object.entries(IDS)) {
    const id = body[field] ?? undefined;
    if (id === undefined) continue;
    if (typeof id !== "string" || !UUID.test(id)) throw refused(`${field} must be a UUID.`, field);
    ids[column] = id;
  }
  const key = headers.get("idempotency-key");
  if (key !== null && (key.length < 1 || key.length > 200)) throw refused("Idempotency-Key has 1 to 200 characters.", "Idempotency-Key");
  const negative = metadata["negative_prompt"] ?? metadata["negativePrompt"];
  return { kind, metadata, ids, negativePrompt: typeof negative === "string" && negative.trim() ? negative : null, idempotencyKey: key };
}

function text(value: unknown, field: string, longest: number): void {
  if (value === undefined || value === null) return;
  if (typeof value !== "string") throw refused(`metadata.${field} must be text.`, field);
  if ([...value].length > longest) throw refused(`metadata.${field} may have at most ${longest.toLocaleString("en")} characters.`, field);
}

function refused(details: string, field: string): Refusal {
  return new Refusal(400, "Invalid request", details, { field });
}
