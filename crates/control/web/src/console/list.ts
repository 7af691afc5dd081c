//! The state of a list that is searched, sorted and paged, as it stands in the page's address. Pure.

export interface ListState {
  search: string;
  sort: string;
  descending: boolean;
  page: number;
}

export const PAGE = 25;

/** From an address's query; what is nonsense there is passed over. */
export function listState(query: string, sortable: readonly string[]): ListState {
  const read = new URLSearchParams(query);
  const [name = "", way] = (read.get("sort") ?? "").split(" ");
  const page = Number(read.get("page") ?? 1);
  return {
    search: (read.get("search") ?? "").slice(0, 256),
    sort: sortable.includes(name) ? name : (sortable[0] ?? ""),
    descending: way === "desc" && sortable.includes(name),
    page: Number.isSafeInteger(page) && page >= 1 && page <= 1_000_000 ? page : 1,
  };
}

/** For the page's address: only what is not as it is anyway. */
export function addressOf(state: ListState, sortable: readonly string[]): string {
  const out = new URLSearchParams();
  if (state.search) out.set("search", state.search);
  if (state.descending || state.sort !== sortable[0]) out.set("sort", state.descending ? `${state.sort} desc` : state.sort);
  if (state.page > 1) out.set("page", String(state.page));
  const text = out.toString();
  return text ? `?${text}` : "";
}

/** For the API. */
export function queryOf(state: ListState): string {
  const out = new URLSearchParams();
  if (state.search.trim()) out.set("search", state.search.trim());
  if (state.sort) out.set("$orderby", `${state.sort} ${state.descending ? "desc" : "asc"}`);
  out.set("$skip", String((state.page - 1) * PAGE));
  out.set("$top", String(PAGE));
  return out.toString();
}

/** Sorting by what it is sorted by turns it round; a new order starts at the first page. */
export function sortedBy(state: ListState, name: string): ListState {
  return { ...state, sort: name, descending: state.sort === name && !state.descending, page: 1 };
}

export const pagesOf = (count: number): number => Math.max(1, Math.ceil(count / PAGE));
