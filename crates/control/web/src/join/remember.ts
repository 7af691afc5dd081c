//! What the page remembers of its visitor from one conference to the next: in this browser, never a PIN.

export interface Remembered {
  name: string;
  muted: boolean;
  camera: boolean;
  shortcuts: boolean;
  devices: { audioinput: string; videoinput: string; audiooutput: string };
}

const KEPT_AS = "conclave.join";

/** Whatever is kept there, something usable. */
export function rememberedFrom(text: string | null): Remembered {
  let read: Partial<Remembered> = {};
  try {
    const kept: unknown = JSON.parse(text ?? "null");
    if (typeof kept === "object" && kept !== null) read = kept;
  } catch {
    // Not ours, or of an older page.
  }
  const devices: Partial<Remembered["devices"]> = typeof read.devices === "object" && read.devices !== null ? read.devices : {};
  const word = (value: unknown) => (typeof value === "string" ? value : "");
  return {
    name: word(read.name),
    muted: read.muted === true,
    camera: read.camera !== false,
    shortcuts: read.shortcuts !== false,
    devices: { audioinput: word(devices.audioinput), videoinput: word(devices.videoinput), audiooutput: word(devices.audiooutput) },
  };
}

export function remembered(): Remembered {
  try {
    return rememberedFrom(localStorage.getItem(KEPT_AS));
  } catch {
    return rememberedFrom(null);
  }
}

export function remember(part: Partial<Remembered>): void {
  try {
    localStorage.setItem(KEPT_AS, JSON.stringify({ ...remembered(), ...part }));
  } catch {
    // Without storage (private windows of some browsers) the next visit begins anew.
  }
}
