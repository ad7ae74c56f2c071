import mermaid from "mermaid";
import { useEffect, useId, useState, type ReactElement } from "react";

const dark = window.matchMedia("(prefers-color-scheme: dark)");
mermaid.initialize({ startOnLoad: false, securityLevel: "strict", theme: dark.matches ? "dark" : "neutral" });

/** A chart or diagram in Mermaid's notation; as text where it is none, or is still being written. */
export default function Diagram({ text }: { text: string }): ReactElement {
  const id = useId().replace(/[^a-z0-9]/gi, "");
  const [drawn, setDrawn] = useState<string | null>(null);
  useEffect(() => {
    let current = true;
    const draw = async (): Promise<void> => {
      if (!(await mermaid.parse(text, { suppressErrors: true }))) return;
      const { svg } = await mermaid.render(`diagram-${id}`, text);
      if (current) setDrawn(svg);
    };
    void draw();
    return () => {
      current = false;
    };
  }, [text, id]);
  if (drawn === null) return <pre>{text}</pre>;
  // Mermaid's strict mode has sanitised it: no script, no HTML labels, no links that act.
  return <figure className="diagram" role="img" aria-label={text} dangerouslySetInnerHTML={{ __html: drawn }} />;
}
