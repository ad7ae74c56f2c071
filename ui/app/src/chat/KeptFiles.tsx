import { unwrap } from "@netra-apex/client";
import { useQuery } from "@tanstack/react-query";
import { FileDown } from "lucide-react";
import { type ReactElement } from "react";
import { netra } from "../session/netra";

/** What lies in the thread, uploaded or written by a run: an answer that names a file is of use to who can open it. */
export function KeptFiles({ threadId }: { threadId: string }): ReactElement | null {
  const params = { path: { thread_id: threadId }, query: { limit: 200 } };
  const { data } = useQuery({
    queryKey: ["files", threadId],
    queryFn: () => unwrap(netra.api.GET("/api/threads/{thread_id}/files", { params })),
    retry: false,
  });
  const kept = data?.items ?? [];
  if (kept.length === 0) return null;
  return (
    <details className="kept">
      <summary>{kept.length === 1 ? "1 file" : `${kept.length} files`}</summary>
      <ul aria-label="Files of this conversation">
        {kept.map(({ file_id, name }) => (
          <li key={file_id}>
            <a className="chip" href={netra.fileUrl(threadId, file_id)} download={name}>
              <FileDown aria-hidden size={12} /> {name}
            </a>
          </li>
        ))}
      </ul>
    </details>
  );
}
