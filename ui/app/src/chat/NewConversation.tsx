import { RequestRefused, unwrap, type Connection } from "@netra-apex/client";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type ReactElement } from "react";
import { useLocation } from "wouter";
import { netra } from "../session/netra";

/** Where a conversation begins: who is asked, and what. */
export function NewConversation({ connection }: { connection: Connection }): ReactElement {
  const [, go] = useLocation();
  const queries = useQueryClient();
  const agents = useQuery({ queryKey: ["agents"], queryFn: () => unwrap(netra.api.GET("/api/agents")) });
  const [agent, setAgent] = useState("");
  const [problem, setProblem] = useState<string | null>(null);

  async function begin(content: string): Promise<void> {
    try {
      const run = await connection.send(content, agent ? { agent } : {});
      await queries.invalidateQueries({ queryKey: ["threads"] });
      go(`/t/${run.threadId}`);
    } catch (error) {
      setProblem(error instanceof RequestRefused ? error.reason : String(error));
    }
  }

  const chosen = agents.data?.items.find((each) => each.name === agent);
  return (
    <main className="opening">
      <h1>What can I do for you?</h1>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const content = String(new FormData(event.currentTarget).get("content")).trim();
          if (content) void begin(content);
        }}
      >
        <textarea
          name="content"
          aria-label="Message"
          rows={3}
          autoFocus
          required
          placeholder="Ask something"
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
            event.preventDefault();
            event.currentTarget.form?.requestSubmit();
          }}
        />
        <div className="row">
          <select aria-label="Agent" value={agent} onChange={(event) => setAgent(event.target.value)}>
            <option value="">Default agent</option>
            {agents.data?.items.map(({ name }) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
          <button type="submit">Send</button>
        </div>
        {chosen !== undefined && <p className="hint">{chosen.description}</p>}
        {problem !== null && <p role="alert">{problem}</p>}
      </form>
    </main>
  );
}
