//! From the API's own description to the fields of a form, and from what was typed back to a body. Pure.
//! Knows JSON Schema 2020-12 as far as request bodies of the API use it; no field's name appears here.

export interface Schema {
  $ref?: string;
  type?: string | string[];
  enum?: unknown[];
  oneOf?: Schema[];
  anyOf?: Schema[];
  allOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  default?: unknown;
  description?: string;
  examples?: unknown[];
  format?: string;
  pattern?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  maxItems?: number;
  contentMediaType?: string;
}

export interface Description {
  paths: Record<string, Record<string, { requestBody?: { content?: Record<string, { schema?: Schema }> } }>>;
  components: { schemas: Record<string, Schema> };
}

export type Kind = "text" | "long" | "number" | "switch" | "choice" | "time" | "words" | "kinds" | "rows";

export interface FormField {
  name: string;
  kind: Kind;
  required: boolean;
  nullable: boolean;
  /** It is shown, but the API does not take it here. */
  fixed: boolean;
  help: string;
  options: string[];
  columns: FormField[];
  example: string;
  preset: unknown;
  pattern: string | null;
  min: number | null;
  max: number | null;
  minLength: number | null;
  maxLength: number | null;
  numeric: boolean;
}

/** What a form holds: text for all that is typed, the rest as it is. */
export type Value = string | boolean | string[] | Record<string, string>[];
export type Values = Record<string, Value>;

/** A schema with its references and its alternatives to null taken in. */
export function flat(schema: Schema, all: Record<string, Schema>, depth = 0): Schema & { nullable: boolean } {
  const types = Array.isArray(schema.type) ? schema.type : schema.type ? [schema.type] : [];
  let found: Schema = { ...schema };
  let nullable = types.includes("null");
  if (depth > 8) return { ...found, nullable };
  const parts: Schema[] = [];
  const named = schema.$ref?.split("/").pop();
  if (named && all[named]) parts.push(all[named]);
  parts.push(...(schema.allOf ?? []));
  for (const choice of schema.oneOf ?? schema.anyOf ?? []) {
    if (choice.type === "null") nullable = true;
    else parts.push(choice);
  }
  for (const part of parts) {
    const inner = flat(part, all, depth + 1);
    nullable ||= inner.nullable;
    // What is said at the place of use is more precise than what its type says of itself.
    const own = Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
    found = { ...inner, ...own, properties: { ...inner.properties, ...found.properties } };
  }
  const type = types.length > 0 ? types.filter((name) => name !== "null")[0] : found.type;
  return { ...found, ...(type === undefined ? {} : { type }), nullable };
}

/** The schema of a request's JSON body. */
export function bodyOf(description: Description, path: string): Schema | null {
  const body = description.paths[path]?.post?.requestBody?.content?.["application/json"]?.schema;
  return body ? flat(body, description.components.schemas) : null;
}

function kindOf(schema: Schema): Kind {
  if (schema.enum) return "choice";
  if (schema.type === "boolean") return "switch";
  if (schema.type === "integer" || schema.type === "number") return "number";
  if (schema.type === "array") {
    if (schema.items?.enum) return "kinds";
    return schema.items?.properties ? "rows" : "words";
  }
  if (schema.format === "date-time") return "time";
  return (schema.maxLength ?? 0) > 512 && schema.format !== "web-url" ? "long" : "text";
}

function field(name: string, raw: Schema, required: boolean, fixed: boolean, all: Record<string, Schema>): FormField {
  const schema = flat(raw, all);
  if (schema.items) schema.items = flat(schema.items, all);
  const kind = kindOf(schema);
  const inner = schema.items?.properties ?? {};
  const wanted = schema.items?.required ?? [];
  const example = schema.examples?.[0];
  return {
    name,
    kind,
    required,
    nullable: schema.nullable,
    fixed,
    help: schema.description ?? "",
    options: (schema.enum ?? schema.items?.enum ?? []).filter((option): option is string => typeof option === "string"),
    columns: kind === "rows" ? Object.entries(inner).map(([key, part]) => field(key, part, wanted.includes(key), false, all)) : [],
    example: typeof example === "string" || typeof example === "number" ? String(example) : "",
    preset: schema.default ?? null,
    pattern: schema.pattern ?? null,
    min: schema.minimum ?? null,
    max: schema.maximum ?? null,
    minLength: schema.minLength ?? null,
    maxLength: schema.maxLength ?? null,
    numeric: kind === "text" && /^\^\[0-9\]\{[\d,]+\}\$$/.test(schema.pattern ?? ""),
  };
}

/** The fields of `body`; with `shown`, those of it that `body` lacks are fixed. */
export function fieldsOf(description: Description, body: Schema, shown: Schema = body): FormField[] {
  const all = description.components.schemas;
  return Object.entries(shown.properties ?? {}).map(([name, schema]) => {
    const taken = body.properties?.[name];
    return field(name, taken ?? schema, (shown.required ?? []).includes(name), !taken, all);
  });
}

/** An instant for `<input type=datetime-local>`, in the clock of the one who looks. */
export function localTime(iso: string): string {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return "";
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** What a form starts with: what there is, or else the default. */
export function valueOf(field: FormField, given: unknown): Value {
  const value = given === undefined ? field.preset : given;
  switch (field.kind) {
    case "switch":
      return value === true;
    case "words":
      return Array.isArray(value) ? value.join("\n") : "";
    case "kinds":
      return Array.isArray(value) ? value.map(String) : [];
    case "rows":
      return Array.isArray(value)
        ? value.map((row: Record<string, unknown>) =>
            Object.fromEntries(field.columns.map((column) => [column.name, String(row[column.name] ?? "")])),
          )
        : [];
    case "time":
      return typeof value === "string" ? localTime(value) : "";
    default:
      return value === null || value === undefined ? "" : String(value);
  }
}

export function valuesOf(fields: FormField[], object: Record<string, unknown> = {}): Values {
  return Object.fromEntries(fields.map((field) => [field.name, valueOf(field, object[field.name])]));
}

/** What the API is sent for a field; undefined: nothing. */
export function sent(field: FormField, value: Value): unknown {
  if (field.kind === "switch" || field.kind === "kinds") return value;
  if (field.kind === "rows") {
    const rows = value as Record<string, string>[];
    return rows.map((row) => Object.fromEntries(field.columns.map((column) => [column.name, sent(column, row[column.name] ?? "")])));
  }
  const text = String(value);
  if (field.kind === "words") return text.split(/[\n,;]/).map((word) => word.trim()).filter(Boolean);
  if (text.trim() === "") return field.nullable ? null : field.required ? "" : undefined;
  // What is no number goes as it was typed, so that the API says what is wrong with it.
  if (field.kind === "number") return Number.isFinite(Number(text)) ? Number(text) : text;
  if (field.kind === "time") {
    const at = new Date(text);
    return Number.isNaN(at.getTime()) ? text : at.toISOString();
  }
  return text;
}

const same = (one: Value | undefined, other: Value | undefined): boolean => JSON.stringify(one) === JSON.stringify(other);

/** The body: all that has a value, or with `before` only what was changed. */
export function bodyFrom(fields: FormField[], values: Values, before?: Values): Record<string, unknown> {
  const body: Record<string, unknown> = {};
  for (const field of fields) {
    const value = values[field.name];
    if (field.fixed || value === undefined || (before && same(value, before[field.name]))) continue;
    const out = sent(field, value);
    if (out === undefined || (!before && out === null)) continue;
    body[field.name] = out;
  }
  return body;
}

/** What can be told before the API is asked; null when nothing is wrong. The API has the last word. */
export function complaint(field: FormField, value: Value): string | null {
  if (field.fixed || typeof value !== "string") return null;
  if (value.trim() === "") return field.required ? "This is needed." : null;
  if (field.kind === "number") {
    const number = Number(value);
    if (!Number.isInteger(number)) return "This must be a whole number.";
    const { min, max } = field;
    if ((min !== null && number < min) || (max !== null && number > max)) {
      return max === null ? `This must be ${min} or more.` : min === null ? `This must be ${max} or less.` : `This must be from ${min} to ${max}.`;
    }
    return null;
  }
  if (field.kind !== "text" && field.kind !== "long") return null;
  const length = [...value].length;
  if (field.minLength !== null && length < field.minLength) return `This needs at least ${field.minLength} characters.`;
  if (field.maxLength !== null && length > field.maxLength) return `This may have at most ${field.maxLength} characters.`;
  if (field.numeric && field.pattern && !new RegExp(field.pattern).test(value)) return "This takes digits only.";
  return null;
}
