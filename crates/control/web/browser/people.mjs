// People with Chromium who join by a room's link and do what they are told, for tests that have something to do meanwhile: block
// the server's ports, record, look at the file. node people.mjs CHROMIUM BASE TOKEN FOLDER NAME:HZ…, where FOLDER holds NAME.wav
// and NAME.y4m for their microphones and cameras. Reads a line, does it, says "ok"; what is wrong is said on standard error, and
// ends it with 1. Lines: "NAME joins tcp|udp", "NAME is STATE", "NAME hears NAME…", "NAME sees pictures", "NAME shot FILE".
import { createInterface } from "node:readline";
import { is as stands, launch, levels, opened, tell } from "./chromium.mjs";
import { until } from "./until.mjs";

const [binary, base, token, folder, ...named] = process.argv.slice(2);
const tones = Object.fromEntries(named.map((one) => one.split(":")).map(([name, hz]) => [name, Number(hz)]));
const people = {};

/** Only the candidates over TCP are left in an answer, as where a firewall lets no UDP through. */
const withoutUdp = (sdp) => sdp.split("\r\n").filter((line) => !/^a=candidate:\S+ 1 udp /i.test(line)).join("\r\n");

async function join(name, way) {
  const browser = await launch(binary, `${folder}/${name}.wav`, `${folder}/${name}.y4m`);
  const { page } = await opened(browser, ["camera", "microphone"]);
  people[name] = { name, page };
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

const is = (name, wanted) => stands(people[name], wanted);

const hears = (name, present) =>
  until(`${name} hears ${present} and not ${name}`, async () => {
    const heard = await levels(people[name].page, tones);
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

await tell(async () => {
  for await (const line of createInterface({ input: process.stdin })) {
    await act(line.trim().split(" "));
    process.stdout.write("ok\n");
  }
}, folder);
process.stdin.destroy();
