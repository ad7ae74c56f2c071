/** Figures as people read them. */

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const MONEY = new Intl.NumberFormat("en", { style: "currency", currency: "USD", maximumFractionDigits: 4 });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
export const NONE = "–";

export function whole(value: number | null | undefined): string {
  return value === null || value === undefined ? NONE : WHOLE.format(value);
}

export function short(value: number | null | undefined): string {
  return value === null || value === undefined ? NONE : SHORT.format(value);
}

export function money(value: number | null | undefined): string {
  return value === null || value === undefined ? NONE : MONEY.format(value);
}

export function percent(value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE;
  // 99.96 % must not be shown as 100 %.
  const floored = Math.floor(value * 10_000) / 100;
  return `${floored.toFixed(floored === 100 || floored === 0 ? 0 : 2)} %`;
}

export function ms(value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE;
  if (value < 1000) return `${value < 10 && !Number.isInteger(value) ? value.toFixed(1) : WHOLE.format(value)} ms`;
  return span(value);
}

/** A length of time. */
export function span(value: number): string {
  const seconds = value / 1000;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : WHOLE.format(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`;
}

/** How long ago that was, at a moment that the server gave. */
export function ago(at: string | null | undefined, now: string): string {
  return at === null || at === undefined ? NONE : span(Math.max(0, Date.parse(now) - Date.parse(at)));
}

export function clock(at: string | number): string {
  return CLOCK.format(new Date(at));
}

export function day(at: string | null | undefined): string {
  return at === null || at === undefined ? NONE : DAY.format(new Date(at));
}

export function megabytes(bytes: number | null | undefined): string {
  return bytes === null || bytes === undefined ? NONE : `${WHOLE.format(bytes / 2 ** 20)} MB`;
}

/** An id by its end, where it stands beside others. */
export function brief(ident: string): string {
  return ident.length <= 12 ? ident : `…${ident.slice(-8)}`;
}
