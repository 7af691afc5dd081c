import type { Words } from "../language";
import { en } from "./en";

export const zh: Words = en;
