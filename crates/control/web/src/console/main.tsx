//! The console's entry: mounts it.
import { render } from "preact";
import { App } from "./app";
import "../shared/base.css";
import "./console.css";

const root = document.getElementById("app");
if (root) render(<App />, root);
