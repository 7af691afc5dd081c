//! Session descriptions as text: the fragment that asks for an ICE restart, and an answer with the server's new transport in
//! it (RFC 8840). Pure.

const NEW_TRANSPORT = /^a=(ice-ufrag|ice-pwd|candidate|end-of-candidates)(:|$)/;

interface Section {
  /** `null` of what stands before the first media line. */
  mid: string | null;
  lines: string[];
}

function sections(text: string): Section[] {
  const found: Section[] = [{ mid: null, lines: [] }];
  for (const line of text.split(/\r?\n/)) {
    if (line === "") continue;
    if (line.startsWith("m=")) found.push({ mid: null, lines: [] });
    const section = found[found.length - 1]!;
    section.lines.push(line);
    if (line.startsWith("a=mid:")) section.mid = line.slice("a=mid:".length);
  }
  return found;
}

const text = (lines: string[]): string => lines.map((line) => `${line}\r\n`).join("");
const value = (section: Section, name: string): string | null => section.lines.find((line) => line.startsWith(`a=${name}:`))?.slice(name.length + 3) ?? null;
const isRejected = (section: Section): boolean => /^m=\S+ 0 /.test(section.lines[0] ?? "");

/** What a restart tells the server of the new offer: of the section that carries the bundle. `null` without credentials. */
export function fragmentOf(offer: string): string | null {
  const [session, ...media] = sections(offer);
  const first = media.find((section) => !isRejected(section));
  if (!session || !first) return null;
  const ufrag = value(first, "ice-ufrag") ?? value(session, "ice-ufrag");
  const pwd = value(first, "ice-pwd") ?? value(session, "ice-pwd");
  if (ufrag === null || pwd === null) return null;
  return text([
    ...session.lines.filter((line) => line.startsWith("a=group:BUNDLE")),
    first.lines[0]!,
    ...first.lines.filter((line) => line.startsWith("a=mid:")),
    `a=ice-ufrag:${ufrag}`,
    `a=ice-pwd:${pwd}`,
    ...first.lines.filter((line) => line.startsWith("a=candidate:")),
  ]);
}

/** The first answer, with credentials and candidates of the fragment. `null` when the fragment has no credentials. */
export function patched(answer: string, fragment: string): string | null {
  const parts = sections(fragment);
  const named = (name: string) => parts.map((part) => value(part, name)).find((one) => one !== null) ?? null;
  const ufrag = named("ice-ufrag");
  const pwd = named("ice-pwd");
  if (ufrag === null || pwd === null) return null;
  const candidates = parts.flatMap((part) => part.lines.filter((line) => /^a=(candidate:|end-of-candidates)/.test(line)));
  const described = sections(answer);
  const carriers = described.filter((section) => section.lines.some((line) => line.startsWith("a=candidate:")));
  // An answer that named no candidates yet: they belong to the section that carries the bundle.
  const first = described.find((section, index) => index > 0 && !isRejected(section));
  const into = new Set(carriers.length > 0 ? carriers : first ? [first] : []);
  return text(
    described.flatMap((section) => {
      const had = section.lines.some((line) => line.startsWith("a=ice-ufrag:"));
      return [
        ...section.lines.filter((line) => !NEW_TRANSPORT.test(line)),
        ...(had ? [`a=ice-ufrag:${ufrag}`, `a=ice-pwd:${pwd}`] : []),
        ...(into.has(section) ? candidates : []),
      ];
    }),
  );
}
