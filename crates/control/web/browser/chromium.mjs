// Chromium for the scripts that drive it: people with fake devices who join, what goes wrong in a page, and what every view is
// looked at for.
import axe from "axe-core";
import { chromium } from "playwright-core";
import { PATIENCE, until } from "./until.mjs";

const WIDE = { width: 1200, height: 800 };
const browsers = [];

/** A browser of its own, whose microphone hears a WAV file and whose camera sees a clip, where there is one; closed when the story is over. */
export async function launch(binary, sound, clip) {
  const args = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"];
  args.push("--autoplay-policy=no-user-gesture-required");
  if (sound) args.push(`--use-file-for-fake-audio-capture=${sound}`);
  if (clip) args.push(`--use-file-for-fake-video-capture=${clip}`);
  const browser = await chromium.launch({ executablePath: binary, args });
  browsers.push(browser);
  return browser;
}

/** A page, and what it complained of: answers 4xx are the story's own matter, which sees them. */
export async function opened(browser, permissions) {
  const context = await browser.newContext({ viewport: WIDE, permissions });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const troubles = [];
  page.on("pageerror", (error) => troubles.push(error.message));
  page.on("console", (line) => line.type() === "error" && !/status of 4\d\d/.test(line.text()) && troubles.push(line.text()));
  return { page, troubles };
}

/** Somebody before a room's door, with a name written down. Each has a browser: one has one fake microphone. */
export async function person({ binary, base, token, folder }, name, sound) {
  const { page, troubles } = await opened(await launch(binary, `${folder}/${sound}.wav`), ["camera", "microphone"]);
  await page.goto(`${base}/r/${token}`);
  await page.getByTestId("name").fill(name);
  return { name, page, troubles };
}

const state = ({ page }) => page.getByTestId("state").getAttribute("data-state");
export const is = (who, wanted) => until(`${who.name} is ${wanted}`, async () => (await state(who)) === wanted || (await state(who)));

/** The loudest that each tone was within a second and a half of what a page's conference plays, in dB. */
export const levels = (page, tones) =>
  page.evaluate(async (tones) => {
    const context = (window.heard ??= new AudioContext());
    await context.resume();
    const track = window.conclave.pc.getReceivers().find((receiver) => receiver.track.kind === "audio").track;
    const source = context.createMediaStreamSource(new MediaStream([track]));
    const analyser = new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0 });
    source.connect(analyser);
    const bins = new Float32Array(analyser.frequencyBinCount);
    const most = {};
    for (let look = 0; look < 30; look++) {
      await new Promise((go) => setTimeout(go, 50));
      analyser.getFloatFrequencyData(bins);
      for (const [name, hz] of Object.entries(tones)) {
        const bin = Math.round((hz * 8192) / context.sampleRate);
        most[name] = Math.max(most[name] ?? -200, ...bins.slice(bin - 2, bin + 3));
      }
    }
    source.disconnect();
    return most;
  }, tones);

/** WCAG A and AA, as far as a machine sees them, in both colour schemes and on a phone's screen too. Leaves a picture of each. */
export async function accessible({ page }, what, folder, { whole = false } = {}) {
  await page.evaluate(axe.source);
  for (const [colorScheme, width] of [["light", 1200], ["dark", 1200], ["light", 390]]) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ ...WIDE, width });
    const { violations } = await page.evaluate(() => axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] }));
    const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(", ")}`);
    if (found.length) throw new Error(`${what}, ${colorScheme}, ${width} px: ${found.join("; ")}`);
    await within(page, what);
    // As high as the page is: what sticks to the edges of the screen would else be in the middle.
    if (whole) await page.setViewportSize({ width, height: Math.max(WIDE.height, await page.evaluate(() => document.documentElement.scrollHeight)) });
    await page.screenshot({ path: `${folder}/${what}-${colorScheme}-${width}.png` });
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize(WIDE);
}

/** Nothing is wider than the screen. */
export async function within(page, what) {
  const [wide, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  if (wide > width) throw new Error(`${what} scrolls sideways: ${wide} px on ${width}`);
}

/** Tells a story; of one that goes wrong, what it was and pictures of all pages are left. */
export async function tell(story, folder) {
  try {
    await story();
  } catch (error) {
    console.error(error.stack ?? error);
    for (const [n, browser] of browsers.entries())
      for (const context of browser.contexts())
        for (const page of context.pages()) await page.screenshot({ path: `${folder}/wrong-${n}.png` }).catch(() => {});
    process.exitCode = 1;
  } finally {
    await Promise.all(browsers.map((browser) => browser.close().catch(() => {})));
  }
}
