/** A chart that an agent wrote as bars of text, as a report that is also read in a terminal has them. */

const LINE = /^(?<name>.*\S)\s+[█▏]+\s+(?<value>\$?[\d,]+(?:\.\d+)?%?)$/u;
const ROW = 22;
const AROUND = 90;

/** The chart in Mermaid's notation; null where a line is no bar. */
export function chartOf(text: string): string | null {
  const names: string[] = [];
  const values: string[] = [];
  let unit = "";
  for (const line of text.trimEnd().split("\n")) {
    const { name, value } = LINE.exec(line)?.groups ?? {};
    if (name === undefined || value === undefined) return null;
    names.push(JSON.stringify(name.replace(/["\\]/g, "'")));
    values.push(value.replace(/[$,%]/g, ""));
    unit = value.replace(/[^$%]/g, "");
  }
  return [
    "---",
    `config: { xyChart: { height: ${names.length * ROW + AROUND}, width: 720 } }`,
    "---",
    "xychart-beta horizontal",
    `x-axis [${names.join(", ")}]`,
    `y-axis "${unit}" 0 --> ${Math.max(...values.map(Number)) || 1}`,
    `bar [${values.join(", ")}]`,
  ].join("\n");
}
