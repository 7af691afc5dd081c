//! A form made of fields that the API's description has (`schema.ts`); labels and groups come from `words.ts`.
import { useMemo, useRef, useState } from "preact/hooks";
import { ApiError, type Refusal } from "../shared/refusals";
import { complaint, valueOf, type FormField, type Value, type Values } from "./schema";
import { asError, Problem } from "./ui";
import { grouped, helpOf, inWords, kindLabel, labelOf, optionLabel } from "./words";

interface FormProps {
  fields: FormField[];
  initial: Values;
  save: string;
  /** The field that no two of them may have the same in: what is taken is told beside it. */
  unique?: string;
  onSave: (values: Values) => Promise<void>;
  onCancel?: () => void;
}

export function Form({ fields, initial, save, unique, onSave, onCancel }: FormProps) {
  const [values, setValues] = useState(initial);
  const [wrong, setWrong] = useState<Record<string, string>>({});
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const groups = useMemo(() => grouped(fields), [fields]);
  const known = new Set(fields.map((field) => field.name));

  const show = (found: Record<string, string>) => {
    setWrong(found);
    const first = fields.find((field) => found[field.name]);
    if (!first) return;
    requestAnimationFrame(() => {
      const at = form.current?.querySelector<HTMLElement>(`#field-${CSS.escape(first.name)}`);
      at?.closest("details")?.setAttribute("open", "");
      at?.focus();
      // With what is wrong, which is below it, clear of the bar.
      at?.closest(".field")?.scrollIntoView({ block: "center" });
    });
  };
  const submit = async (event: Event) => {
    event.preventDefault();
    if (busy) return;
    const found: Record<string, string> = {};
    for (const field of fields) {
      const told = complaint(field, values[field.name] ?? "");
      if (told) found[field.name] = told;
    }
    setError(null);
    if (Object.keys(found).length > 0) return show(found);
    setBusy(true);
    setWrong({});
    try {
      await onSave(values);
    } catch (caught) {
      const refused = asError(caught);
      const placed: Record<string, string> = {};
      // `outbound_caller_ids[0].caller_id` and the like belong to the field that they are in.
      const fieldOf = ({ code, detail }: Refusal) => (detail?.field ?? (code === "RESOURCE_IN_USE" ? unique : undefined) ?? "").split(/[.[]/)[0] ?? "";
      for (const reason of refused.errors) {
        const name = fieldOf(reason);
        const words = inWords(reason.message);
        if (known.has(name)) placed[name] = placed[name] ? `${placed[name]} ${words}` : words;
      }
      show(placed);
      const left = refused.errors.filter((reason) => !known.has(fieldOf(reason)));
      if (left.length > 0) setError(new ApiError(refused.status, left));
    } finally {
      setBusy(false);
    }
  };
  const set = (name: string, value: Value) => setValues((before) => ({ ...before, [name]: value }));

  return (
    <form ref={form} class="form" noValidate onSubmit={submit}>
      {groups.map((group, index) => {
        const shown = (
          <div class="fields">
            {group.fields.map((field) => (
              <Field key={field.name} field={field} value={values[field.name] ?? ""} wrong={wrong[field.name]} onChange={(value) => set(field.name, value)} />
            ))}
          </div>
        );
        // A group that is the only one is none.
        if (groups.length === 1) return shown;
        return (
          <details key={group.title} open={index === 0 || group.fields.some((field) => wrong[field.name])}>
            <summary>{group.title}</summary>
            {shown}
          </details>
        );
      })}
      <div class="bar">
        <Problem error={error} />
        <div class="row end">
          {onCancel && <button type="button" onClick={onCancel}>Cancel</button>}
          <button type="submit" class="primary" data-testid="save" aria-busy={busy}>{save}</button>
        </div>
      </div>
    </form>
  );
}

interface FieldProps {
  field: FormField;
  value: Value;
  wrong: string | undefined;
  onChange: (value: Value) => void;
}

function limits(field: FormField): string {
  const { min, max } = field;
  if (field.kind === "number" && min !== null && max !== null && max < 2 ** 31 - 1) return ` ${min} to ${max}.`;
  return "";
}

export function Field({ field, value, wrong, onChange }: FieldProps) {
  const id = `field-${field.name}`;
  const help = field.fixed ? "This cannot be changed." : `${helpOf(field)}${limits(field)}`;
  const told = [help ? `${id}-help` : "", wrong ? `${id}-error` : ""].filter(Boolean).join(" ");
  const common = {
    id,
    "data-testid": id,
    "aria-describedby": told || undefined,
    "aria-invalid": wrong ? true : undefined,
    "aria-required": field.required && field.kind !== "switch" ? true : undefined,
    disabled: field.fixed,
  } as const;
  const typed = (event: { currentTarget: { value: string } }) => onChange(event.currentTarget.value);
  const label = (
    <>
      {labelOf(field.name)}
      {field.required && !field.fixed && <small class="muted"> (required)</small>}
    </>
  );
  const below = (
    <>
      {help && <p id={`${id}-help`} class="help">{help}</p>}
      {wrong && <p id={`${id}-error`} class="wrong" data-testid="field-error" data-field={field.name}>{wrong}</p>}
    </>
  );
  if (field.kind === "switch") {
    return (
      <div class="field">
        <label class="check" for={id}>
          <input type="checkbox" {...common} checked={value === true} onChange={(event) => onChange(event.currentTarget.checked)} />
          <span>{label}</span>
        </label>
        {below}
      </div>
    );
  }
  if (field.kind === "kinds") {
    const chosen = value as string[];
    return (
      <fieldset class="field" id={id} tabIndex={-1} data-testid={id} aria-describedby={told || undefined}>
        <legend>{label}</legend>
        <div class="kinds">
          {field.options.map((option) => (
            <label class="check" key={option}>
              <input
                type="checkbox"
                checked={chosen.includes(option)}
                onChange={(event) => onChange(event.currentTarget.checked ? [...chosen, option] : chosen.filter((other) => other !== option))}
              />
              <span>{kindLabel(option)}</span>
            </label>
          ))}
        </div>
        {below}
      </fieldset>
    );
  }
  if (field.kind === "rows") return <Rows field={field} value={value as Record<string, string>[]} below={below} onChange={onChange} />;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {field.kind === "choice" ? (
        <select {...common} value={String(value)} onChange={typed}>
          {value === "" && <option value="">Choose…</option>}
          {field.options.map((option) => (
            <option key={option} value={option}>{optionLabel(option)}</option>
          ))}
        </select>
      ) : field.kind === "long" || field.kind === "words" ? (
        <textarea {...common} rows={3} value={String(value)} onInput={typed} />
      ) : (
        <input
          {...common}
          type={field.kind === "number" ? "number" : field.kind === "time" ? "datetime-local" : "text"}
          inputMode={field.numeric ? "numeric" : undefined}
          autocomplete="off"
          placeholder={field.example && field.kind === "text" ? `e.g. ${field.example}` : undefined}
          value={String(value)}
          onInput={typed}
        />
      )}
      {below}
    </div>
  );
}

function Rows({ field, value, below, onChange }: { field: FormField; value: Record<string, string>[]; below: preact.ComponentChildren; onChange: (value: Value) => void }) {
  const blank = Object.fromEntries(field.columns.map((column) => [column.name, String(valueOf(column, undefined))]));
  return (
    <fieldset class="field" id={`field-${field.name}`} tabIndex={-1} data-testid={`field-${field.name}`}>
      <legend>{labelOf(field.name)}</legend>
      {value.map((row, index) => (
        <div class="row" key={index}>
          {field.columns.map((column) => (
            <label key={column.name}>
              <span>{labelOf(column.name)}</span>
              <input
                value={row[column.name] ?? ""}
                onInput={(event) => onChange(value.map((other, at) => (at === index ? { ...other, [column.name]: event.currentTarget.value } : other)))}
              />
            </label>
          ))}
          <button type="button" aria-label={`Remove row ${index + 1}`} onClick={() => onChange(value.filter((_, at) => at !== index))}>Remove</button>
        </div>
      ))}
      <button type="button" onClick={() => onChange([...value, blank])}>Add</button>
      {below}
    </fieldset>
  );
}
