import { expect, test } from "vitest";
import { chartOf } from "../src/chat/bars";

test("bars of text are a chart", () => {
  const chart = chartOf("Monday       ████     $1,200.50\nOn \"Tuesday\"  ▏        $0.25\n");
  expect(chart).toContain("x-axis [\"Monday\", \"On 'Tuesday'\"]");
  expect(chart).toContain("bar [1200.50, 0.25]");
  expect(chart).toContain('y-axis "$" 0 --> 1200.5');
});

test("what is no bar, or is still being written, is no chart", () => {
  for (const text of ["", "Monday  ████", "Monday  ████  $1\nand so on", "a --> b"]) expect(chartOf(text)).toBeNull();
});
