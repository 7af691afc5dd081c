// An operator and an admin at the console, in Chromium, with people in a room: the console against a running server. Called by the
// product's tests: node console.mjs CHROMIUM BASE ADMIN_TOKEN FOLDER, where FOLDER holds ann.wav and bob.wav and gets the
// screenshots. The server is fresh, has the operator `alice`, and gives webhooks on loopback up when more than one event waits
// (webhooks.allow_private, webhooks.max_pending = 1). Says what is wrong on standard error, and ends with 1 then.
import { launch, opened, tell, within } from "./chromium.mjs";
import { liveRoom } from "./live_room.mjs";
import { onlyPublic, operator, same } from "./operator.mjs";
import { until } from "./until.mjs";

const [binary, base, admin, folder] = process.argv.slice(2);
const ALICE = ["alice", "correct horse battery staple"];
const PIN = "1234";
const ADMIN_PIN = "4321";

const self = await opened(await launch(binary), ["clipboard-read", "clipboard-write"]);
const { page } = self;
const asked = onlyPublic(page, base);
const desk = operator({ page, base, admin, folder });
const { accessible, api, by, complained, confirmed, refused, shown, tabTo, typeInto, view } = desk;

async function signingIn() {
  await page.goto(`${base}/console`);
  await by("sign-in").click();
  await refused("UNKNOWN", /^Enter a user and a password, or an API token\.$/);
  await by("sign-in-token").fill("no-such-token");
  await by("sign-in").click();
  await refused("UNAUTHORIZED", /^The token is not valid\.$/);
  await accessible("sign-in");
  await by("sign-in-token").fill("");
  await by("sign-in-username").fill(ALICE[0]);
  await by("sign-in-password").fill("wrong");
  await by("sign-in").click();
  await refused("UNAUTHORIZED", /^The user name or the password is wrong\.$/);

  await page.goto(`${base}/console`);
  await by("sign-in").waitFor();
  await typeInto("sign-in-username", ALICE[0]);
  await typeInto("sign-in-password", ALICE[1]);
  await page.keyboard.press("Enter");
  await shown("the rooms' list", page.getByRole("heading", { name: "Rooms" }));
  same(await by("nav-webhooks").count(), 0, "webhooks for an operator");
  await page.reload();
  await shown("the rooms' list again", page.getByRole("heading", { name: "Rooms" }));
}

async function signingOut() {
  await by("sign-out").click();
  await by("sign-in").waitFor();
  same(await page.evaluate(() => sessionStorage.length), 0, "what is kept of the session");
}

/** With the keyboard alone, to the room's view. */
async function makingRoom() {
  await shown("that there are no rooms", page.getByText("No rooms yet."));
  await tabTo("create-room");
  await page.keyboard.press("Enter");
  await by("save").waitFor();
  await accessible("room-form");
  await typeInto("field-extension_number", "90x");
  await typeInto("field-subject", "Weekly meeting");
  await tabTo("field-mode");
  await page.keyboard.type("Video");
  await typeInto("field-capacity", "9");
  await tabTo("Access");
  await page.keyboard.press("Enter");
  await typeInto("field-room_pin", PIN);
  await typeInto("field-admin_pin", PIN);
  await tabTo("save");
  await page.keyboard.press("Enter");
  await complained("extension_number", /digits only/);
  await page.keyboard.press("Control+A");
  await page.keyboard.type("900");
  await page.keyboard.press("Enter");
  // Only the server compares the two PINs.
  await complained("admin_pin", /differ/);
  await page.screenshot({ path: `${folder}/console-field-error.png` });
  await page.keyboard.press("Control+A");
  await page.keyboard.type(ADMIN_PIN);
  await page.keyboard.press("Enter");
  await shown("the room", page.getByRole("heading", { name: "Weekly meeting" }));
  const { body } = await api("/conference_rooms");
  same(body.count, 1, "rooms at the server");
  const [{ id, mode, room_pin, admin_pin, capacity }] = body.items;
  same(JSON.stringify([mode, room_pin, admin_pin, capacity]), JSON.stringify(["VIDEO", PIN, ADMIN_PIN, 9]), "the room at the server");
  return id;
}

async function changingRoom(id) {
  await by("edit").click();
  await by("field-subject").fill("Monday meeting");
  await page.getByText("Picture", { exact: true }).click();
  for (const [field, value] of [["width", "99999"], ["height", "360"], ["framerate", "15"], ["bitrate", "800"]]) await by(`field-${field}`).fill(value);
  same(await by("field-extension_number").isDisabled(), true, "the number of a room is fixed");
  await by("save").click();
  await complained("width", /from 144 to 1920/);
  await by("field-width").fill("640");
  await by("save").click();
  await shown("the room by its new subject", page.getByRole("heading", { name: "Monday meeting" }));
  const { body } = await api(`/conference_rooms/${id}`);
  same(`${body.width} × ${body.height} ${body.subject} ${body.room_pin}`, `640 × 360 Monday meeting ${PIN}`, "the changed room");
}

/** A second room is found, its number is not given twice, and it goes again. */
async function findingRooms() {
  await view("rooms");
  const make = async (number, subject) => {
    await by("create-room").click();
    await by("field-extension_number").fill(number);
    await by("field-subject").fill(subject);
    await by("field-mode").selectOption("AUDIO");
    await by("field-capacity").fill("200");
    await by("save").click();
  };
  await make("900", "W".repeat(64));
  await complained("extension_number", /taken/);
  await by("field-extension_number").fill("7".repeat(64));
  await by("save").click();
  await shown("the second room", page.getByRole("heading", { name: "W".repeat(64) }));
  const second = page.url().split("/").pop();
  await page.setViewportSize({ width: 390, height: 800 });
  await within(page, "a room of long words");
  await view("rooms");
  await shown("both rooms", by("room-row"), 2);
  await within(page, "a list of long words");
  await page.setViewportSize({ width: 1200, height: 800 });
  await by("search").fill("monday");
  await shown("the one that is searched for", by("room-row"));
  await until("the search is in the address", () => new URL(page.url()).search === "?search=monday" || page.url());
  await by("search").fill("tuesday");
  await shown("that no room matches", page.getByText("No room matches."));
  await by("search").fill("");
  await shown("both rooms again", by("room-row"), 2);

  await by("room-row").getByRole("link", { name: "W".repeat(64) }).click();
  await confirmed(by("destroy"));
  await shown("the list without it", by("room-row"));
  same((await api(`/conference_rooms/${second}`)).status, 404, "the deleted room");
}

async function playing() {
  await view("recordings");
  const one = by("recording-row");
  await shown("the recording", one);
  same(await one.getAttribute("data-state"), "FINISHED", "the recording's state");
  await by("play").click();
  const player = () => by("player").evaluate(({ duration, currentTime, videoWidth, error }) => ({ duration, currentTime, videoWidth, error: error?.message }));
  await until("it plays", async () => {
    const { duration, currentTime, videoWidth } = await player();
    return (duration > 3 && duration < 120 && currentTime > 0.5 && videoWidth === 640) || (await player());
  });
  await accessible("recordings");
  await by("play").click();
  same(await by("player").count(), 0, "players that are left");
  const href = new URL(await by("download").getAttribute("href"), base).href;
  const [file] = await Promise.all([page.waitForEvent("download"), by("download").click()]);
  if (!/\.mp4$/.test(file.suggestedFilename())) throw new Error(`the file is called ${file.suggestedFilename()}`);
  same(await file.failure(), null, "the download");
  const answer = await fetch(href);
  same(`${answer.status} ${answer.headers.get("content-type")}`, "200 video/mp4", "the file");
  await by("action-read").click();
  await until("it is marked", async () => (await by("action-read").innerText()) === "Mark as unread");
  await by("search").fill("no such room");
  await shown("that none matches", page.getByText("No recording matches."));
  await by("search").fill("monday");
  await confirmed(by("destroy"));
  await until("it is gone", async () => (await one.count()) === 0);
  same((await fetch(href)).status, 404, "the deleted file");
}

async function administering() {
  await by("sign-in-token").fill(admin);
  await by("sign-in").click();
  await by("nav-webhooks").waitFor();
  await view("servers");
  await by("action-disable").click();
  await shown("that it is disabled", by("server-row").getByText("Disabled"));
  await by("action-enable").click();
  await by("action-disable").waitFor();
  await by("edit").click();
  await by("field-max_rooms").fill("-1");
  await by("save").click();
  await complained("max_rooms", /./);
  await page.keyboard.press("Escape");
  await until("the form is closed", async () => (await page.getByRole("dialog").count()) === 0);

  await view("webhooks");
  await shown("that there are none", page.getByText("No webhooks."));
  await by("create-webhook").click();
  await by("field-url").fill("ftp://127.0.0.1/");
  await by("save").click();
  await complained("url", /http/);
  await accessible("webhook-form");
  await by("field-url").fill("http://127.0.0.1:9/");
  await by("save").click();
  const secret = page.getByRole("dialog", { name: "The webhook's secret" }).getByRole("textbox");
  await secret.waitFor();
  if ((await secret.inputValue()).length < 16) throw new Error("the secret is short");
  await page.getByRole("button", { name: "Done" }).click();
  await shown("the webhook", by("webhook-row"));
  // Nobody listens there: the first waits, and what comes behind it is given up.
  await by("action-test").click();
  await shown("what waits", page.getByText("1 not delivered"));
  await by("action-test").click();
  await shown("both", page.getByText("2 not delivered"));
  await page.getByText("2 not delivered").click();
  await shown("what waits", by("delivery-row"));
  await shown("what was given up", by("dead-letter-row"));
  await accessible("webhooks");
  await confirmed(by("dead-letter-row").getByTestId("action-forget"));
  await until("it is forgotten", async () => (await by("dead-letter-row").count()) === 0);
  await by("edit").click();
  await by("field-types").getByText("all of recording", { exact: true }).click();
  await by("save").click();
  await shown("the kinds", by("webhook-row").getByText("all of recording", { exact: true }));
  await by("action-disable").click();
  await by("action-enable").waitFor();
  await confirmed(by("destroy"));
  await shown("that there are none", page.getByText("No webhooks."));
  same((await api("/webhooks")).body.count, 0, "webhooks at the server");
}

/** Of a room that goes while it is looked at it is said so, and nothing more is asked about it. */
async function losing(id) {
  await view("rooms");
  const following = page.waitForResponse((answer) => answer.url().includes(`&room=${id}`));
  await by("room-row").getByRole("link", { name: "Monday meeting" }).click();
  await following;
  same((await api(`/conference_rooms/${id}/destroy`, "POST")).status, 204, "the room's end");
  await shown("that it was deleted", page.getByText("This room was deleted."));
  same(await by("problem").count(), 0, "problems of a deleted room");
}

async function story() {
  await signingIn();
  const id = await makingRoom();
  await changingRoom(id);
  await findingRooms();
  await accessible("rooms");
  const room = liveRoom(page, desk, { binary, base, folder, id, pin: PIN, adminPin: ADMIN_PIN });
  const people = await room.leading();
  await room.taken(people);
  await playing();
  await signingOut();
  await administering();
  await losing(id);
  await signingOut();
  await asked();
  for (const { name, troubles } of [{ name: "the console", ...self }, ...people])
    if (troubles.length) throw new Error(`${name}'s page: ${troubles.join("; ")}`);
}

await tell(story, folder);
