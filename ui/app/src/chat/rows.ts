/** Which turns of a thread are in the page, and where: those near the screen, and the one that somebody works in. */
import { defaultRangeExtractor, useVirtualizer, type Range, type ReactVirtualizer } from "@tanstack/react-virtual";
import { useCallback, useEffect, useRef, type RefObject } from "react";
import type { Turn } from "./thread";

export type Rows = ReactVirtualizer<HTMLDivElement, Element>;

/** Pixels of a turn that was never shown. */
const ESTIMATED = 240;
/** So near the end, a reader is at it, and what grows there is followed. */
const AT_END = 48;
/** So many frames a thread has to come to its end when it is opened: on a busy machine its rows are measured late. */
const SETTLING = 120;
/** Having been there for so many frames, it is. */
const HELD = 2;
/** What somebody does who looks elsewhere. */
const BY_HAND = ["wheel", "touchstart", "pointerdown", "keydown"] as const;

/** The turns as rows: a reader's place stays when earlier ones come, and the end is followed by whoever is there. */
export function useRows(viewport: RefObject<HTMLDivElement | null>, turns: readonly Turn[]): Rows {
  const focused = useRef<number | null>(null);
  const rangeExtractor = useCallback((range: Range) => {
    const indexes = defaultRangeExtractor(range);
    const kept = focused.current;
    // Who writes in a message, or is on its buttons, may look elsewhere meanwhile.
    if (kept === null || kept >= range.count || indexes.includes(kept)) return indexes;
    return [...indexes, kept].sort((one, other) => one - other);
  }, []);
  const rows = useVirtualizer<HTMLDivElement, Element>({
    count: turns.length,
    getScrollElement: () => viewport.current,
    estimateSize: () => ESTIMATED,
    getItemKey: (index) => turns[index]?.runId ?? index,
    rangeExtractor,
    overscan: 4,
    // Inside the rows' own space: what stands around it would have the end counted short.
    paddingStart: 48,
    paddingEnd: 8,
    anchorTo: "end",
    followOnAppend: true,
    scrollEndThreshold: AT_END,
    directDomUpdates: true,
    directDomUpdatesMode: "position",
  });

  useEffect(() => {
    const element = viewport.current;
    if (element === null) return undefined;
    const noted = ({ type, target }: FocusEvent): void => {
      const row = (target as Element).closest("[data-index]");
      focused.current = type === "focusin" && row !== null ? Number(row.getAttribute("data-index")) : null;
    };
    element.addEventListener("focusin", noted);
    element.addEventListener("focusout", noted);
    return () => {
      element.removeEventListener("focusin", noted);
      element.removeEventListener("focusout", noted);
    };
  }, [viewport]);

  const begun = useRef(false);
  const frame = useRef(0);
  useEffect(() => {
    if (begun.current || turns.length === 0) return;
    begun.current = true;
    // Once is not enough: rows are measured as they come in, which moves the end. Whoever scrolls has it his way.
    let left = SETTLING;
    let held = 0;
    const settle = (): void => {
      held = rows.isAtEnd(AT_END) ? held + 1 : 0;
      if (held === 0) rows.scrollToEnd();
      frame.current = held < HELD && --left > 0 ? requestAnimationFrame(settle) : 0;
    };
    rows.scrollToEnd();
    frame.current = requestAnimationFrame(settle);
    const stop = (): void => cancelAnimationFrame(frame.current);
    for (const done of BY_HAND) viewport.current?.addEventListener(done, stop, { once: true, passive: true });
  }, [rows, viewport, turns.length]);
  useEffect(() => () => cancelAnimationFrame(frame.current), []);
  return rows;
}
