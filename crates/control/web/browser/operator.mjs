// Somebody at the console: what every story there does, and looks whether it has come about.
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
  async function api(path) {
    const answer = await fetch(`${base}/api${path}`, { headers: { authorization: `Bearer ${admin}` } });
    return { status: answer.status, body: await answer.json().catch(() => null) };
  }

  const shown = (what, locator, count = 1) => until(`${what} is shown`, async () => (await locator.count()) === count || (await page.locator("main").innerText()));
  const view = async (name) => {
    await by(`nav-${name}`).click();
    await until(`${name} is the view`, async () => (await by(`nav-${name}`).getAttribute("aria-current")) === "page");
  };
  /** The API's refusal, as people read it. */
  async function refused(code) {
    const problem = by("problem");
    await until(`${code} is told`, async () => (await problem.getAttribute("data-code")) === code || (await problem.getAttribute("data-code")));
    const text = await problem.innerText();
    if (!/^[^{}<>_]{8,}$/.test(text.trim())) throw new Error(`${code} is told as ${JSON.stringify(text)}`);
  }
  /** What is wrong stands beside its field, which has the focus and says so to those who hear it. */
  async function complained(field, words) {
    const said = page.locator(`[data-testid="field-error"][data-field="${field}"]`);
    await until(`${field} is complained of`, async () => (await said.count()) === 1);
    if (!words.test(await said.innerText())) throw new Error(`of ${field} it is said: ${await said.innerText()}`);
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
