import { lazy, memo, Suspense, type ReactElement, type ReactNode } from "react";
import ReactMarkdown, { type Components } from "react-markdown";
import rehypeHighlight from "rehype-highlight";
import remarkGfm from "remark-gfm";

const Diagram = lazy(() => import("./Diagram"));
const remark = [remarkGfm];
const rehype = [[rehypeHighlight, { detect: false, ignoreMissing: true, plainText: ["mermaid"] }]] as never;

const components: Components = {
  // An answer may name any address: it opens apart, and learns nothing of this page.
  a: ({ children, href }) => (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  ),
  // A picture from elsewhere would tell that elsewhere who reads, and what: it is a link.
  img: ({ src, alt }) => (
    <a href={typeof src === "string" ? src : undefined} target="_blank" rel="noopener noreferrer nofollow">
      {alt || "picture"}
    </a>
  ),
  table: ({ children }) => (
    <div className="table" tabIndex={0} role="region" aria-label="Table">
      <table>{children}</table>
    </div>
  ),
  pre: ({ children }) => {
    const code = (children as { props?: { className?: string; children?: ReactNode } }).props;
    if (code?.className?.includes("language-mermaid")) {
      const text = String(code.children);
      return (
        <Suspense fallback={<pre>{text}</pre>}>
          <Diagram text={text} />
        </Suspense>
      );
    }
    return <pre tabIndex={0}>{children}</pre>;
  },
};

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
