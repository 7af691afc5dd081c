// People with Chromium who join by a room's link and do what they are told, for tests that have something to do meanwhile: block
// the server's ports, record, look at the file. node people.mjs CHROMIUM BASE TOKEN FOLDER NAME:HZ…, where FOLDER holds NAME.wav
// and NAME.y4m for their microphones and cameras. Reads a line, does it, says "ok"; what is wrong is said on standard error, and
// ends it with 1. Lines: "NAME joins tcp|udp", "NAME is STATE", "NAME hears NAME…", "NAME sees pictures", "NAME shot FILE".
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";
import { PATIENCE, until } from "./until.mjs";

const [binary, base, token, folder, ...named] = process.argv.slice(2);
const tones = Object.fromEntries(named.map((one) => one.split(":")).map(([name, hz]) => [name, Number(hz)]));
const people = {};

/** Only the candidates over TCP are left in an answer, as where a firewall lets no UDP through. */
const withoutUdp = (sdp) => sdp.split("\r\n").filter((line) => !/^a=candidate:\S+ 1 udp /i.test(line)).join("\r\n");

async function join(name, way) {
  const args = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"];
  args.push("--autoplay-policy=no-user-gesture-required", `--use-file-for-fake-audio-capture=${folder}/${name}.wav`);
  args.push(`--use-file-for-fake-video-capture=${folder}/${name}.y4m`);
  const browser = await chromium.launch({ executablePath: binary, args });
  const context = await browser.newContext({ viewport: { width: 1200, height: 800 }, permissions: ["camera", "microphone"] });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  people[name] = { name, page, browser };
  if (way === "tcp")
    await page.route("**/join/*", async (route) => {
      if (route.request().method() !== "POST") return route.continue();
      const answer = await route.fetch();
      await route.fulfill({ response: answer, body: withoutUdp(await answer.text()) });
    });
  await page.goto(`${base}/r/${token}`);
  await page.getByTestId("name").fill(name);
  await page.getByTestId("join").click();
  await is(name, "joined");
  await until(`${name}'s media goes by ${way}`, async () => {
    const protocol = await page.evaluate(async () => {
      const reports = await window.conclave.pc.getStats();
      const pair = [...reports.values()].find(({ type, nominated, state }) => type === "candidate-pair" && nominated && state === "succeeded");
      return pair && reports.get(pair.remoteCandidateId).protocol;
    });
    return protocol === way || protocol;
  });
}

const is = (name, wanted) =>
  until(`${name} is ${wanted}`, async () => {
    const state = await people[name].page.getByTestId("state").getAttribute("data-state");
    return state === wanted || state;
  });

/** The loudest that each tone was within a second and a half, in dB. */
const levels = (name) =>
  people[name].page.evaluate(async (tones) => {
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

const hears = (name, present) =>
  until(`${name} hears ${present} and not ${name}`, async () => {
    const heard = await levels(name);
    return (present.every((one) => heard[one] > -55) && heard[name] < -58) || heard;
  });

async function sees(name) {
  const decoded = () =>
    people[name].page.evaluate(async () => {
      const reports = [...(await window.conclave.pc.getStats()).values()];
      return reports.find(({ type, kind }) => type === "inbound-rtp" && kind === "video")?.framesDecoded ?? 0;
    });
  const before = await decoded();
  await until(`${name} sees more pictures`, async () => (await decoded()) > before + 10 || `${await decoded()} after ${before}`);
}

async function act([name, verb, ...rest]) {
  if (verb === "joins") return join(name, rest[0]);
  if (verb === "is") return is(name, rest[0]);
  if (verb === "hears") return hears(name, rest);
  if (verb === "sees") return sees(name);
  if (verb === "shot") return people[name].page.screenshot({ path: `${folder}/${rest[0]}` });
  throw new Error(`nobody knows how to ${verb}`);
}

try {
  for await (const line of createInterface({ input: process.stdin })) {
    await act(line.trim().split(" "));
    process.stdout.write("ok\n");
  }
} catch (error) {
  process.stderr.write(`${error.stack}\n`);
  for (const { name, page } of Object.values(people)) await page.screenshot({ path: `${folder}/wrong-${name}.png` }).catch(() => {});
  process.exitCode = 1;
} finally {
  await Promise.all(Object.values(people).map(({ browser }) => browser.close().catch(() => {})));
  process.stdin.destroy();
}
