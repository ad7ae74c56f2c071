import { Menu, Plus } from "lucide-react";
import { useSyncExternalStore, type ReactElement } from "react";
import { Link } from "wouter";

/** The element that the menu's button opens. */
export const DRAWER = "conversations";
const NARROW = window.matchMedia("(max-width: 48rem)");

/** Whether the screen has no room for the threads beside the conversation. As in theme.css. */
export function useNarrow(): boolean {
  return useSyncExternalStore(subscribe, () => NARROW.matches);
}

function subscribe(listener: () => void): () => void {
  NARROW.addEventListener("change", listener);
  return () => NARROW.removeEventListener("change", listener);
}

/** What a narrow screen has in place of the sidebar: the button that opens it, and a new conversation. */
export function TopBar(): ReactElement {
  return (
    <header className="top-bar">
      <button type="button" className="icon-button" aria-label="Conversations" popoverTarget={DRAWER}>
        <Menu aria-hidden size={20} />
      </button>
      <strong>Netra Apex</strong>
      <Link href="/" className="icon-button" aria-label="New conversation">
        <Plus aria-hidden size={20} />
      </Link>
    </header>
  );
}
