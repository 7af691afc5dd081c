//! What the API says when it refuses, as every page reads it.

export interface Refusal {
  code: string;
  message: string;
  detail: { field?: string; starts_at?: string | null } | null;
}

/** A refusal, or a request that nobody answered (`status` 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly errors: Refusal[],
  ) {
    super(errors.map((error) => error.message).join("; "));
  }
  get code(): string {
    return this.errors[0]?.code ?? "UNKNOWN";
  }
}

/** What an answer that is not a success says, whatever its body is. */
export function refusals(status: number, body: unknown): Refusal[] {
  const errors = (body as { errors?: unknown } | null)?.errors;
  const read = Array.isArray(errors)
    ? errors.flatMap((error: Partial<Refusal> | null) =>
        typeof error?.message === "string"
          ? [{ code: String(error.code ?? "UNKNOWN"), message: error.message, detail: error.detail ?? null }]
          : [],
      )
    : [];
  return read.length > 0 ? read : [{ code: "UNKNOWN", message: `The server answered ${status}.`, detail: null }];
}
