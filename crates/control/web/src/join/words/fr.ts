import type { Words } from "../language";
import { en } from "./en";

export const fr: Words = en;
