//! One WebRTC connection to the server: what is sent and received, its first negotiation, its ICE restarts. Runs in the page.
import { fragmentOf, patched } from "./sdp";

export interface PeerOptions {
  iceServers: RTCIceServer[];
  video: boolean;
  /** There is a camera that may be switched on later. */
  hasCamera: boolean;
  microphone: MediaStreamTrack | null;
  camera: MediaStreamTrack | null;
  onLink: (up: boolean, failed: boolean) => void;
  onTrack: (track: MediaStreamTrack) => void;
}

export interface Peer {
  pc: RTCPeerConnection;
  /** A microphone was negotiated; without one only a new connection brings it. */
  speaks: boolean;
  shows: boolean;
  isUp: () => boolean;
  offer: () => Promise<string>;
  accept: (answer: string) => Promise<void>;
  /** `send` brings our fragment to the server, and the server's back. */
  restart: (send: (fragment: string) => Promise<string>) => Promise<void>;
  /** What is sent from now on; without renegotiation. */
  put: (microphone: MediaStreamTrack | null, camera: MediaStreamTrack | null) => void;
  close: () => void;
}

export function peer(options: PeerOptions): Peer {
  const pc = new RTCPeerConnection({ iceServers: options.iceServers, bundlePolicy: "max-bundle" });
  const speaks = options.microphone !== null;
  const shows = options.video && (options.hasCamera || options.camera !== null);
  const audio = pc.addTransceiver(options.microphone ?? "audio", { direction: speaks ? "sendrecv" : "recvonly" });
  // The camera's line is there from the start: switching it on is then nobody's business but ours.
  const video = options.video ? pc.addTransceiver(options.camera ?? "video", { direction: shows ? "sendrecv" : "recvonly" }) : null;
  let first = "";
  const isUp = () => (pc.iceConnectionState === "connected" || pc.iceConnectionState === "completed") && pc.connectionState !== "failed";
  const tell = () => {
    // `checking` is no news: a restart goes through it while media still flow.
    if (isUp()) options.onLink(true, false);
    else if (pc.iceConnectionState === "failed" || pc.connectionState === "failed") options.onLink(false, true);
    else if (pc.iceConnectionState === "disconnected") options.onLink(false, false);
  };
  pc.oniceconnectionstatechange = tell;
  pc.onconnectionstatechange = tell;
  pc.ontrack = (event) => options.onTrack(event.track);
  const settle = async () => {
    if (pc.signalingState === "have-local-offer") await pc.setLocalDescription({ type: "rollback" }).catch(() => undefined);
  };
  return {
    pc,
    speaks,
    shows,
    isUp,
    offer: async () => {
      await pc.setLocalDescription(await pc.createOffer());
      return pc.localDescription?.sdp ?? "";
    },
    accept: async (answer) => {
      first = answer;
      await pc.setRemoteDescription({ type: "answer", sdp: answer });
    },
    restart: async (send) => {
      await settle();
      pc.restartIce();
      await pc.setLocalDescription(await pc.createOffer());
      const fragment = fragmentOf(pc.localDescription?.sdp ?? "");
      try {
        const answer = fragment && patched(first, await send(fragment));
        if (!answer) throw new Error("The server's answer has no credentials.");
        await pc.setRemoteDescription({ type: "answer", sdp: answer });
      } catch (error) {
        await settle();
        throw error;
      }
    },
    put: (microphone, camera) => {
      if (speaks && audio.sender.track !== microphone) void audio.sender.replaceTrack(microphone).catch(() => undefined);
      if (video && shows && video.sender.track !== camera) void video.sender.replaceTrack(camera).catch(() => undefined);
    },
    close: () => {
      pc.oniceconnectionstatechange = null;
      pc.onconnectionstatechange = null;
      pc.ontrack = null;
      pc.close();
    },
  };
}
