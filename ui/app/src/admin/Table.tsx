import { ChevronDown, ChevronUp } from "lucide-react";
import { useState, type ReactElement, type ReactNode } from "react";

export interface Column<T> {
  head: string;
  /** What it is sorted by, and shown as where there is no `cell`. */
  value: (row: T) => string | number | null;
  cell?: (row: T) => ReactNode;
  numeric?: boolean;
}

interface Sorting {
  head: string;
  down: boolean;
}

/** Rows that are sorted by the column whose head is pressed. `sorted` is how they stand first; none: as they come. */
export function Table<T>(props: {
  label: string;
  rows: readonly T[];
  columns: readonly Column<T>[];
  keyOf: (row: T) => string;
  sorted?: Sorting;
  empty: string;
}): ReactElement {
  const { label, rows, columns, keyOf, empty } = props;
  const [sorting, setSorting] = useState<Sorting | null>(props.sorted ?? null);
  const by = columns.find((column) => column.head === sorting?.head);
  const shown = by === undefined ? rows : rows.toSorted((a, b) => (sorting?.down ? -1 : 1) * compare(by.value(a), by.value(b)));
  return (
    <div className="table" role="region" aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {columns.map(({ head, numeric }) => (
              <th
                key={head}
                className={numeric ? "numeric" : ""}
                aria-sort={sorting?.head !== head ? "none" : sorting.down ? "descending" : "ascending"}
              >
                <button type="button" className="quiet" onClick={() => setSorting({ head, down: sorting?.head === head && !sorting.down })}>
                  {head}
                  {sorting?.head === head && (sorting.down ? <ChevronDown aria-hidden size={12} /> : <ChevronUp aria-hidden size={12} />)}
                </button>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {shown.map((row) => (
            <tr key={keyOf(row)}>
              {columns.map(({ head, numeric, value, cell }) => (
                <td key={head} className={numeric ? "numeric" : ""}>
                  {cell ? cell(row) : value(row)}
                </td>
              ))}
            </tr>
          ))}
          {rows.length === 0 && (
            <tr>
              <td colSpan={columns.length} className="hint">
                {empty}
              </td>
            </tr>
          )}
        </tbody>
      </table>
    </div>
  );
}

function compare(a: string | number | null, b: string | number | null): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? -1 : 1;
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}
