//! Notes over the page, read out as they come.
import { dismiss, notes } from "./notes";
import { useSpeech } from "./speech";
import { useStore } from "./store";

export function Toasts() {
  const shown = useStore(notes);
  const { words } = useSpeech();
  return (
    <div class="toasts" role="log" aria-live="polite" aria-relevant="additions" data-testid="toasts">
      {shown.map((note) => (
        <div key={note.id} class={`toast ${note.tone}`} data-testid="toast">
          <p>{note.text}</p>
          <button type="button" aria-label={words.dismiss} onClick={() => dismiss(note.id)}>×</button>
        </div>
      ))}
    </div>
  );
}
