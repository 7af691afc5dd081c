// Two people join by a room's link with Chromium, hear and see each other, and one leads: the pages against a running server.
// Called by the product's tests: node pages.mjs CHROMIUM BASE TOKEN FOLDER, where FOLDER holds ann.wav and bob.wav and gets the
// screenshots. Says what is wrong on standard error, and ends with 1 then.
import { accessible as looked, is, levels, person as somebody, tell } from "./chromium.mjs";
import { until } from "./until.mjs";

const [binary, base, token, folder] = process.argv.slice(2);
const TONES = { ann: 700, bob: 1100 };
const person = (name, sound) => somebody({ binary, base, token, folder }, name, sound);
const accessible = (who, what) => looked(who, what, folder);

const hears = (who, present, absent) =>
  until(`${who.name} hears ${present || "nothing"} and not ${absent}`, async () => {
    const heard = await levels(who.page, TONES);
    const good = (!present || heard[present] > -55) && absent.every((name) => heard[name] < -58);
    return good || heard;
  });

const pictures = ({ page }) =>
  page.evaluate(async () => {
    let frames = 0;
    for (const report of (await window.conclave.pc.getStats()).values())
      if (report.type === "inbound-rtp" && report.kind === "video") frames = report.framesDecoded;
    return frames;
  });

async function story() {
  const ann = await person("Ann", "ann");
  await ann.page.getByTestId("pin").fill("9999");
  await ann.page.getByTestId("join").click();
  await until("a wrong PIN is told", async () => (await ann.page.getByTestId("reason").getAttribute("data-code")) === "PIN_WRONG");
  await accessible(ann, "pin");
  await ann.page.getByTestId("pin").fill("1234");
  await ann.page.getByTestId("join").click();
  await is(ann, "joined");

  const bob = await person("Bob", "bob");
  await bob.page.getByTestId("pin").fill("4321");
  await bob.page.getByTestId("join").click();
  await is(bob, "joined");
  await hears(ann, "bob", ["ann"]);
  await hears(bob, "ann", ["bob"]);
  for (const who of [ann, bob]) await until(`${who.name} sees pictures`, async () => (await pictures(who)) > 20 || "few pictures");
  await until("both are listed", async () => (await ann.page.getByTestId("roster-item").count()) === 2);
  await accessible(ann, "call");
  await accessible(bob, "chairman");

  await bob.page.getByTestId("mute-all").click();
  await hears(bob, "", ["ann", "bob"]);
  await bob.page.getByTestId("unmute-all").click();
  await hears(bob, "ann", ["bob"]);
  await bob.page.getByTestId("lock").click();
  const late = await person("Late", "ann");
  await late.page.getByTestId("pin").fill("1234");
  await late.page.getByTestId("join").click();
  await until("a locked room is told", async () => (await late.page.getByTestId("reason").getAttribute("data-code")) === "LOCKED");

  const row = bob.page.getByTestId("roster-item").filter({ hasText: "Ann" });
  await row.getByTestId("actions").click();
  await bob.page.getByTestId("remove").click();
  await bob.page.getByTestId("confirm").click();
  await is(ann, "ended");
  await accessible(ann, "ended");
  await bob.page.getByTestId("leave").click();
  await is(bob, "ended");
  for (const who of [ann, bob, late]) if (who.troubles.length) throw new Error(`${who.name}'s page: ${who.troubles.join("; ")}`);
}

await tell(story, folder);
