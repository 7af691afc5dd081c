import type { Words } from "../language";
import { en } from "./en";

export const es: Words = en;
