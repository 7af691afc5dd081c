import { existsSync } from "node:fs";
import { defineConfig } from "vite";

// The server whose API the pages use in development.
const api = process.env.CONCLAVE_API ?? "http://127.0.0.1:8887";
const pages = ["join", "console"].filter((page) => existsSync(new URL(`${page}.html`, import.meta.url)));

export default defineConfig({
  appType: "mpa",
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  build: {
    outDir: "dist",
    sourcemap: false,
    // The pages' policy allows neither inline scripts nor data: of fonts and styles.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { input: Object.fromEntries(pages.map((page) => [page, `${page}.html`])) },
  },
  server: { proxy: { "/api": api, "^/join(/|$)": api } },
  plugins: [
    {
      name: "addresses",
      // In development, as the server does it: every address of a page is that page.
      configureServer(server) {
        server.middlewares.use((request, _response, next) => {
          if (/^\/console(\/|\?|$)/.test(request.url ?? "")) request.url = "/console.html";
          if (/^\/r\/[^/]+$/.test(request.url ?? "")) request.url = "/join.html";
          next();
        });
      },
    },
  ],
});
