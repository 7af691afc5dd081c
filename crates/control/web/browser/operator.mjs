// Somebody at the console: what every story there does, whether it has come about, and whether the page keeps to what everybody may
// use: the described API, and the pages' own files.
import { accessible as looked } from "./chromium.mjs";
import { until } from "./until.mjs";

export function same(found, wanted, what) {
  if (found !== wanted) throw new Error(`${what}: ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
}

/** For a page that is at the console, and a token with which the server is asked whether it is as the console says. */
export function operator({ page, base, admin, folder }) {
  const by = (name, within = page) => within.getByTestId(name);
  const accessible = (what) => looked({ page }, `console-${what}`, folder, { whole: true });
  /** Of the server, not of the console: whether what was done has come about. */
  async function api(path, method = "GET") {
    const answer = await fetch(`${base}/api${path}`, { method, headers: { authorization: `Bearer ${admin}` } });
    return { status: answer.status, body: await answer.json().catch(() => null) };
  }

  const shown = (what, locator, count = 1) => until(`${what} is shown`, async () => (await locator.count()) === count || (await page.locator("main").innerText()));
  const view = async (name) => {
    await by(`nav-${name}`).click();
    await until(`${name} is the view`, async () => (await by(`nav-${name}`).getAttribute("aria-current")) === "page");
  };
  /** The API's refusal, as people read it. */
  async function refused(code, words) {
    const problem = by("problem");
    await until(`${code} is told`, async () => {
      const told = (await problem.count()) && [await problem.getAttribute("data-code"), await problem.innerText()];
      return (told && told[0] === code && words.test(told[1])) || told;
    });
  }
  /** What is wrong stands beside its field, which has the focus and says so to those who hear it. */
  async function complained(field, words) {
    const said = page.locator(`[data-testid="field-error"][data-field="${field}"]`);
    await until(`${field} is complained of`, async () => {
      const text = (await said.allInnerTexts()).join();
      return words.test(text) || text;
    });
    await until(`${field} has the focus`, () => by(`field-${field}`).evaluate((input) => input === document.activeElement));
    const input = by(`field-${field}`);
    same(await input.getAttribute("aria-invalid"), "true", `${field} is invalid`);
    if (!(await input.getAttribute("aria-describedby")).includes(await said.getAttribute("id"))) throw new Error(`${field} is not described by what is wrong`);
  }
  /** As far as one comes with Tab, to what has this test id or, for summaries, this text. */
  async function tabTo(what) {
    for (let presses = 0; presses < 80; presses++) {
      const here = await page.evaluate(() => [document.activeElement?.dataset.testid, document.activeElement?.textContent]);
      if (here.includes(what)) return;
      await page.keyboard.press("Tab");
    }
    throw new Error(`Tab does not come to ${what}`);
  }
  async function typeInto(field, text) {
    await tabTo(field);
    await page.keyboard.type(text);
  }
  async function confirmed(button) {
    await button.click();
    await page.getByRole("button", { name: "Cancel" }).click();
    await until("nothing is asked any more", async () => (await page.getByRole("dialog").count()) === 0);
    await button.click();
    await by("confirm").click();
  }

  return { accessible, api, by, complained, confirmed, refused, shown, tabTo, typeInto, view };
}

/** Answers that the story brings about: a wrong sign-in, what shows a role, fields that are refused, what ended while it was asked for. */
const EXPECTED = [
  /^400 POST \/api\/auth\/sign_in$/,
  /^40[13] GET \/api\/webhooks$/,
  /^4(00|09) POST \/api\/(conference_rooms|webhooks)$/,
  /^4(00|09) POST \/api\/conference_rooms\/[^/]+\/participants\/invite$/,
  /^409 GET \/api\/conference_rooms\/[^/]+\/(preview\.jpg|layout)$/,
  /^404 GET \/api\/conference_rooms\/[^/]+\/(status|participants)$/,
];

/** Watches a page from now on; the function that is returned throws what was not right. */
export function onlyPublic(page, base) {
  const requests = new Set();
  const refusals = new Set();
  page.on("request", (request) => requests.add(`${request.method()} ${request.url()}`));
  page.on("response", (answer) => {
    const line = `${answer.status()} ${answer.request().method()} ${new URL(answer.url()).pathname}`;
    if (answer.status() >= 400 && !EXPECTED.some((expected) => expected.test(line))) refusals.add(line);
  });
  page.on("websocket", (socket) => requests.add(`WEBSOCKET ${socket.url()}`));

  return async () => {
    const { paths } = await (await fetch(`${base}/api/openapi.json`)).json();
    const described = Object.entries(paths).flatMap(([path, acts]) =>
      Object.keys(acts).map((act) => new RegExp(`^${act.toUpperCase()} ${path.replace(/[.]/g, "\\.").replace(/\{[^}]+\}/g, "[^/]+")}$`)),
    );
    const wrong = [...requests].filter((request) => {
      const [method, address] = request.split(" ");
      const url = new URL(address);
      if (url.protocol === "blob:" || url.protocol === "data:") return false;
      if (url.origin !== new URL(base).origin) return true;
      if (method === "GET" && /^\/(console(\/|$)|assets\/[^/]+$)/.test(url.pathname)) return false;
      return !described.some((one) => one.test(`${method} ${url.pathname}`));
    });
    if (wrong.length) throw new Error(`the console asks for what is not public: ${wrong.join(", ")}`);
    if (refusals.size) throw new Error(`the console is refused: ${[...refusals].join(", ")}`);
    if (requests.size < 50) throw new Error(`only ${requests.size} requests were seen`);
  };
}
