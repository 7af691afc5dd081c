// Two people join by a room's link with Firefox, which has VP8 only, and hear and see each other: the page against a running
// server, by WebDriver BiDi. Called by the product's tests: node firefox.mjs FIREFOX BASE TOKEN FOLDER. Says what is wrong on
// standard error, and ends with 1 then.
import puppeteer from "puppeteer-core";
import { PATIENCE, until } from "./until.mjs";

const [binary, base, token, folder] = process.argv.slice(2);
const id = (name) => `[data-testid="${name}"]`;

const state = (page) => page.$eval(id("state"), (element) => element.dataset.state);
const is = (page, wanted) => until(`the state is ${wanted}`, async () => (await state(page)) === wanted || (await state(page)));
const received = (page) =>
  page.evaluate(async () => {
    const seen = { codecs: [] };
    for (const report of (await window.conclave.pc.getStats()).values()) {
      if (report.type === "inbound-rtp") seen[report.kind] = { packets: report.packetsReceived, frames: report.framesDecoded, energy: report.totalAudioEnergy };
      if (report.type === "codec") seen.codecs.push(report.mimeType);
    }
    return seen;
  });

const browser = await puppeteer.launch({
  browser: "firefox",
  executablePath: binary,
  headless: true,
  extraPrefsFirefox: {
    "media.navigator.streams.fake": true,
    "media.navigator.permission.disabled": true,
    "media.autoplay.default": 0,
    "media.peerconnection.ice.loopback": true,
    "media.peerconnection.ice.obfuscate_host_addresses": false,
  },
});
try {
  const pages = [];
  for (const name of ["Fox", "Vixen"]) {
    const page = await browser.newPage();
    page.setDefaultTimeout(PATIENCE);
    await page.setViewport({ width: 1200, height: 800 });
    await page.goto(`${base}/r/${token}`);
    await page.waitForSelector(id("name"));
    await page.type(id("name"), name);
    // The form moves while the devices come: the button is pressed wherever it is, once it can be.
    await page.waitForSelector(`${id("join")}:not([disabled])`);
    await page.$eval(id("join"), (button) => button.click());
    await is(page, "joined");
    pages.push(page);
  }
  for (const page of pages) {
    await until("sound and pictures come", async () => {
      const seen = await received(page);
      return (seen.audio?.energy > 0.001 && seen.video?.frames > 20) || seen;
    });
    const { codecs } = await received(page);
    if (!codecs.includes("video/VP8")) throw new Error(`the pictures are ${codecs}`);
    await until("both are listed", async () => (await page.$$(id("roster-item"))).length === 2);
  }
  await pages[0].screenshot({ path: `${folder}/firefox.png` });
  await pages[0].$eval(id("leave"), (button) => button.click());
  await is(pages[0], "ended");
  await until("one is left", async () => (await pages[1].$$(id("roster-item"))).length === 1);
} catch (error) {
  console.error(error.stack ?? error);
  for (const page of await browser.pages())
    console.error(await page.evaluate(() => document.body.innerText).catch(String));
  process.exitCode = 1;
} finally {
  await browser.close().catch(() => {});
}
