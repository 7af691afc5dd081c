//! A list's state, in the page's address and towards the API.
import { describe, expect, it } from "vitest";
import { addressOf, listState, pagesOf, queryOf, sortedBy } from "./list";

const SORTABLE = ["extension_number", "subject"] as const;

describe("a list's state", () => {
  it("goes into the address and comes back", () => {
    const state = { search: "a&b=c", sort: "subject", descending: true, page: 3 };
    expect(listState(addressOf(state, SORTABLE), SORTABLE)).toEqual(state);
    expect(addressOf(listState("", SORTABLE), SORTABLE)).toBe("");
  });
  it("passes over nonsense", () => {
    expect(listState("?page=-1&sort=room_pin desc", SORTABLE)).toEqual({ search: "", sort: "extension_number", descending: false, page: 1 });
    expect(listState("?page=x", SORTABLE).page).toBe(1);
  });
  it("asks the API for its page", () => {
    const query = new URLSearchParams(queryOf({ search: " x ", sort: "subject", descending: false, page: 2 }));
    expect(Object.fromEntries(query)).toEqual({ search: "x", $orderby: "subject asc", $skip: "25", $top: "25" });
  });
  it("turns round what it is sorted by, from the first page", () => {
    const state = listState("?page=4", SORTABLE);
    expect(sortedBy(state, "extension_number")).toMatchObject({ descending: true, page: 1 });
    expect(sortedBy(sortedBy(state, "extension_number"), "extension_number").descending).toBe(false);
    expect(sortedBy({ ...state, descending: true }, "subject")).toMatchObject({ sort: "subject", descending: false });
  });
  it("has a page even when it is empty", () => {
    expect([0, 25, 26].map(pagesOf)).toEqual([1, 1, 2]);
  });
});
