//! The join page's entry: mounts it.
import { render } from "preact";
import { App } from "./app";
import "../shared/base.css";
import "./join.css";

const root = document.getElementById("app");
if (root) render(<App />, root);
