import { type Notice } from "@netra-apex/client";
import { useEffect, useState, type ReactElement } from "react";
import { Route, Router, Switch } from "wouter";
import { useHashLocation } from "wouter/use-hash-location";
import { Desk } from "./chat/desk";
import { Conversation } from "./chat/Conversation";
import { NewConversation } from "./chat/NewConversation";
import type { User } from "./session/session";
import { Sidebar } from "./threads/Sidebar";
import { TopBar, useNarrow } from "./threads/TopBar";

/** What who is logged in has before him: his threads, and one of them. One socket serves the whole page. */
export function Workspace({ user }: { user: User }): ReactElement {
  const [desk, setDesk] = useState<Desk | null>(null);
  const [notice, setNotice] = useState<Notice | null>(null);
  const narrow = useNarrow();
  useEffect(() => {
    const opened = new Desk(setNotice);
    setDesk(opened);
    return () => opened.close();
  }, []);
  return (
    <Router hook={useHashLocation}>
      <div className="workspace">
        {narrow && <TopBar />}
        <Sidebar user={user} drawer={narrow} />
        <div className="stage">
          {notice?.type === "reconnecting" && (
            <p className="away" role="status">
              Connection lost: coming back. What runs goes on.
            </p>
          )}
          {desk !== null && (
            <Switch>
              <Route path="/t/:threadId">
                {({ threadId }) => <Conversation key={threadId} store={desk.thread(threadId)} />}
              </Route>
              <Route>
                <NewConversation desk={desk} />
              </Route>
            </Switch>
          )}
        </div>
      </div>
    </Router>
  );
}
