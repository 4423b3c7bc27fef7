// What a prompt screen is; the same as ourvidz/safety/screen.py. It fails closed: when it cannot answer it throws `ScreenUnavailable`, and
// the caller must not queue the job. Neither verdicts nor errors carry the text or any word of it.

export interface Verdict {
  readonly allowed: boolean;
  readonly policy_version: string;
  readonly category: string | null;
  readonly rule_id: string | null;
}

/** The screen cannot answer, so the job must not be queued. Worth another try. */
export class ScreenUnavailable extends Error {
  override readonly name = "ScreenUnavailable";
}

export interface PromptScreen {
  /** Judge one text. Throws `ScreenUnavailable`. */
  check(text: string): Verdict | Promise<Verdict>;
}

/** The way to ask any screen: whatever goes wrong in it, slowness and a strange answer too, becomes `ScreenUnavailable`. */
export async function guardedCheck(screen: PromptScreen, text: string, timeoutMs = 10_000): Promise<Verdict> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<string>((resolve) => timer = setTimeout(() => resolve(`no answer within ${timeoutMs} ms`), timeoutMs));
  const asked = new Promise((resolve) => resolve(screen.check(text))).then(
    (answer) => isWhole(answer) ? answer : "it gave no verdict",
    nameOf,
  );
  const answer = await Promise.race([asked, late]).finally(() => clearTimeout(timer));
  if (typeof answer === "string") {
    throw new ScreenUnavailable(`the prompt screen could not answer (${answer}); the job does not run`);
  }
  return answer;
}

/** Not its message, which could quote the prompt. */
export function nameOf(error: unknown): string {
  return error instanceof Error ? error.constructor.name : typeof error;
}

/** A verdict that says yes or no, under which rules, and for a no why. A screen written elsewhere may return anything. */
function isWhole(answer: unknown): answer is Verdict {
  if (typeof answer !== "object" || answer === null) return false;
  const { allowed, policy_version, category } = answer as Partial<Verdict>;
  return typeof allowed === "boolean" && typeof policy_version === "string" && policy_version !== "" &&
    allowed === (category === null || category === undefined);
}
