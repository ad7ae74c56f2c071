/** Which turns of a thread are in the page, and where: those near the screen, and the one that somebody works in. */
import { defaultRangeExtractor, useVirtualizer, type Range, type ReactVirtualizer } from "@tanstack/react-virtual";
import { useCallback, useEffect, useRef, type RefObject } from "react";
import type { Turn } from "./thread";

export type Rows = ReactVirtualizer<HTMLDivElement, Element>;

/** Pixels of a turn that was never shown. */
const ESTIMATED = 240;
/** So near the end, a reader is at it, and what grows there is followed. */
const AT_END = 48;

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
  useEffect(() => {
    if (begun.current || turns.length === 0) return;
    begun.current = true;
    rows.scrollToEnd();
  }, [rows, turns.length]);
  return rows;
}
