import { RequestRefused, unwrap, type MessageOptions } from "@netra-apex/client";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type ReactElement } from "react";
import { useLocation } from "wouter";
import { netra } from "../session/netra";
import type { Desk } from "./desk";

/** Where a conversation begins: who is asked, and what. */
export function NewConversation({ desk }: { desk: Desk }): ReactElement {
  const [, go] = useLocation();
  const queries = useQueryClient();
  const agents = useQuery({ queryKey: ["agents"], queryFn: () => unwrap(netra.api.GET("/api/agents")) });
  const [agent, setAgent] = useState("");
  const [problem, setProblem] = useState<string | null>(null);

  async function begin(content: string, attached: File[]): Promise<void> {
    try {
      const options: MessageOptions = agent ? { agent } : {};
      if (attached.length > 0) {
        // A file belongs to a thread, which is there before the message that brings it.
        const thread = await unwrap(netra.api.POST("/api/threads", { body: {} }));
        options.threadId = thread.thread_id;
        const uploaded = await Promise.all(attached.map((file) => netra.upload(thread.thread_id, file)));
        options.files = uploaded.map(({ file_id }) => file_id);
      }
      const run = await desk.connection.send(content, options);
      if (run.threadId === null) return; // An accepted message has one.
      desk.thread(run.threadId).begin(run);
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
          const form = new FormData(event.currentTarget);
          const content = String(form.get("content")).trim();
          const attached = form.getAll("files").filter((each): each is File => each instanceof File && each.name !== "");
          if (content) void begin(content, attached);
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
          <input type="file" name="files" aria-label="Files" multiple />
          <button type="submit">Send</button>
        </div>
        {chosen !== undefined && <p className="hint">{chosen.description}</p>}
        {problem !== null && <p role="alert">{problem}</p>}
      </form>
    </main>
  );
}
