//! The page's signs. Each stands beside words, seen or heard: none is read out itself.

const PATHS = {
  microphone: "M12 3a3 3 0 0 0-3 3v6a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3ZM5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3",
  muted: "M9 9v3a3 3 0 0 0 4.6 2.5M15 11V6a3 3 0 0 0-5.7-1.3M5.5 11.5a6.5 6.5 0 0 0 10.4 5.2M18.5 11.5a6.5 6.5 0 0 1-.6 2.7M12 18v3M4 3l16 18",
  camera: "M4 7h9a2 2 0 0 1 2 2v6a2 2 0 0 1-2 2H4a1 1 0 0 1-1-1V8a1 1 0 0 1 1-1ZM15 11l6-3.5v9L15 13",
  camera_off: "M9 7h4a2 2 0 0 1 2 2v4M14.6 16.2c-.4.5-1 .8-1.6.8H4a1 1 0 0 1-1-1V8a1 1 0 0 1 1-1M15 11l6-3.5v9L16 14M4 3l16 18",
  hand: "M8 13V6.5a1.5 1.5 0 0 1 3 0V11V4.5a1.5 1.5 0 0 1 3 0V11V6a1.5 1.5 0 0 1 3 0v8a7 7 0 0 1-7 7c-3 0-4.500-1.500-6-4l-2-3.300a1.400 1.400 0 0 1 2.400-1.500L8 14.500",
  devices: "M4 7h9M17 7h3M15 5v4M4 12h3M11 12h9M9 10v4M4 17h9M17 17h3M15 15v4",
  leave: "M3 14.500c5-4.500 13-4.500 18 0l-2 2.500-4-1.500v-2.500M9 13v2.500L5 17l-2-2.500",
  talking: "M5 10v4M9 7v10M13 5v14M17 8v8M21 10v4",
  locked: "M6 11h12v9H6ZM9 11V8a3 3 0 0 1 6 0v3",
  star: "M12 4l2.400 5 5.400.700-4 3.800 1 5.500-4.800-2.700-4.800 2.700 1-5.500-4-3.800 5.400-.700Z",
} as const;

export type Sign = keyof typeof PATHS;

export function Icon({ sign }: { sign: Sign }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" width="24" height="24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      <path d={PATHS[sign]} />
    </svg>
  );
}
