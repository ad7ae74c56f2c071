import { lazy, memo, Suspense, type ReactElement, type ReactNode } from "react";
import ReactMarkdown, { type Components } from "react-markdown";
import rehypeHighlight from "rehype-highlight";
import remarkGfm from "remark-gfm";
import { chartOf } from "./bars";

const Diagram = lazy(() => import("./Diagram"));
const remark = [remarkGfm];
const rehype = [[rehypeHighlight, { detect: false, ignoreMissing: true, plainText: ["mermaid", "bars"] }]] as never;

const components: Components = {
  a: ({ children, href }) => <Elsewhere href={href}>{children}</Elsewhere>,
  // A picture from elsewhere would tell that elsewhere who reads, and what: it is a link.
  img: ({ src, alt }) => <Elsewhere href={typeof src === "string" ? src : undefined}>{alt || "picture"}</Elsewhere>,
  table: ({ children }) => (
    <div className="table" tabIndex={0} role="region" aria-label="Table">
      <table>{children}</table>
    </div>
  ),
  pre: ({ children }) => {
    const code = (children as { props?: { className?: string; children?: ReactNode } }).props;
    const text = String(code?.children);
    const notation = notationOf(code?.className ?? "", text);
    if (notation !== null) {
      return (
        <Suspense fallback={<pre tabIndex={0}>{text}</pre>}>
          <Diagram notation={notation} text={text} />
        </Suspense>
      );
    }
    return <pre tabIndex={0}>{children}</pre>;
  },
};

/** An answer may name any address: it opens apart, and learns nothing of this page. One that leads nowhere is text. */
function Elsewhere({ href, children }: { href: string | undefined; children: ReactNode }): ReactElement {
  if (!href) return <>{children}</>;
  return (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  );
}

function notationOf(language: string, text: string): string | null {
  if (language.includes("language-mermaid")) return text;
  return language.includes("language-bars") ? chartOf(text) : null;
}

/** An answer's Markdown. Raw HTML in it is text; pictures are links. */
function Markdown({ text }: { text: string }): ReactElement {
  return (
    <div className="markdown">
      <ReactMarkdown remarkPlugins={remark} rehypePlugins={rehype} components={components}>
        {text}
      </ReactMarkdown>
    </div>
  );
}

export default memo(Markdown);
