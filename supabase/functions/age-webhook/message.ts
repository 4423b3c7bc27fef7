// What a provider of age verification says, read by a table of its field names: no provider has code of its own.

import { isObject, Refusal, UUID } from "../_shared/http.ts";

/** Where each thing stands in the provider's JSON, by a path of names with dots; and which of its words mean what. */
export interface Fields {
  user: string;
  decision: string;
  verified: readonly string[];
  refused: readonly string[];
  review: readonly string[];
  /** When the verification runs out, when the provider said it (to tell late messages from new ones), and its own name for the case. */
  until?: string;
  at?: string;
  reference?: string;
}

export interface Message {
  user_id: string;
  decision: "verified" | "refused" | "review";
  until: string | null;
  said_at: string | null;
  reference: string | null;
}

const DEFAULT: Fields = {
  user: "data.user_id",
  decision: "data.status",
  verified: ["verified", "approved"],
  refused: ["refused", "declined", "rejected", "withdrawn"],
  review: ["review", "pending"],
  until: "data.expires_at",
  at: "timestamp",
  reference: "data.id",
};
const PATHS = ["user", "decision", "until", "at", "reference"] as const;
const LISTS = ["verified", "refused", "review"] as const;

/** AGE_WEBHOOK_FIELDS: JSON with any of the names of `Fields`, in place of the default's. Throws `Refusal` that names what is wrong. */
export function fieldsOf(text: string | undefined): Fields {
  if (!text) return DEFAULT;
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch {
    throw unset("AGE_WEBHOOK_FIELDS is not JSON.");
  }
  if (!isObject(given)) throw unset("AGE_WEBHOOK_FIELDS must be a JSON object.");
  for (const [name, value] of Object.entries(given)) {
    const path = (PATHS as readonly string[]).includes(name) && typeof value === "string" && /^[\w.-]{1,200}$/.test(value);
    const list = (LISTS as readonly string[]).includes(name) && Array.isArray(value) && value.every((word) => typeof word === "string");
    if (!path && !list) throw unset(`AGE_WEBHOOK_FIELDS: ${name} must be one of ${PATHS} (a path) or of ${LISTS} (a list of words).`);
  }
  return { ...DEFAULT, ...given };
}

export function unset(details: string): Refusal {
  return new Refusal(503, "Not set up", details);
}

/** Null: a message about something else (a decision that is in none of the lists). Throws `Refusal` where a field cannot be read. */
export function read(body: Record<string, unknown>, fields: Fields): Message | null {
  const word = at(body, fields.decision);
  const decision = LISTS.find((name) => typeof word === "string" && fields[name].includes(word));
  if (decision === undefined) return null;
  const user = at(body, fields.user);
  if (typeof user !== "string" || !UUID.test(user)) {
    throw new Refusal(400, "Invalid message", `${fields.user} must be the user's id, a UUID.`);
  }
  const reference = at(body, fields.reference);
  return {
    user_id: user,
    decision,
    until: instant(body, fields.until),
    said_at: instant(body, fields.at),
    reference: typeof reference === "string" && /^[\w.:-]{1,200}$/.test(reference) ? reference : null,
  };
}

function at(body: unknown, path: string | undefined): unknown {
  return path?.split(".").reduce((value, name) => isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined, body);
}

/** An instant as ISO text, out of ISO text with its zone, a day, or seconds since 1970. */
function instant(body: unknown, path: string | undefined): string | null {
  const given = at(body, path);
  if (given === undefined || given === null) return null;
  const readable = typeof given === "number" || typeof given === "string" && /^\d{4}-\d\d-\d\d(T[\d:.]+(Z|[+-]\d\d:?\d\d))?$/.test(given);
  const found = readable ? new Date(typeof given === "number" ? given * 1000 : given) : new Date(NaN);
  if (Number.isNaN(found.getTime()) || found.getUTCFullYear() > 9999) {
    throw new Refusal(400, "Invalid message", `${path} must be an instant: 2031-05-01T00:00:00Z, 2031-05-01, or seconds since 1970.`);
  }
  return found.toISOString();
}
