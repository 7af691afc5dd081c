// A room with people in it, as an operator sees and leads it at the console.
import { is, person } from "./chromium.mjs";
import { same } from "./operator.mjs";
import { until } from "./until.mjs";

/** Would run if it were taken for HTML. */
const HTML = "<img src=x onerror=window.pwned=1>";

/** The stories of one room. `where`: the browser, the server, the room with its PINs. */
export function liveRoom(page, desk, where) {
  const { accessible, api, by, confirmed, shown, view } = desk;
  const { base, id, pin, adminPin } = where;

  const row = (name) => by("participant-row").filter({ hasText: name });
  const attribute = (name, which) => row(name).getAttribute(`data-${which}`);

  async function leading() {
    const following = page.waitForResponse((answer) => answer.url().includes(`&room=${id}`));
    await by("room-row").getByRole("link", { name: "Monday meeting" }).click();
    await following;
    await shown("that nobody is there", page.getByText("Nobody is here."));
    const { token } = (await api(`/conference_rooms/${id}`)).body;
    const people = [];
    for (const [name, sound] of [["Ann", "ann"], ["Bob", "bob"]]) {
      const who = await person({ ...where, token }, name, sound);
      await by("pin", who.page).fill(pin);
      await by("join", who.page).click();
      await is(who, "joined");
      people.push(who);
    }
    const [ann, bob] = people;
    await shown("both", by("participant-row"), 2);
    for (const { name } of people) {
      await until(`${name}'s codecs and quality are shown`, async () => {
        const text = await row(name).innerText();
        return /(Good|Fair|Poor)\s*opus · (h264|vp8)\s*loss \d+\.\d % · jitter \d+ ms · delay \d+ ms/i.test(text) || text;
      });
    }
    await until("one of them talks", async () => (await attribute("Ann", "talking")) === "true" || (await attribute("Bob", "talking")) === "true");
    await shown("their coming, in the events", page.locator('[data-testid="event-row"][data-type="participant.joined"]'), 2);
    await seen();
    await tiles();
    await doing(ann, bob, token);
    await recording();
    await linking();
    return people;
  }

  /** The picture is loaded, again and again. */
  async function seen() {
    const picture = () => by("preview").evaluate(({ src, naturalWidth, naturalHeight }) => ({ src, size: `${naturalWidth} × ${naturalHeight}` }));
    await until("the picture is loaded", async () => (await picture()).size === "640 × 360" || (await picture()));
    const { src } = await picture();
    await until("another picture comes", async () => (await picture()).src !== src);
    await until("the tiles are there", async () => (await by("tile").count()) >= 2);
  }

  /** Somebody is moved by the list, by two presses and by dragging. */
  async function tiles() {
    const at = async (tile) => {
      const participant = await page.locator(`[data-testid="tile"][data-tile="${tile}"]`).getAttribute("data-participant");
      return participant === (await attribute("Ann", "id")) ? "Ann" : participant === (await attribute("Bob", "id")) ? "Bob" : participant;
    };
    const are = (first, second) => until(`${first} and ${second} are in the tiles`, async () => ((await at(0)) === first && (await at(1)) === second) || [await at(0), await at(1)]);
    const tile = (number) => page.locator(`[data-testid="tile"][data-tile="${number}"]`);
    await row("Bob").getByTestId("action-position").selectOption("0");
    await are("Bob", "Ann");
    await tile(0).focus();
    await page.keyboard.press("Enter");
    await until("the tile is taken up", async () => (await tile(0).getAttribute("aria-pressed")) === "true");
    await tile(1).focus();
    await page.keyboard.press("Enter");
    await are("Ann", "Bob");
    await tile(0).dragTo(tile(1));
    await are("Bob", "Ann");
    await by("action-layout").selectOption("LAYOUT4");
    await shown("four tiles", by("tile"), 4);
    await by("action-layout").selectOption("LAYOUT0");
    await shown("two tiles", by("tile"), 2);
  }

  async function doing(ann, bob, token) {
    await row("Ann").getByTestId("action-mute").click();
    await until("Ann is muted", async () => (await attribute("Ann", "muted")) === "true");
    await until("Ann is told", async () => (await by("mute", ann.page).getAttribute("data-is")) === "muted");
    await row("Ann").getByTestId("action-unmute").click();
    await until("Ann is unmuted", async () => (await attribute("Ann", "muted")) === "false");
    await by("action-mute_room").click();
    await until("all are muted", async () => (await attribute("Bob", "muted")) === "true" && (await attribute("Ann", "muted")) === "true");
    await by("action-unmute_room").click();
    await until("nobody is", async () => (await attribute("Bob", "muted")) === "false");

    await row("Ann").getByTestId("action-chairman").click();
    await shown("the chairman", row("Ann").getByText("Chairman", { exact: true }));
    await by("mute-all", ann.page).waitFor();

    await by("action-lock").click();
    await by("action-unlock").waitFor();
    await by("is-locked", bob.page).waitFor();
    same((await (await fetch(`${base}/join/${token}`)).json()).state, "LOCKED", "the room for who comes now");
    await accessible("room");
    await by("action-unlock").click();
    await by("action-lock").waitFor();

    await by("invite-number").fill("1555");
    await by("action-invite").click();
    await until("that there is no way to the number is told", async () => (await by("problem").count()) === 1);
  }

  async function recording() {
    await by("action-start_recording").click();
    await by("action-stop_recording").waitFor();
    const of = (state) => page.locator(`[data-testid="recording-row"][data-state="${state}"]`);
    await shown("the recording", of("RECORDING"));
    const [{ answered_at }] = (await api(`/conference_rooms/${id}/recordings`)).body.items;
    await view("servers");
    await until("the server's load is shown", async () => {
      const text = await by("server-row").innerText();
      return (/Online/.test(text) && /Rooms: 1 of \d+/.test(text) && /Participants: 2 of \d+/.test(text) && /CPU: [\d.]+%/.test(text)) || text;
    });
    same(await by("create-server").count(), 0, "ways to add a server for an operator");
    await accessible("servers");
    await page.goBack();
    await shown("the recording, still", of("RECORDING"));
    await until("it is long enough to be seen", () => Date.now() - Date.parse(answered_at) > 4000);
    await by("action-stop_recording").click();
    await shown("the finished recording", of("FINISHED"));

    // What others record is shown too, and what becomes of it.
    const at = `/conference_rooms/${id}`;
    await view("recordings");
    await shown("the finished recording among all", of("FINISHED"));
    same((await api(`${at}/start_recording`, "POST")).status, 200, "a second recording");
    await shown("it", of("RECORDING"));
    same((await api(`${at}/stop_recording`, "POST")).status, 200, "its end");
    await shown("both", of("FINISHED"), 2);
    await confirmed(by("recording-row").first().getByTestId("destroy"));
    await shown("the one that is left", by("recording-row"));
    await page.goBack();
    await by("action-start_recording").waitFor();
  }

  async function linking() {
    await page.getByLabel("Personal link for").fill("Carol");
    await page.getByRole("combobox", { name: "As", exact: true }).selectOption("CHAIRMAN");
    await by("create-token").click();
    const personal = page.getByLabel("Link for Carol (chairman; needs no PIN)", { exact: true });
    await personal.waitFor();
    const door = await (await fetch((await personal.inputValue()).replace("/r/", "/join/"))).json();
    same(`${door.name} ${door.role} ${door.needs_pin}`, "Carol CHAIRMAN false", "the personal link");
    await page.getByRole("button", { name: "Copy Link for Carol" }).click();
    await until("it is copied", async () => (await page.evaluate(() => navigator.clipboard.readText())) === (await personal.inputValue()));
    const link = await page.getByRole("textbox", { name: "Join link" }).inputValue();
    await confirmed(by("revoke-tokens"));
    await until("the room has another link", async () => (await page.getByRole("textbox", { name: "Join link" }).inputValue()) !== link);
    same((await fetch(link.replace("/r/", "/join/"))).status, 404, "the old link");
    same(await personal.count(), 0, "personal links that are left");
  }

  /** What people call themselves and their rooms is text, whatever it looks like. */
  async function taken([ann, bob]) {
    await confirmed(row("Ann").getByTestId("action-destroy"));
    await is(ann, "ended");
    await shown("who is left", by("participant-row"));
    await by("leave", bob.page).click();
    await shown("that nobody is there", page.getByText("Nobody is here."));
    await by("edit").click();
    await by("field-subject").fill(HTML);
    await by("save").click();
    await shown("the subject as text", page.getByRole("heading", { name: HTML, exact: true }));
    const { token } = (await api(`/conference_rooms/${id}`)).body;
    await ann.page.goto(`${base}/r/${token}`);
    await by("name", ann.page).fill(HTML);
    await by("pin", ann.page).fill(adminPin);
    await by("join", ann.page).click();
    await is(ann, "joined");
    await shown("the name as text", row(HTML));
    await until("the name is on the tile", async () => (await by("tile").allInnerTexts()).includes(HTML));
    await confirmedText(row(HTML).getByTestId("action-destroy"), `Remove ${HTML}?`);
    await is(ann, "ended");
    for (const [where, at] of [["the room's page", ann.page], ["the room's view", page]]) await unharmed(at, where);
    await view("events");
    await shown("the name in the events", by("event-row").filter({ hasText: "participant.left" }).filter({ hasText: HTML }));
    await by("kind").selectOption("recording.");
    await until("events are filtered", async () => (await by("event-row").allInnerTexts()).every((text) => /recording\./.test(text)));
    await accessible("events");
    await unharmed(page, "the events");
    await view("rooms");
    await shown("the room in the list", by("room-row").filter({ hasText: HTML }));
    await unharmed(page, "the list");
    await by("room-row").getByRole("link", { name: HTML }).click();
    await by("edit").click();
    same(await by("field-subject").inputValue(), HTML, "the subject in the form");
    await by("field-subject").fill("Monday meeting");
    await by("save").click();
    await shown("the room", page.getByRole("heading", { name: "Monday meeting" }));
  }

  async function confirmedText(button, title) {
    await button.click();
    await shown("the question as text", page.getByRole("dialog").getByRole("heading", { name: title, exact: true }));
    await by("confirm").click();
  }

  async function unharmed(at, where) {
    same(await at.evaluate(() => [document.querySelectorAll('img[src="x"]').length, String(window.pwned)].join()), "0,undefined", `HTML in ${where}`);
  }

  return { leading, taken };
}
