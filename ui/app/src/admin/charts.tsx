import type { ReactElement } from "react";
import { Area, AreaChart, CartesianGrid, Line, LineChart, ResponsiveContainer, Tooltip, XAxis, YAxis } from "recharts";
import { clock, whole } from "./format";

export interface Series<T> {
  name: string;
  of: (row: T) => number | null;
  /** One of --series-1 … --series-5, --good, --bad. */
  color: string;
}

/** A chart over time with its title and what its colours mean; who cannot see it has the tables. */
export function Chart<T extends { at: number }>(props: {
  title: string;
  rows: readonly T[];
  series: readonly Series<T>[];
  format: (value: number) => string;
  /** Areas that are stacked; otherwise lines. */
  stacked?: boolean;
  domain?: [number | "auto" | "dataMin", number | "auto"];
  time?: (at: number) => string;
}): ReactElement {
  const { title, rows, series, format, stacked = false, time = clock } = props;
  const data = rows.map((row) => ({ at: row.at, ...Object.fromEntries(series.map((each) => [each.name, each.of(row)])) }));
  const Plot = stacked ? AreaChart : LineChart;
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
            />
            <YAxis
              width={70}
              allowDecimals={format !== whole}
              tickFormatter={format}
              tick={{ fill: "var(--faint)", fontSize: 12 }}
              stroke="var(--line)"
              tickLine={false}
              {...(props.domain ? { domain: props.domain } : {})}
            />
            <Tooltip
              isAnimationActive={false}
              labelFormatter={(at) => time(Number(at))}
              formatter={(value) => (typeof value === "number" ? format(value) : String(value))}
              contentStyle={{ background: "var(--raised)", border: "1px solid var(--line)", borderRadius: "var(--round)" }}
            />
            {series.map(({ name, color }) =>
              stacked ? (
                <Area
                  key={name}
                  dataKey={name}
                  type="stepAfter"
                  stackId="all"
                  stroke={`var(${color})`}
                  fill={`var(${color})`}
                  fillOpacity={0.25}
                  isAnimationActive={false}
                />
              ) : (
                <Line
                  key={name}
                  dataKey={name}
                  type="linear"
                  stroke={`var(${color})`}
                  strokeWidth={1.75}
                  dot={rows.length < 3}
                  connectNulls={false}
                  isAnimationActive={false}
                />
              ),
            )}
          </Plot>
        </ResponsiveContainer>
      </div>
    </figure>
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
