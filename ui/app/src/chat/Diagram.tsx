import mermaid from "mermaid";
import { useEffect, useId, useState, type ReactElement } from "react";

const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
const bars = dark ? "#7db8f5" : "#0b5cad"; // As --accent in theme.css.
mermaid.initialize({
  startOnLoad: false,
  securityLevel: "strict",
  // Labels are text, and no diagram may say otherwise: HTML in them could name pictures from elsewhere.
  htmlLabels: false,
  secure: ["secure", "securityLevel", "startOnLoad", "maxTextSize", "maxEdges", "htmlLabels", "flowchart", "themeCSS"],
  theme: dark ? "dark" : "neutral",
  themeVariables: { xyChart: { plotColorPalette: bars, backgroundColor: "transparent" } },
});

interface Picture {
  src: string;
  width: number;
}

/** A chart or diagram in Mermaid's notation; as `text` where it is none, or is still being written. */
export default function Diagram({ notation, text }: { notation: string; text: string }): ReactElement {
  const id = useId().replace(/[^a-z0-9]/gi, "");
  const [drawn, setDrawn] = useState<Picture | null>(null);
  useEffect(() => {
    let current = true;
    const draw = async (): Promise<void> => {
      if (!(await mermaid.parse(notation, { suppressErrors: true }))) return;
      const { svg } = await mermaid.render(`diagram-${id}`, notation);
      if (current) setDrawn(pictureOf(svg));
    };
    // What parses and cannot be drawn stays text.
    draw().catch(() => undefined);
    return () => {
      current = false;
    };
  }, [notation, id]);
  if (drawn === null) return <pre tabIndex={0}>{text}</pre>;
  return <img className="diagram" src={drawn.src} width={drawn.width} alt={text} />;
}

/** A drawing as a picture, in which a browser runs no script, follows no link and loads nothing. */
function pictureOf(svg: string): Picture {
  const place = document.createElement("template");
  place.innerHTML = svg; // In a template it is inert, too.
  const drawing = place.content.firstElementChild as SVGSVGElement;
  const { width, height } = drawing.viewBox.baseVal;
  drawing.setAttribute("width", String(width));
  drawing.setAttribute("height", String(height));
  const xml = new XMLSerializer().serializeToString(drawing);
  return { src: `data:image/svg+xml;charset=utf-8,${encodeURIComponent(xml)}`, width };
}
