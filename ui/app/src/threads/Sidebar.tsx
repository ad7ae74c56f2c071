import { unwrap, type Schemas } from "@netra-apex/client";
import { useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { Activity, LogOut, Pencil, Plus, Trash2 } from "lucide-react";
import { useDeferredValue, useEffect, useRef, useState, type ReactElement } from "react";
import { Link, useLocation } from "wouter";
import { netra } from "../session/netra";
import { useLogin, type User } from "../session/session";
import { Usage } from "../session/Usage";
import { DRAWER } from "./TopBar";

type Thread = Schemas["ThreadShape"];

/** The user's threads, the one last used first; searched, renamed and deleted here. On narrow screens a drawer. */
export function Sidebar({ user, drawer }: { user: User; drawer: boolean }): ReactElement {
  const { logout } = useLogin();
  const [location] = useLocation();
  const nav = useRef<HTMLElement>(null);
  useEffect(() => {
    if (drawer && nav.current?.matches(":popover-open")) nav.current.hidePopover();
  }, [drawer, location]);
  const [query, setQuery] = useState("");
  const asked = useDeferredValue(query.trim());
  const threads = useInfiniteQuery({
    queryKey: ["threads", asked],
    queryFn: ({ pageParam }) => page(asked, pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.next_cursor,
    refetchInterval: 30_000,
  });
  return (
    <nav ref={nav} id={DRAWER} className="sidebar" aria-label="Conversations" popover={drawer ? "auto" : undefined}>
      <header>
        <strong>Netra Apex</strong>
        <Link href="/" className="icon-button" aria-label="New conversation" title="New conversation">
          <Plus aria-hidden size={18} />
        </Link>
      </header>
      <input
        type="search"
        placeholder="Search"
        aria-label="Search conversations"
        value={query}
        onChange={(event) => setQuery(event.target.value)}
      />
      <ul>
        {threads.data?.pages.flatMap((each) => each.items).map((thread) => (
          <ThreadItem key={thread.thread_id} thread={thread} />
        ))}
      </ul>
      {threads.hasNextPage && (
        <button type="button" className="quiet" onClick={() => void threads.fetchNextPage()}>
          More
        </button>
      )}
      <Usage />
      <footer>
        <span title={user.user_id}>{user.username}</span>
        {user.permissions.includes("admin") && (
          <Link href="/admin" className="icon-button" aria-label="Operation" title="Operation">
            <Activity aria-hidden size={16} />
          </Link>
        )}
        <button type="button" className="icon-button" aria-label="Log out" title="Log out" onClick={() => void logout()}>
          <LogOut aria-hidden size={16} />
        </button>
      </footer>
    </nav>
  );
}

function ThreadItem({ thread }: { thread: Thread }): ReactElement {
  const [location, go] = useLocation();
  const queries = useQueryClient();
  const [renaming, setRenaming] = useState(false);
  const path = { thread_id: thread.thread_id };
  const here = location === `/t/${thread.thread_id}`;
  const refresh = () => queries.invalidateQueries({ queryKey: ["threads"] });

  async function rename(title: string): Promise<void> {
    setRenaming(false);
    if (!title.trim() || title === thread.title) return;
    await unwrap(netra.api.PATCH("/api/threads/{thread_id}", { params: { path }, body: { title: title.trim() } }));
    await refresh();
  }

  async function remove(): Promise<void> {
    if (!window.confirm(`Delete “${thread.title}” with its messages?`)) return;
    await unwrap(netra.api.DELETE("/api/threads/{thread_id}", { params: { path } }));
    if (here) go("/");
    await refresh();
  }

  if (renaming) {
    return (
      <li>
        <input
          aria-label="Title"
          defaultValue={thread.title}
          autoFocus
          onBlur={(event) => void rename(event.target.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter") event.currentTarget.blur();
            if (event.key === "Escape") setRenaming(false);
          }}
        />
      </li>
    );
  }
  return (
    <li className={here ? "here" : ""}>
      <Link href={`/t/${thread.thread_id}`} aria-current={here ? "page" : undefined}>
        {thread.title || "New conversation"}
      </Link>
      <span className="tools">
        <button type="button" className="icon-button" aria-label={`Rename ${thread.title}`} onClick={() => setRenaming(true)}>
          <Pencil aria-hidden size={14} />
        </button>
        <button type="button" className="icon-button" aria-label={`Delete ${thread.title}`} onClick={() => void remove()}>
          <Trash2 aria-hidden size={14} />
        </button>
      </span>
    </li>
  );
}

async function page(q: string, cursor: string | null): Promise<Schemas["Listing_ThreadShape_"]> {
  const query = { ...(q ? { q } : {}), ...(cursor === null ? {} : { cursor }) };
  return unwrap(netra.api.GET("/api/threads", { params: { query } }));
}
