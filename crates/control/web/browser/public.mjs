// Whether a page of the console keeps to what everybody may use: the described API, and the pages' own files.

/** Answers that the story brings about: a wrong sign-in, what shows a role, fields that are refused, a picture that has just ended. */
const EXPECTED = [
  /^401 POST \/api\/auth\/sign_in$/,
  /^40[13] GET \/api\/webhooks$/,
  /^4(00|09) POST \/api\/(conference_rooms|webhooks)$/,
  /^4(00|09) POST \/api\/conference_rooms\/[^/]+\/participants\/invite$/,
  /^409 GET \/api\/conference_rooms\/[^/]+\/(preview\.jpg|layout)$/,
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
