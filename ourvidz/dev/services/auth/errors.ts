/** What Supabase Auth refuses, with its codes and texts (its `apierrors`). Since 2024-01-01 of its API the body is {code, message}. */
export class Refusal extends Error {
  constructor(readonly status: number, readonly code: string, message: string, readonly more: Record<string, unknown> = {}) {
    super(message);
  }

  response(request: Request): Response {
    const asked = request.headers.get("x-supabase-api-version") ?? "";
    const dated = asked >= "2024-01-01";
    const body = dated
      ? { code: this.code, message: this.message, ...this.more }
      : { code: this.status, error_code: this.code, msg: this.message, ...this.more };
    return Response.json(body, { status: this.status, headers: dated ? { "x-supabase-api-version": "2024-01-01" } : {} });
  }
}

export const SHORTEST = 6; // characters of a password: what a new project asks for
const LONGEST = 72; // bytes that bcrypt reads

export const refuse = {
  invalid: (why: string) => new Refusal(400, "validation_failed", why),
  json: () => new Refusal(400, "bad_json", "Could not parse request body as JSON: it is not an object"),
  credentials: () => new Refusal(400, "invalid_credentials", "Invalid login credentials"),
  grant: () => new Refusal(400, "invalid_credentials", "unsupported_grant_type"),
  exists: () => new Refusal(422, "user_already_exists", "User already registered"),
  emailTaken: () => new Refusal(422, "email_exists", "A user with this email address has already been registered"),
  samePassword: () => new Refusal(422, "same_password", "New password should be different from the old password."),
  anonymous: () => new Refusal(422, "anonymous_provider_disabled", "Anonymous sign-ins are disabled"),
  noToken: () => new Refusal(401, "no_authorization", "This endpoint requires a valid Bearer token"),
  token: (why: string) => new Refusal(403, "bad_jwt", `invalid JWT: unable to parse or verify signature, ${why}`),
  claim: (why: string) => new Refusal(403, "bad_jwt", `invalid claim: ${why}`),
  noSession: () => new Refusal(403, "session_not_found", "Session from session_id claim in JWT does not exist"),
  noSubject: () => new Refusal(403, "user_not_found", "User from sub claim in JWT does not exist"),
  noUser: () => new Refusal(404, "user_not_found", "User not found"),
  notAdmin: () => new Refusal(403, "not_admin", "User not allowed"),
  banned: () => new Refusal(400, "user_banned", "User is banned"),
  noRefreshToken: () => new Refusal(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found"),
  usedRefreshToken: () => new Refusal(400, "refresh_token_already_used", "Invalid Refresh Token: Already Used"),
  database: (doing: string) => new Refusal(500, "unexpected_failure", `Database error ${doing}`),
  notServed: (what: string) => new Refusal(501, "not_implemented", `${what} is not served here (\`ourvidz dev up\`)`),
};

/** A password that may be set. Throws what Auth answers to another. */
export function strong(password: string): string {
  if (password.length < SHORTEST) {
    const message = `Password should be at least ${SHORTEST} characters.`;
    throw new Refusal(422, "weak_password", message, { weak_password: { message, reasons: ["length"] } });
  }
  if (new TextEncoder().encode(password).length > LONGEST) {
    throw refuse.invalid(`Password cannot be longer than ${LONGEST} characters`);
  }
  return password;
}
