import { unwrap, type Schemas } from "@netra-apex/client";
import { useQuery } from "@tanstack/react-query";
import { type ReactElement } from "react";
import { netra } from "./netra";

type Day = Schemas["UsageShape"];

/** What the user has left of the day's budgets; without a budget, what was used. */
export function Usage(): ReactElement | null {
  const { data } = useQuery({
    queryKey: ["usage"],
    queryFn: () => unwrap(netra.api.GET("/api/me/usage")),
    refetchInterval: 30_000,
  });
  if (data === undefined) return null;
  const budgets = budgetsOf(data);
  const renews = new Date(data.renews_at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return (
    <section className="usage" aria-label="Today's usage">
      {budgets.map(({ name, left, limit, said }) => (
        <div key={name} className={left <= 0 ? "spent" : ""}>
          <span>{left <= 0 ? `No ${name} left until ${renews}` : said}</span>
          <meter aria-label={said} value={left} max={limit} low={limit / 10} optimum={limit} />
        </div>
      ))}
      {budgets.length === 0 && <span>{used(data)}</span>}
    </section>
  );
}

function budgetsOf({ left, limits }: Day): { name: string; left: number; limit: number; said: string }[] {
  const budgets = [];
  if (left.tokens !== null && limits.tokens_per_day !== null) {
    const said = `${left.tokens.toLocaleString()} of ${limits.tokens_per_day.toLocaleString()} tokens left today`;
    budgets.push({ name: "tokens", left: left.tokens, limit: limits.tokens_per_day, said });
  }
  if (left.cost_usd !== null && limits.cost_usd_per_day !== null) {
    const said = `$${left.cost_usd.toFixed(2)} of $${limits.cost_usd_per_day.toFixed(2)} left today`;
    budgets.push({ name: "money", left: left.cost_usd, limit: limits.cost_usd_per_day, said });
  }
  return budgets;
}

function used({ used: { input_tokens, output_tokens, cost_usd } }: Day): string {
  const tokens = (input_tokens + output_tokens).toLocaleString();
  return `${tokens} tokens today${cost_usd === null ? "" : `, $${cost_usd.toFixed(2)}`}`;
}
