// What a function does for its caller before and after it asks the database: it screens texts, and passes refusals on.

import type { SupabaseClient } from "@supabase/supabase-js";
import { Refusal } from "./http.ts";
import { asCaller, isDisabledKey } from "./project.ts";
import {
  canonical,
  canonicalNegative,
  guardedCheck,
  lexical,
  lexicalOfNegatives,
  plain,
  type PromptScreen,
  ScreenUnavailable,
  Unreadable,
  type Verdict,
  withoutKeptOut,
} from "./screen/mod.ts";

export const PATIENCE = 10_000; // milliseconds for each question to the database
export const soon = (): AbortSignal => AbortSignal.timeout(PATIENCE);

/** The project as the signed-in caller sees it. */
export function signedIn(request: Request): SupabaseClient {
  const authorization = request.headers.get("authorization");
  if (!authorization) throw new Refusal(401, "Unauthorized", "Sign in first: the Authorization header is missing.");
  return asCaller(authorization);
}

/** A text that came with a request. Of the field `negative_prompt` the rules are its own. */
export interface Written {
  readonly field: string;
  readonly text: string;
}

/** Throws `Refusal` (422, 400 for what cannot be read, or 503 where the screen cannot answer) unless a model may be given every one of the
 * texts, and a person shown it. `nothing` says what did not happen. */
export async function screen(project: SupabaseClient, name: string, found: readonly Written[], nothing: string): Promise<void> {
  try {
    for (const { field, text, readings, by } of readable(found)) {
      for (const reading of readings) {
        const verdict = await guardedCheck(by, reading);
        const { allowed, category, policy_version } = verdict;
        if (!allowed) {
          await report(project, name, text, verdict);
          const why = { code: "OV013", category, policyVersion: policy_version, field };
          throw new Refusal(422, "Prompt refused", `The ${NAMES[field] ?? field} asks for what we do not make. ${nothing}`, why);
        }
      }
    }
  } catch (error) {
    if (!(error instanceof ScreenUnavailable)) throw error;
    throw new Refusal(503, "Prompt not screened", `The prompt could not be checked. ${nothing} Try again later.`);
  }
}

const NAMES: Readonly<Record<string, string>> = { negative_prompt: "negative prompt" };

interface Readable extends Written {
  readonly readings: ReadonlySet<string>;
  readonly by: PromptScreen;
}

/** Each text once, in canonical form, and all that is screened for it (ourvidz/safety/texts.py). Throws `Refusal` (400). */
function readable(found: readonly Written[]): Iterable<Readable> {
  const texts = new Map<string, Readable>();
  for (const { field, text: written } of found) {
    const negative = field === "negative_prompt";
    try {
      const text = negative ? withoutKeptOut(canonicalNegative(written)) : canonical(written);
      const readings = new Set([text, plain(text), ...(negative ? [] : [written])].filter((reading) => reading !== ""));
      const key = `${negative} ${text}`;
      if (!texts.has(key)) texts.set(key, { field, text, readings, by: negative ? lexicalOfNegatives : lexical });
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      throw new Refusal(400, "Invalid request", `The ${NAMES[field] ?? field} cannot be read: ${error.message}. Write it plainly.`, {
        field,
      });
    }
  }
  return texts.values();
}

/** For counting (`ourvidz safety refusals`): words from lists, and the text's hash, which the database salts. The refusal stands whether it
 * is kept or not. */
async function report(project: SupabaseClient, name: string, text: string, verdict: Verdict): Promise<void> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  const { category, policy_version, rule_id } = verdict;
  const digest = Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const { error } = await project.rpc("report_refusal", { category, policy_version, rule_id, digest }).abortSignal(soon());
  if (error) console.error(name, "a refusal was not recorded", error.code);
}

interface Failure {
  readonly code?: string;
  readonly message: string;
  readonly details?: string | null;
  readonly hint?: string | null;
}

/** A refusal of the database, in its own words: they are written for people, and hold nothing that a person wrote. */
export function refusal(error: Failure, status: number): Refusal {
  const code = error.code ?? "";
  if (isDisabledKey(error.message)) {
    console.error("The project's legacy API keys are disabled, and it has no publishable and secret keys (Settings, API Keys).");
    return new Refusal(
      503,
      "Not configured",
      "The project's legacy API keys are disabled. Its owner must create publishable and secret keys.",
    );
  }
  if (code === "PGRST301" || code === "PGRST302" || status === 401) {
    return new Refusal(401, "Unauthorized", "Sign in again: the token is not valid.");
  }
  if (!code.startsWith("OV")) return new Refusal(503, "Database unavailable", "The database did not answer. Try again later.", { code });
  const wait = /try again in (\d+) s/.exec(error.message)?.[1];
  const page = /https?:\/\/\S+/.exec(error.hint ?? "")?.[0].replace(/[.,;]$/, ""); // where the refusal can be remedied
  const details = page ? `${error.message} ${error.hint}` : error.message;
  const more = {
    code,
    ...(error.details ? { field: error.details } : {}),
    ...(wait ? { retryAfter: Number(wait) } : {}),
    ...(page ? { helpUrl: page } : {}),
  };
  return new Refusal(status, TITLES[status] ?? "Refused", details, more, wait ? { "Retry-After": wait } : {});
}

const TITLES: Readonly<Record<number, string>> = {
  400: "Invalid request",
  402: "Not enough tokens",
  403: "Forbidden",
  404: "Not found",
  409: "Conflict",
  422: "Prompt refused",
  429: "Too many requests",
  503: "Not available",
};
