//! Microphone, camera and speaker: which there are, which are chosen, what they give, and why they do not. Runs in the page;
//! owns the tracks, and nobody else stops them.
import { remember, remembered } from "./remember";
import { store, type Store } from "./store";

/** Why there is no microphone or no camera. */
export type Trouble = "insecure" | "denied" | "none" | "busy";
export type Kind = "audioinput" | "videoinput" | "audiooutput";

export interface Device {
  kind: Kind;
  id: string;
  label: string;
}

export interface MediaState {
  microphone: MediaStreamTrack | null;
  camera: MediaStreamTrack | null;
  microphoneTrouble: Trouble | null;
  cameraTrouble: Trouble | null;
  devices: Device[];
  chosen: Record<Kind, string>;
  /** The browser is asking its user. */
  asking: boolean;
}

export function troubleOf(error: unknown): Trouble {
  switch ((error as { name?: string } | null)?.name) {
    case "NotAllowedError":
    case "SecurityError":
      return "denied";
    case "NotReadableError":
    case "AbortError":
      return "busy";
    default:
      return "none";
  }
}

export interface Media {
  state: Store<MediaState>;
  /** Asks for the microphone, and for the camera when it is wanted. */
  start: (withCamera: boolean) => Promise<void>;
  choose: (kind: Kind, id: string) => Promise<void>;
  cameraOn: () => Promise<void>;
  cameraOff: () => void;
  /** Resolves when nothing is being asked. */
  settled: () => Promise<void>;
  stop: () => void;
}

const NO_TRACKS = { microphone: null, camera: null, microphoneTrouble: null, cameraTrouble: null, asking: false } as const;

const audioOf = (id: string): MediaTrackConstraints => ({ echoCancellation: true, noiseSuppression: true, autoGainControl: true, ...(id ? { deviceId: { exact: id } } : {}) });
const videoOf = (id: string): MediaTrackConstraints => ({
  width: { ideal: 1280 },
  height: { ideal: 720 },
  frameRate: { ideal: 30, max: 30 },
  ...(id ? { deviceId: { exact: id } } : { facingMode: "user" }),
});

export function media(): Media {
  const state = store<MediaState>({ ...NO_TRACKS, devices: [], chosen: { ...remembered().devices } });
  const set = (part: Partial<MediaState>) => state.set({ ...state.get(), ...part });
  // Plain http has no `mediaDevices` at all.
  const devices = navigator.mediaDevices as MediaDevices | undefined;
  // What was asked for before the last wish is not wanted any more.
  const wishes = { microphone: 0, camera: 0 };
  let asking = Promise.resolve();

  const list = async () => {
    const found = await devices?.enumerateDevices().catch(() => []);
    const known = (found ?? []).filter((one) => one.kind !== "audiooutput" || "setSinkId" in HTMLMediaElement.prototype);
    set({ devices: known.map((one) => ({ kind: one.kind, id: one.deviceId, label: one.label })) });
  };

  /** The chosen device, or any when it is not there any more. */
  const open = async (constraints: (id: string) => MediaStreamConstraints, id: string): Promise<MediaStream> => {
    if (!devices) throw new DOMException("", "InsecureContext");
    try {
      return await devices.getUserMedia(constraints(id));
    } catch (error) {
      if (!id || troubleOf(error) === "denied") throw error;
      return devices.getUserMedia(constraints(""));
    }
  };

  const take = (kind: "microphone" | "camera", track: MediaStreamTrack, wish: number) => {
    if (wish !== wishes[kind]) return track.stop();
    const before = state.get()[kind];
    set(kind === "microphone" ? { microphone: track, microphoneTrouble: null } : { camera: track, cameraTrouble: null });
    before?.stop();
    // Unplugged: another one is looked for, once.
    track.onended = () => {
      if (state.get()[kind] !== track) return;
      set(kind === "microphone" ? { microphone: null } : { camera: null });
      void get(kind);
    };
  };

  const get = async (kind: "microphone" | "camera") => {
    const wish = ++wishes[kind];
    const { chosen } = state.get();
    try {
      const stream = await (kind === "microphone" ? open((id) => ({ audio: audioOf(id) }), chosen.audioinput) : open((id) => ({ video: videoOf(id) }), chosen.videoinput));
      for (const track of stream.getTracks()) take(kind, track, wish);
    } catch (error) {
      if (wish !== wishes[kind]) return;
      const trouble = devices ? troubleOf(error) : "insecure";
      set(kind === "microphone" ? { microphoneTrouble: trouble } : { cameraTrouble: trouble });
    }
  };

  const asked = (act: () => Promise<void>): Promise<void> => {
    set({ asking: true });
    const done = asking.then(act).then(list);
    asking = done.finally(() => {
      if (asking === mine) set({ asking: false });
    });
    const mine = asking;
    return done;
  };

  const both = async () => {
    const wish = { microphone: ++wishes.microphone, camera: ++wishes.camera };
    const { chosen } = state.get();
    try {
      // Together, as browsers then ask but once.
      const stream = await devices!.getUserMedia({ audio: audioOf(chosen.audioinput), video: videoOf(chosen.videoinput) });
      for (const track of stream.getTracks()) take(track.kind === "audio" ? "microphone" : "camera", track, track.kind === "audio" ? wish.microphone : wish.camera);
    } catch {
      // One of them at least: which, each says for itself.
      await get("microphone");
      await get("camera");
    }
  };

  devices?.addEventListener("devicechange", () => void list());

  return {
    state,
    start: (withCamera) => asked(withCamera && devices ? both : () => get("microphone")),
    choose: async (kind, id) => {
      const chosen = { ...state.get().chosen, [kind]: id };
      set({ chosen });
      remember({ devices: chosen });
      if (kind === "audioinput") await asked(() => get("microphone"));
      if (kind === "videoinput" && state.get().camera) await asked(() => get("camera"));
    },
    cameraOn: () => asked(() => get("camera")),
    cameraOff: () => {
      wishes.camera += 1;
      state.get().camera?.stop();
      set({ camera: null, cameraTrouble: null });
    },
    settled: () => asking,
    stop: () => {
      wishes.camera += 1;
      wishes.microphone += 1;
      const { camera, microphone } = state.get();
      camera?.stop();
      microphone?.stop();
      set(NO_TRACKS);
    },
  };
}
