import type { Words } from "../language";
import { en } from "./en";

export const de: Words = en;
