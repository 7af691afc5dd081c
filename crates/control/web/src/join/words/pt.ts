import type { Words } from "../language";
import { en } from "./en";

export const pt: Words = en;
