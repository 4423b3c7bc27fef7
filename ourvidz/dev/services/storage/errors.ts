/** What Supabase Storage refuses, in its words: the HTTP status is 400, the true one a string in the body (its `internal/errors`). */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly error = code,
  ) {
    super(message);
  }

  response(): Response {
    const body = { statusCode: String(this.status), code: this.code, error: this.error, message: this.message };
    return Response.json(body, { status: this.status >= 500 ? this.status : 400 });
  }
}

export const refuse = {
  noBucket: () => new Refusal(404, "NoSuchBucket", "Bucket not found", "Bucket not found"),
  noObject: () => new Refusal(404, "NoSuchKey", "Object not found", "not_found"),
  exists: () => new Refusal(409, "ResourceAlreadyExists", "The resource already exists", "Duplicate"),
  notEmpty: () => new Refusal(409, "InvalidRequest", "The bucket you tried to delete is not empty", "Storage not empty"),
  tooLarge: () => new Refusal(413, "EntityTooLarge", "The object exceeded the maximum allowed size", "Payload too large"),
  type: (type: string) => new Refusal(415, "InvalidMimeType", `mime type ${type} is not supported`, "invalid_mime_type"),
  denied: (why: string) => new Refusal(403, "AccessDenied", why, "Unauthorized"),
  key: (key: string) => new Refusal(400, "InvalidKey", `Invalid key: ${key}`),
  token: (why: string) => new Refusal(400, "InvalidJWT", why),
  request: (why: string) => new Refusal(400, "InvalidRequest", why),
};
