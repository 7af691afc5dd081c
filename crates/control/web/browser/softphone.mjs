// A softphone in Chromium, JsSIP over secure WebSocket, calls a room: the way that PBXs' web clients come in. Called by the
// product's tests: node softphone.mjs CHROMIUM WSS BASE ADMIN_TOKEN ROOM JOIN_TOKEN ACCOUNT PASSWORD FOLDER, where a phone with a
// tone of 500 Hz is in the room and FOLDER holds ann.wav. Says "talking" on standard output when the call is up, and goes on
// after a line on standard input; what is wrong, on standard error, and ends with 1 then.
import { once } from "node:events";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";
import { build } from "vite";
import { PATIENCE, until } from "./until.mjs";

const [binary, wss, base, admin, room, joinToken, account, password, folder] = process.argv.slice(2);
const PHONE_HZ = 500;
const OWN_HZ = 700;

/** The library as one script. */
async function bundled() {
  const lib = { entry: createRequire(import.meta.url).resolve("jssip"), formats: ["iife"], name: "JsSIP", fileName: "jssip" };
  const made = await build({ configFile: false, logLevel: "error", define: { "process.env.NODE_ENV": '"production"' }, build: { lib, write: false } });
  return made[0].output[0].code;
}

/** A page of our own, on an address that browsers trust with a microphone. */
async function pageWith(script) {
  const server = createServer((request, response) => {
    const isScript = request.url === "/jssip.js";
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? script : "<!doctype html><title>softphone</title><script src=/jssip.js></script>");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

async function api(method, path) {
  const answer = await fetch(`${base}/api/conference_rooms/${room}${path}`, { method, headers: { authorization: `Bearer ${admin}` } });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status}`);
  const text = await answer.text();
  return text ? JSON.parse(text) : null;
}

const us = async (user) => (await api("GET", "/participants")).items.find((one) => one.number === user);

/** Connects and calls; what becomes of it is in `window.call`. */
const call = (page, user, credentials) =>
  page.evaluate(
    ({ wss, user, credentials }) => {
      const JsSIP = window.JsSIP.default ?? window.JsSIP;
      const sockets = [new JsSIP.WebSocketInterface(wss)];
      window.ua?.stop();
      window.ua = new JsSIP.UA({ sockets, uri: `sip:${user}@conclave.invalid`, register: false, ...credentials });
      window.call = { state: "connecting" };
      window.ua.on("connected", () => {
        // As the microphone has it: what a browser does for voices changes a tone's level.
        const audio = { autoGainControl: false, echoCancellation: false, noiseSuppression: false };
        const session = window.ua.call("sip:900@conclave.invalid", { mediaConstraints: { audio, video: false } });
        window.session = session;
        session.on("confirmed", () => (window.call.state = "confirmed"));
        session.on("failed", ({ cause, message }) => Object.assign(window.call, { state: "failed", cause, code: message?.status_code }));
        session.on("ended", ({ cause, originator }) => Object.assign(window.call, { state: "ended", cause, originator }));
      });
      window.ua.start();
    },
    { wss, user, credentials },
  );

const is = (page, wanted) =>
  until(`the call is ${wanted}`, async () => {
    const call = await page.evaluate(() => window.call);
    return call.state === wanted || call;
  });

/** How loud two tones were within a second, in dB. */
const levels = (page) =>
  page.evaluate(
    async (tones) => {
      const context = (window.heard ??= new AudioContext());
      await context.resume();
      const stream = new MediaStream([window.session.connection.getReceivers()[0].track]);
      // Chromium gives a far end's sound to nobody before an element plays it.
      const player = Object.assign(new Audio(), { srcObject: stream, autoplay: true });
      const source = context.createMediaStreamSource(stream);
      const analyser = new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0 });
      source.connect(analyser);
      const bins = new Float32Array(analyser.frequencyBinCount);
      const most = tones.map(() => -200);
      for (let look = 0; look < 20; look++) {
        await new Promise((go) => setTimeout(go, 50));
        analyser.getFloatFrequencyData(bins);
        tones.forEach((hz, at) => {
          const bin = Math.round((hz * 8192) / context.sampleRate);
          most[at] = Math.max(most[at], ...bins.slice(bin - 2, bin + 3));
        });
      }
      source.disconnect();
      player.srcObject = null;
      return most;
    },
    [PHONE_HZ, OWN_HZ],
  );

const hears = (page) =>
  until("the phone is heard, and not oneself", async () => {
    const [phone, own] = await levels(page);
    return (phone > -55 && own < -58) || { phone, own };
  });

/** Whether sound comes, by the browser's own count: its audio graph stays silent after a track was muted once. */
const plays = (page) =>
  until("sound comes", async () => {
    const energy = () =>
      page.evaluate(async () => {
        const reports = [...(await window.session.connection.getStats()).values()];
        return reports.find(({ type }) => type === "inbound-rtp")?.totalAudioEnergy ?? 0;
      });
    await page.evaluate(() => {
      const stream = new MediaStream([window.session.connection.getReceivers()[0].track]);
      window.player = Object.assign(new Audio(), { srcObject: stream, autoplay: true });
    });
    const before = await energy();
    await new Promise((go) => setTimeout(go, 1000));
    const gained = (await energy()) - before;
    return gained > 1e-4 || { gained };
  });

async function follow(page, troubles) {
  // Without credentials nobody gets in, nor with wrong ones.
  await call(page, "ann", {});
  await is(page, "failed");
  await call(page, "ann", { authorization_user: account, password: `${password}x` });
  await is(page, "failed");
  const { code } = await page.evaluate(() => window.call);
  if (code !== 403) throw new Error(`a wrong password was answered with ${code}`);

  // By the room's join token, as bearer.
  await call(page, "ann", { authorization_jwt: `Bearer ${joinToken}` });
  await is(page, "confirmed");
  await hears(page);
  process.stdout.write("talking\n");
  await once(process.stdin, "data");

  const ann = await us("ann");
  if (ann?.transport !== "WEBRTC" || ann.audio_codec !== "OPUS") throw new Error(JSON.stringify(ann));
  // Held and resumed by re-INVITEs.
  await page.evaluate(() => window.session.hold());
  await until("it is on hold", async () => (await us("ann")).on_hold || "it is not");
  await page.evaluate(() => window.session.unhold());
  await until("it is not on hold", async () => !(await us("ann")).on_hold || "it is");
  await plays(page);
  // Keys, by INFO and as telephone-events: the same keys turn the microphone off and on.
  for (const [transportType, muted] of [["INFO", true], ["RFC2833", false]]) {
    await page.evaluate((transportType) => window.session.sendDTMF("*6", { transportType, interToneGap: 500 }), transportType);
    await until(`by ${transportType}, muted is ${muted}`, async () => (await us("ann")).muted === muted || "it is not");
  }
  await api("POST", `/participants/${ann.id}/destroy`);
  await is(page, "ended");
  const { originator } = await page.evaluate(() => window.call);
  if (originator !== "remote") throw new Error(`the call was ended by ${originator}`);

  // By an account, and hung up from here.
  await call(page, "webphone", { authorization_user: account, password });
  await is(page, "confirmed");
  await hears(page);
  await page.evaluate(() => window.session.terminate());
  await until("it left", async () => (await us("webphone")) === undefined || "it is still there");
  if (troubles.length) throw new Error(troubles.join("; "));
}

const served = await pageWith(await bundled());
const args = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"];
args.push("--autoplay-policy=no-user-gesture-required", `--use-file-for-fake-audio-capture=${folder}/ann.wav`);
// The server's certificate is one of its own making.
args.push("--ignore-certificate-errors");
const browser = await chromium.launch({ executablePath: binary, args });
try {
  const context = await browser.newContext({ permissions: ["microphone"] });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const troubles = [];
  page.on("pageerror", (error) => troubles.push(error.message));
  await page.goto(served.url);
  await follow(page, troubles);
} catch (error) {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
} finally {
  await browser.close();
  served.close();
  process.stdin.destroy();
}
