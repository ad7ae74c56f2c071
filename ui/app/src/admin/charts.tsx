import type { ReactElement } from "react";
import { Area, AreaChart, Bar, BarChart, CartesianGrid, Line, LineChart, ResponsiveContainer, Tooltip, XAxis, YAxis, type DotItemDotProps } from "recharts";
import { clock, whole } from "./format";

export interface Series<T> {
  name: string;
  of: (row: T) => number | null;
  /** One of --series-1 … --series-5, --good, --bad. */
  color: string;
}

type Kind = "lines" | "areas" | "bars";
type Datum = Record<string, number | null>;

/** A chart over time with its title and what its colours mean; who cannot see it has the tables. */
export function Chart<T extends { at: number }>(props: {
  title: string;
  rows: readonly T[];
  series: readonly Series<T>[];
  format: (value: number) => string;
  /** Lines, unless areas or bars, which are stacked. */
  kind?: Kind;
  /** Where the axis is marked, from its lowest to its highest. */
  ticks?: [number, ...number[]];
  time?: (at: number) => string;
}): ReactElement {
  const { title, rows, series, format, kind = "lines", time = clock, ticks } = props;
  const data: Datum[] = rows.map((row) => ({ at: row.at, ...Object.fromEntries(series.map((each) => [each.name, each.of(row)])) }));
  const Plot = { lines: LineChart, areas: AreaChart, bars: BarChart }[kind];
  return (
    <figure className="chart">
      <figcaption>
        {title}
        <span className="legend">
          {series.map(({ name, color }) => (
            <span key={name}>
              <i style={{ background: `var(${color})` }} /> {name}
            </span>
          ))}
        </span>
      </figcaption>
      <div role="img" aria-label={`${title}: ${spoken(rows, series, format)}`}>
        <ResponsiveContainer width="100%" height={160}>
          <Plot data={data} margin={{ top: 6, right: 8, bottom: 0, left: 0 }} accessibilityLayer={false}>
            <CartesianGrid vertical={false} stroke="var(--line)" />
            <XAxis
              dataKey="at"
              type="number"
              scale="time"
              domain={["dataMin", "dataMax"]}
              tickFormatter={time}
              tick={{ fill: "var(--faint)", fontSize: 12 }}
              stroke="var(--line)"
              minTickGap={48}
              padding={kind === "bars" ? { left: 4, right: 4 } : {}}
            />
            <YAxis
              width={70}
              allowDecimals={format !== whole}
              tickFormatter={format}
              tick={{ fill: "var(--faint)", fontSize: 12 }}
              stroke="var(--line)"
              tickLine={false}
              {...(ticks ? { ticks, domain: [ticks[0], ticks.at(-1) ?? 1] } : {})}
            />
            <Tooltip
              isAnimationActive={false}
              labelFormatter={(at) => time(Number(at))}
              formatter={(value) => (typeof value === "number" ? format(value) : String(value))}
              contentStyle={{ background: "var(--raised)", border: "1px solid var(--line)", borderRadius: "var(--round)" }}
            />
            {series.map((each) => drawn(kind, each, data))}
          </Plot>
        </ResponsiveContainer>
      </div>
    </figure>
  );
}

function drawn<T>(kind: Kind, { name, color }: Series<T>, data: Datum[]): ReactElement {
  const paint = `var(${color})`;
  const same = { dataKey: name, isAnimationActive: false };
  if (kind === "bars") return <Bar key={name} {...same} stackId="all" fill={paint} barSize={4} />;
  if (kind === "areas") {
    return <Area key={name} {...same} type="stepAfter" stackId="all" stroke={paint} fill={paint} fillOpacity={0.25} />;
  }
  // A point that stands alone has no line to be seen by.
  const alone = (index: number) => (data[index - 1]?.[name] ?? null) === null && (data[index + 1]?.[name] ?? null) === null;
  return (
    <Line
      key={name}
      {...same}
      type="linear"
      stroke={paint}
      strokeWidth={1.75}
      dot={({ cx, cy, index, value, key }: DotItemDotProps) =>
        value !== null && alone(index) ? <circle key={key} cx={cx} cy={cy} r={3} fill={paint} /> : <g key={key} />
      }
    />
  );
}

function spoken<T>(rows: readonly T[], series: readonly Series<T>[], format: (value: number) => string): string {
  const last = rows.at(-1);
  if (last === undefined) return "nothing yet";
  return series
    .map(({ name, of }) => {
      const value = of(last);
      return `${name} ${value === null ? "unknown" : format(value)}`;
    })
    .join(", ");
}
